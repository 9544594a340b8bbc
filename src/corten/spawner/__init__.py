"""The small process that forks monitors and workers."""
