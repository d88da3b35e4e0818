"""Answers by machine."""
