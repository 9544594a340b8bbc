"""The Python library: HTTP to an engine and nothing else. Blocking, without dependencies, quick to import."""

from .core import Client

__all__ = ["Client"]
