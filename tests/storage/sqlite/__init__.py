"""Tests of C{securemsg.storage.sqlite}."""
