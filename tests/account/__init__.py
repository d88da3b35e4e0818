"""Tests of C{securemsg.station}."""
