"""Outgoing: from a message to a deposit, and to its result."""
