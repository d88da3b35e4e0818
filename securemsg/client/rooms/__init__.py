"""Rooms: member lists, how they move on, and what is said under them."""
