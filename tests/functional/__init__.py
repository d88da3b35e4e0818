"""Tests with real processes, files and loopback sockets."""
