"""Where an engine of a data root is found: the same rule on both sides of the socket.

The standard root is ``/var/lib/corten``, with its socket in ``/run/corten``; for an ordinary user they are
``$XDG_DATA_HOME/corten`` and ``$XDG_RUNTIME_DIR/corten``. Another root has a run directory of its own, named
by the first eight hex digits of the SHA-256 of its real path.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "corten.sock"


def standard_root(environment: Mapping[str, str]) -> str:
    """The data root of this user where none is named."""
    if os.geteuid() == 0:
        return "/var/lib/corten"
    home = environment.get("HOME") or "/"
    return os.path.join(environment.get("XDG_DATA_HOME") or f"{home}/.local/share", "corten")


def run_directory(root: str, environment: Mapping[str, str]) -> str:
    """The directory of sockets of the engine of a data root."""
    base = "/run" if os.geteuid() == 0 else _user_runtime(environment)
    if os.path.realpath(root) == os.path.realpath(standard_root(environment)):
        return f"{base}/corten"
    return f"{base}/corten-{_sha256(os.fsencode(os.path.realpath(root)))[:8]}"


def socket_of(root: str, environment: Mapping[str, str]) -> str:
    """The path of the socket of the engine of a data root."""
    return os.path.join(run_directory(root, environment), SOCKET)


def _sha256(data: bytes) -> str:
    """By the interpreter's own C module: ``hashlib`` would load OpenSSL, three milliseconds for eight digits."""
    try:
        if sys.version_info >= (3, 12):
            from _sha2 import sha256
        else:
            from _sha256 import sha256  # type: ignore[import-not-found]
    except ImportError:  # an interpreter built without it (PEP 644's --with-builtin-hashlib-hashes)
        from hashlib import sha256
    digest: str = sha256(data).hexdigest()
    return digest


def _user_runtime(environment: Mapping[str, str]) -> str:
    return environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"
