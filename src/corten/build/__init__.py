"""Dockerfiles: from text to values. Nothing here reads a file, a network or a clock."""
