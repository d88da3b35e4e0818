"""Suites and sessions: how a conversation is encrypted and decrypted."""
