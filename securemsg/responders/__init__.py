"""Automatic answers from commands and functions, for the daemon and for accounts."""
