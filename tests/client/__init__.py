"""Tests of C{securemsg.client}."""
