"""The runtime alone, with the command line that the OCI engines agree on: ``corten-runtime``."""
