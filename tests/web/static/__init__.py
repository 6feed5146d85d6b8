"""Tests of the pages, which share a server and browsers: a package, so that these end with it."""
