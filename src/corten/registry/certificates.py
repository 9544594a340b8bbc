"""Whom to trust at a registry, and what to show it: private authorities and client certificates, as Docker has them
(docs.docker.com, "Verify repository client with certificates").

``certs.d/HOST[:PORT]/`` holds ``*.crt``, authorities beside the machine's own, and pairs of ``*.cert`` and ``*.key``.
They are for that host alone: neither a mirror nor who a request is redirected to sees a certificate that is not his. A
host with such a directory is always verified, on loopback, too.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

from corten.errors import InvalidInput

VARIABLE = "CORTEN_CERTS_DIR"
"""In the engine's environment: the one directory that is looked into."""
_SYSTEM = ("/etc/corten/certs.d", "/etc/docker/certs.d")


def context_for(netloc: str) -> ssl.SSLContext | None:
    """How to speak TLS to ``host[:port]``; None where nobody has said. Raises InvalidInput for files that are no
    certificates, or a certificate without its key."""
    found = [path for directory in _directories() for path in _files(directory, netloc)]
    if not found:
        return None
    context = ssl.create_default_context()
    for path in found:
        try:
            if path.suffix == ".crt":
                context.load_verify_locations(path)
            elif path.suffix == ".cert":
                context.load_cert_chain(path, path.with_suffix(".key"))
        except OSError as error:  # ssl.SSLError is one
            raise InvalidInput(f"read certificate {path}: {error.strerror or error}") from error
    return context


def _directories() -> Iterator[Path]:
    if own := os.environ.get(VARIABLE):
        yield Path(own)
        return
    if os.geteuid():
        config = Path(os.environ.get("XDG_CONFIG_HOME") or Path(os.environ.get("HOME", "/")) / ".config")
        yield from (config / "corten/certs.d", config / "docker/certs.d")
    yield from map(Path, _SYSTEM)


def _files(directory: Path, netloc: str) -> list[Path]:
    if not netloc or netloc.startswith(".") or "/" in netloc:  # a redirect may name anything
        return []
    try:
        return sorted(path for path in (directory / netloc).iterdir() if path.suffix in (".crt", ".cert"))
    except OSError:
        return []
