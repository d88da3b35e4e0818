"""A private message service: a daemon that stores and forwards what it cannot read, and its clients."""

__version__ = "0.1.0"
