"""The credentials that a client shows for a registry."""

from __future__ import annotations

import base64

import msgspec

from corten.api.message import Request


def credentials(request: Request) -> dict[str, str] | None:
    """X-Registry-Auth: base64 of JSON. What is none is as good as none, as for dockerd: old clients send anything.
    Never logged, never in an error."""
    header = request.headers.get("x-registry-auth", "")
    if not header:
        return None
    try:
        padded = header + "=" * (-len(header) % 4)
        value = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=dict[str, str] | None)
    except (ValueError, msgspec.DecodeError):
        return None
    return value or None
