"""Tests of C{securemsg.cli}."""
