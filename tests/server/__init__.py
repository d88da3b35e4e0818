"""Tests of the server's domain."""
