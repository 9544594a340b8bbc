"""HTTP to one registry: which scheme it speaks, redirects, patience; authorization is :mod:`registry.auth`'s.

A registry on loopback may speak plain HTTP, or HTTPS with a certificate that nobody signed, as with Docker.
Credentials go to the host that they are meant for: a redirect elsewhere is followed without them.
"""

from __future__ import annotations

import ipaddress
import random
import socket
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import urllib3
from urllib3.exceptions import (
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)

from corten import __version__
from corten.errors import CortenError, Unavailable
from corten.registry import certificates

Response = urllib3.BaseHTTPResponse
Wait = Callable[[float], None]

AGENT = f"corten/{__version__}"
_TIMEOUT = urllib3.Timeout(connect=15, read=60)
_ATTEMPTS = 5
_LONGEST_WAIT = 20.0
_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 5
_TRANSIENT = (408, 429, 500, 502, 503, 504)
_CONNECTIONS = 8
_HINT = (
    "check the network and the registry's name; images can also be loaded from a file: corten load -i FILE"
)


class Readable(Protocol):
    """A body that is read as it is sent."""

    def read(self, size: int = -1) -> bytes:
        """The next bytes; empty at the end."""


class Transport:
    """Requests with patience, for a host that :func:`urllib.parse` understands: ``name[:port]``; or for a base URL,
    whose scheme is then the one to be spoken."""

    def __init__(self, host: str, wait: Wait | None = None) -> None:
        scheme, told, host = host.rpartition("://")
        self.host = host
        self.insecure = not told and is_loopback(host) and certificates.context_for(host) is None
        self.base = f"{scheme or 'https'}://{host}"
        self._wait = wait or threading.Event().wait
        self._pools: dict[str, urllib3.PoolManager] = {}
        self._contexts: dict[str, ssl.SSLContext | None] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections."""
        for pool in self._pools.values():
            pool.clear()

    def probe(self) -> Response:
        """Ask ``/v2/``, and learn by it which scheme the registry speaks. Raises Unavailable."""
        response = self._greeted()
        if response.status not in _TRANSIENT:
            return response
        response.drain_conn()
        self.pause(1, response.headers.get("Retry-After", ""))
        return self.request("GET", f"{self.base}/v2/", {})

    def _greeted(self) -> Response:
        try:
            return self._once("GET", f"{self.base}/v2/", {})
        except HTTPError as error:
            if not self.insecure:
                raise self.unreachable(f"{self.base}/v2/", error) from error
        self.base = f"http://{self.host}"
        try:
            return self._once("GET", f"{self.base}/v2/", {})
        except HTTPError as error:
            raise self.unreachable(f"{self.base}/v2/", error) from error

    def request(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Response:
        """One answer, its body not read yet; close it. A failing peer is asked again. Raises Unavailable."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                response = self._follow(method, url, headers, body)
            except HTTPError as error:
                if attempt == _ATTEMPTS or not _may_pass(error):
                    raise self.unreachable(url, error) from error
                self.pause(attempt)
                continue
            if response.status not in _TRANSIENT or attempt == _ATTEMPTS:
                return response
            response.drain_conn()
            self.pause(attempt, response.headers.get("Retry-After", ""))
        raise AssertionError("not reached")

    def pause(self, attempt: int, asked: str = "") -> None:
        """Wait before the next attempt: as long as the peer asks for, else twice as long each time."""
        seconds = float(asked) if asked.isdigit() else 0.25 * 2**attempt
        self._wait(min(seconds, _LONGEST_WAIT) * random.uniform(0.8, 1.2))  # noqa: S311

    def unreachable(self, url: str, error: Exception) -> Unavailable:
        """The error for a peer that did not answer."""
        return Unavailable(f"request {_plain(url)}: {_cause(error, url)}", hint=_HINT)

    def once(self, method: str, url: str, headers: Mapping[str, str], body: Readable) -> Response:
        """One attempt with a body that is read as it goes. Raises urllib3's HTTPError."""
        return self._once(method, url, headers, body)

    def _follow(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        for _ in range(_MOST_REDIRECTS + 1):
            response = self._once(method, url, headers, body)
            location = response.headers.get("Location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.drain_conn()
            target = urllib.parse.urljoin(url, location)
            self._check_redirect(url, target)
            if _origin(target) != _origin(url):
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            url = target
        raise Unavailable(f"request {_plain(url)}: more than {_MOST_REDIRECTS} redirects")

    def _check_redirect(self, url: str, target: str) -> None:
        scheme = urllib.parse.urlsplit(target).scheme
        if scheme != "https" and not (scheme == "http" and url.startswith("http://")):
            raise CortenError(f"request {_plain(url)}: a redirect to {_plain(target)} is not followed")

    def _once(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | Readable | None = None
    ) -> Response:
        fields = {"User-Agent": AGENT, "Accept-Encoding": "identity", **headers}
        return self._pool(url).request(
            method,
            url,
            headers=fields,
            body=body,  # type: ignore[arg-type]
            redirect=False,
            retries=False,
            preload_content=False,
            decode_content=False,
        )

    def _pool(self, url: str) -> urllib3.PoolManager:
        """The connections for a URL: through the environment's proxy, never for loopback."""
        parts = urllib.parse.urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme, "")
        if is_loopback(parts.netloc) or urllib.request.proxy_bypass(parts.netloc):
            proxy = ""
        with self._lock:
            if parts.netloc not in self._contexts:
                self._contexts[parts.netloc] = certificates.context_for(parts.netloc)
            own = self._contexts[parts.netloc]
            unsigned = own is None and self.insecure and is_loopback(parts.netloc)
            key = f"{proxy} {parts.netloc if own else unsigned}"
            if key not in self._pools:
                context = own or (_unverified() if unsigned else ssl.create_default_context())
                self._pools[key] = _make_pool(proxy, context)
            return self._pools[key]


def is_loopback(host: str) -> bool:
    """Whether a registry's host is this machine by its name: ``localhost``, 127.0.0.0/8, ``[::1]``."""
    name = urllib.parse.urlsplit(f"//{host}").hostname or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


@contextmanager
def closing(response: Response) -> Iterator[Response]:
    """Give the connection back, or close it when the body was not read."""
    try:
        yield response
    finally:
        if response.closed:
            response.release_conn()
        else:
            response.close()


def _make_pool(proxy: str, context: ssl.SSLContext) -> urllib3.PoolManager:
    if proxy:
        return urllib3.ProxyManager(
            proxy, maxsize=_CONNECTIONS, timeout=_TIMEOUT, ssl_context=context, retries=False
        )
    return urllib3.PoolManager(maxsize=_CONNECTIONS, timeout=_TIMEOUT, ssl_context=context, retries=False)


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _may_pass(error: HTTPError) -> bool:
    """Whether asking again may help: not for a name that does not resolve or a certificate that is wrong."""
    cause = error.reason if isinstance(error, MaxRetryError) else error
    return not isinstance(cause, (NewConnectionError, SSLError, ProxyError))


def _cause(error: Exception, url: str) -> str:
    cause: object = error.reason if isinstance(error, MaxRetryError) else error
    host = _origin(url)[1]
    if isinstance(cause, ProxyError):
        cause, host = cause.original_error, "the proxy"
    if isinstance(cause, NameResolutionError):
        return f"dial tcp: lookup {host}: no such host"  # in Go's words, which scripts look for
    inner = cause.__cause__ if isinstance(cause, BaseException) else None
    if isinstance(inner, (OSError, socket.gaierror)) and inner.strerror:
        return inner.strerror.lower()
    return str(cause).rpartition(": ")[2] if isinstance(cause, NewConnectionError) else str(cause)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, (parts.hostname or ""), parts.port


def _plain(url: str) -> str:
    """A URL without its query: what is signed there is nobody's business."""
    return url.partition("?")[0]
