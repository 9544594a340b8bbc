"""Blobs, references, layers and snapshots of one data root."""
