"""Tests of C{securemsg.cli.chat}."""
