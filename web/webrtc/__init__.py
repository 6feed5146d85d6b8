"""Cameras and microphones of browsers: publishers by WHIP, viewers by WHEP, their connections, and
what must be kept away from the libraries that make those.
"""
