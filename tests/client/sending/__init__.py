"""Tests of C{securemsg.client.sending}."""
