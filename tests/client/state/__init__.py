"""Tests of C{securemsg.client.state}."""
