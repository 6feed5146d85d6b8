"""Measurements of this program: how quick it is, how many live streams a machine holds."""
