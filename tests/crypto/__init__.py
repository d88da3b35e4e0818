"""Tests of keys, key agreement and sessions: vectors of the RFCs, the other library, attacks on every byte."""
