"""Where an engine of a data root is found: the same rule on both sides of the socket.

The standard root is ``/var/lib/corten``, with its socket in ``/run/corten``; for an ordinary user they are
``$XDG_DATA_HOME/corten`` and ``$XDG_RUNTIME_DIR/corten``. Another root has a run directory of its own, named
by the first eight hex digits of the SHA-256 of its real path.

An engine asks before it becomes root of its user namespace: from then on its user ID is 0.
"""

from __future__ import annotations

import os
import stat
import sys

from corten.errors import AccessDenied, CortenError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SOCKET = "corten.sock"
_OTHERS = 0o077
_WRITERS = 0o022


def standard_root(environment: Mapping[str, str]) -> str:
    """The data root of this user where none is named."""
    if os.geteuid() == 0:
        return "/var/lib/corten"
    home = environment.get("HOME") or "/"
    return os.path.join(_absolute(environment, "XDG_DATA_HOME") or f"{home}/.local/share", "corten")


def is_standard(root: str, environment: Mapping[str, str]) -> bool:
    """Whether a root is the user's own."""
    return os.path.realpath(root) == os.path.realpath(standard_root(environment))


def fingerprint(root: str) -> str:
    """Eight hex digits that tell roots apart."""
    return _sha256(os.fsencode(os.path.realpath(root)))[:8]


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


def run_directory(root: str, environment: Mapping[str, str]) -> str:
    """The directory of sockets of the engine of a data root. Raises AccessDenied when it would lie in a directory
    that is another user's: whoever listens there is not this user's engine."""
    base = run_base(environment)
    return f"{base}/corten" if is_standard(root, environment) else f"{base}/corten-{fingerprint(root)}"


def socket_of(root: str, environment: Mapping[str, str]) -> str:
    """The path of the socket of the engine of a data root. Raises AccessDenied, as :func:`run_directory`."""
    return os.path.join(run_directory(root, environment), SOCKET)


def run_base(environment: Mapping[str, str]) -> str:
    """``/run``; for an ordinary user XDG_RUNTIME_DIR, or where no session set it (su, cron), logind's directory or a
    checked one in /tmp. Raises AccessDenied."""
    if os.geteuid() == 0:
        return "/run"
    if given := _absolute(environment, "XDG_RUNTIME_DIR"):
        return given
    logind = f"/run/user/{os.geteuid()}"
    if os.path.isdir(logind) and os.stat(logind).st_uid == os.geteuid():
        return logind
    _check(_fallback(), _OTHERS)
    return _fallback()


def _fallback() -> str:
    return f"/tmp/corten-{os.geteuid()}"


def _absolute(environment: Mapping[str, str], name: str) -> str:
    """A directory of the XDG specification, which says to ignore relative ones."""
    path = environment.get(name, "")
    return path if path.startswith("/") else ""


def make_run_directory(path: str) -> None:
    """Make a directory of sockets, 0700, and the one in /tmp above it. Raises AccessDenied when it is another user's,
    or others may write to it; CortenError."""
    if os.path.dirname(path) == _fallback():
        _make(_fallback(), _OTHERS)
    _make(path, _WRITERS)


def _make(path: str, forbidden: int) -> None:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        _check(path, forbidden)
    except OSError as error:
        hint = "let XDG_RUNTIME_DIR name a directory of your own" if os.geteuid() else ""
        raise CortenError.from_os("make", path, error, hint=hint) from error


def _check(path: str, forbidden: int) -> None:
    """A directory in /tmp may have been made by anybody, before us: nothing there can be trusted then."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        raise AccessDenied(f"use {path}: it is not a directory")
    if found.st_uid != os.geteuid():
        raise AccessDenied(
            f"use {path}: it belongs to user {found.st_uid}", hint="set XDG_RUNTIME_DIR to a directory of your own"
        )
    if found.st_mode & forbidden:
        mode = f"{stat.S_IMODE(found.st_mode):o}"
        raise AccessDenied(f"use {path}: others may use it, too (mode {mode})", hint=f"chmod 700 {path}")
