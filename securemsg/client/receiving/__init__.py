"""Incoming: from a delivery to a message in the history."""
