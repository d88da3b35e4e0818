"""Tests of securemsg, in memory but for C{functional}."""
