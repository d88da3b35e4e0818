"""Tests of C{securemsg.cli.commands}."""
