"""Twisted protocols, factories and endpoints."""
