"""Where the API listens, and to whom: unix sockets of this user's, TCP with TLS, and TCP without it where that was
asked for by name.

Whoever may speak to the engine is root (or the user that the engine runs as). A unix socket has an owner and a mode;
TLS has client certificates; a TCP port alone has nobody at its door.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import ipaddress
import os
import socket
import ssl
from collections.abc import Callable, Iterator

from corten.api import tls
from corten.errors import CortenError, InvalidInput

_LONGEST_SOCKET_PATH = 107
_PORT, _TLS_PORT = 2375, 2376
"""Docker's, for an address without one."""
OPEN_FLAG = "--insecure-tcp-gives-root-to-everyone"
_FIRST_SYSTEMD_DESCRIPTOR = 3
_TRUE, _FALSE = ("1", "t", "true"), ("0", "f", "false")
Warn = Callable[[str], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Security:
    """How TCP is guarded: Docker's ``--tls*`` options, and the one that says what goes without them."""

    tls: bool = False
    verify: bool = False
    authority: str = ""
    certificate: str = ""
    key: str = ""
    open_to_all: bool = False

    def context(self) -> ssl.SSLContext | None:
        """The server's side of TLS; None without. Raises CortenError for files that cannot be used."""
        if not (self.tls or self.verify):
            return None
        return tls.context(self.certificate, self.key, self.authority if self.verify else "")


@dataclasses.dataclass(frozen=True, slots=True)
class Listener:
    """A socket that is bound. ``browsers_refused``: nothing guards it but that it is on loopback, where a web page of
    anybody's can reach it through the browser of who reads it."""

    socket: socket.socket
    tls: ssl.SSLContext | None = None
    browsers_refused: bool = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of who may come in over TCP."""
    home = os.environ.get("DOCKER_CERT_PATH") or os.path.join(os.path.expanduser("~"), ".docker")
    flag = {"nargs": "?", "const": True, "default": False, "type": _boolean, "metavar": "BOOL"}
    parser.add_argument("--tls", help="TCP sockets speak TLS; implied by --tlsverify", **flag)  # type: ignore[arg-type]
    parser.add_argument(
        "--tlsverify", help="TCP sockets speak TLS, and only clients with a certificate of --tlscacert come in",
        **flag,  # type: ignore[arg-type]
    )  # fmt: skip
    for name, file, what in (
        ("tlscacert", "ca.pem", "certificates of the authorities that vouch for clients"),
        ("tlscert", "cert.pem", "the engine's certificate"), ("tlskey", "key.pem", "the engine's private key"),
    ):  # fmt: skip
        parser.add_argument(f"--{name}", metavar="FILE", default=f"{home}/{file}", help=f"{what} (%(default)s)")
    parser.add_argument(
        OPEN_FLAG, action="store_true", dest="open_to_all",
        help="listen on tcp:// beyond loopback without client certificates: whoever reaches the port, from any "
        "machine, is root on this one",
    )  # fmt: skip


def _boolean(text: str) -> bool:
    """Docker's flags take a value after ``=``."""
    if text.lower() not in (*_TRUE, *_FALSE):
        raise argparse.ArgumentTypeError(f"invalid boolean value {text!r}")
    return text.lower() in _TRUE


def security(found: argparse.Namespace) -> Security:
    """What the options say."""
    return Security(found.tls, found.tlsverify, found.tlscacert, found.tlscert, found.tlskey, found.open_to_all)


def is_activated() -> bool:
    """Whether systemd listens, and started this process when somebody knocked: sd_listen_fds(3)."""
    return os.environ.get("LISTEN_PID") == str(os.getpid())


@contextlib.contextmanager
def opened(hosts: tuple[str, ...], security: Security, warn: Warn) -> Iterator[list[Listener]]:
    """The sockets, bound: systemd's if it handed some over, else those of ``hosts``, whose files go at the end.

    ``warn`` is told of each that lets in more than its owner. Raises InvalidInput, CortenError.
    """
    with contextlib.ExitStack() as stack:
        context = security.context()
        if is_activated():
            sockets = _activated()
        else:
            sockets = [stack.enter_context(_bound(host, encrypted=context is not None)) for host in hosts]
        yield [_guarded(one, security, context, warn) for one in sockets]


def _activated() -> list[socket.socket]:
    count = int(os.environ.get("LISTEN_FDS", "0"))
    numbers = range(_FIRST_SYSTEMD_DESCRIPTOR, _FIRST_SYSTEMD_DESCRIPTOR + count)
    for number in numbers:
        os.set_inheritable(number, False)
    return [socket.socket(fileno=number) for number in numbers]


def _guarded(one: socket.socket, security: Security, context: ssl.SSLContext | None, warn: Warn) -> Listener:
    if one.family == socket.AF_UNIX:
        return Listener(one)
    name = f"tcp://{_shown(one.getsockname())}"
    if context is not None and security.verify:
        return Listener(one, context)
    local = ipaddress.ip_address(one.getsockname()[0]).is_loopback
    if not local and not security.open_to_all:
        one.close()
        raise InvalidInput(
            f"listen on {name}: without --tlsverify whoever reaches this port is root on this machine",
            hint=f"use --tlsverify with --tlscacert, --tlscert and --tlskey, or say that it is meant: {OPEN_FLAG}",
        )
    whom = "every user of this machine, and" if local else "every user of every machine that reaches this port, and"
    warn(f"{name}: without --tlsverify {whom} whatever runs for them, is given what this engine may do")
    return Listener(one, context, browsers_refused=local)


def _shown(address: tuple[object, ...]) -> str:
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


@contextlib.contextmanager
def _bound(host: str, *, encrypted: bool) -> Iterator[socket.socket]:
    scheme, separator, place = host.partition("://")
    try:
        if scheme == "unix" and separator:
            with _unix(place) as listener:
                yield listener
            return
        if scheme == "tcp" and separator:
            with _tcp(place, _TLS_PORT if encrypted else _PORT) as listener:
                yield listener
            return
    except (OSError, ValueError) as error:
        raise CortenError(f"listen on {host}: {error}") from error
    raise InvalidInput(f"listen on {host}: not unix://PATH and not tcp://ADDRESS:PORT")


def _tcp(place: str, standard: int) -> socket.socket:
    place = place.rstrip("/")
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, port = place, str(standard)
    host = host.strip("[]") or "localhost"
    family, kind, _, _, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def _unix(path: str) -> Iterator[socket.socket]:
    if len(os.fsencode(path)) > _LONGEST_SOCKET_PATH:
        raise InvalidInput(f"listen on unix://{path}: the path is longer than {_LONGEST_SOCKET_PATH} bytes")
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # stale: the data root's lock says that no engine listens there
    with socket.socket(socket.AF_UNIX) as listener:
        previous = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(previous)
        try:
            yield listener
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def refuse_browser(headers: dict[str, str]) -> str:
    """Why a request to a port of loopback is no program's of this machine's, but a web page's; '' when it is.

    A page's own requests carry its origin; one whose name was made to mean 127.0.0.1 (DNS rebinding) is known by
    that name.
    """
    if headers.get("origin"):
        return f"refused to a page of {headers['origin']}"
    name = headers.get("host", "")
    name = name.partition("]")[0].strip("[") if name.startswith("[") else name.partition(":")[0]
    try:
        known = name in ("", "localhost", "docker", "corten") or ipaddress.ip_address(name).is_loopback
    except ValueError:
        known = False
    return "" if known else f"refused to who calls this machine {name}"
