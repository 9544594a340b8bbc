"""The process that stands beside each container: stdio, log, exit status."""
