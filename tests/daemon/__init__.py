"""Tests of C{securemsg.daemon}."""
