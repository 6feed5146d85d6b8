"""Calls of several people: the rooms, and who is in them."""
