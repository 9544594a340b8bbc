"""Corten: a container engine that you can import and understand."""

__version__ = "0.1.0"
