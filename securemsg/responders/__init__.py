"""Answers by machine: commands and functions, for the daemon and for people's accounts."""
