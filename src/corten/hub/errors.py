"""What is answered instead of content (OCI distribution-spec, "Error Codes")."""

from __future__ import annotations

import json
from collections.abc import Mapping


class Refusal(Exception):
    """A status with a code of the specification; ``headers`` go with it."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})

    def body(self) -> bytes:
        """The document that tells it."""
        return json.dumps({"errors": [{"code": self.code, "message": self.message}]}).encode()


def manifest_unknown(name: str) -> Refusal:
    """There is no such manifest."""
    return Refusal(404, "MANIFEST_UNKNOWN", f"manifest {name[:200]} is not known here")


def blob_unknown(digest: str) -> Refusal:
    """There is no such blob."""
    return Refusal(404, "BLOB_UNKNOWN", f"blob {digest[:200]} is not known here")


def denied(what: str) -> Refusal:
    """What this registry was not started for."""
    return Refusal(403, "DENIED", what)
