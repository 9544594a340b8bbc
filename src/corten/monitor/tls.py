"""TLS for a log that is sent away: for those alone that ask for it."""

from __future__ import annotations

import ssl
from typing import Any


def context(files: dict[str, Any]) -> ssl.SSLContext:
    """A client's context: ``ca``, ``cert`` and ``key`` are files ('' for none), ``verify`` whether the daemon must be
    who it says. Raises OSError for files that cannot be used."""
    made = ssl.create_default_context(cafile=files["ca"] or None)
    if not files["verify"]:
        made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if files["cert"] or files["key"]:
        made.load_cert_chain(files["cert"], files["key"] or None, password=lambda: b"")
    return made
