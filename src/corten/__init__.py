"""Corten: a container engine that you can import, understand, and run without asking an administrator."""

__version__ = "0.1.0"
