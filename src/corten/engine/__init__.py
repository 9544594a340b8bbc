"""The use cases, one module a noun."""
