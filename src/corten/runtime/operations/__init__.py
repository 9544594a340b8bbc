"""The operations that a plan is made of. Importing this package registers every kind of the runtime."""

from corten.runtime.operations import cgroups, files, identity, namespaces, root, seccomp

__all__ = ["cgroups", "files", "identity", "namespaces", "root", "seccomp"]
