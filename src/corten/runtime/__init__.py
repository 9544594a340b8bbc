"""The OCI runtime: a configuration becomes a list of operations, which stages execute."""
