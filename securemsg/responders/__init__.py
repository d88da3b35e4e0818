"""Machines that answer: what C{--answer} names, for the daemon and for people's own accounts alike."""
