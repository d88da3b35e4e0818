"""Machines that answer."""
