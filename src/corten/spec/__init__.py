"""Frozen values that every floor shares: digests, references, image and runtime configuration."""
