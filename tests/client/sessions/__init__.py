"""Tests of C{securemsg.client.sessions}."""
