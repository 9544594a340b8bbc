"""The Python library: HTTP over the engine's socket."""
