"""Tests of C{securemsg.client.receiving}."""
