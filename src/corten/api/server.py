"""HTTP/1.1 for the engine: h11 under asyncio streams.

A connection serves one request after the other. While a handler works on a request whose body is complete, the
connection is watched: a client that goes away cancels the handler. A hijacked connection leaves HTTP for good; its
client may close one half (end of stdin) and go on reading.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import socket
import sys
import traceback
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import h11

from corten import __version__
from corten.api.errors import answer
from corten.api.listeners import Listener, refuse_browser
from corten.api.message import Hijack, Request, Response
from corten.api.router import DEFAULT, Handler, Router, split_version, text_of
from corten.api.services import Services
from corten.api.tls import TlsProtocol
from corten.api.turns import Turns
from corten.errors import AccessDenied, CortenError
from corten.sys import outgoing

_log = logging.getLogger(__name__)
_CHUNK = 256 << 10
_LARGEST_HEAD = 64 << 10
_LOOKS, _LOOK = 100, 0.0005
"""How often, and after how many seconds each, it is seen whether a client has read the head of a stream."""
_LAST_ANSWERS = 2.0
"""Seconds that a leaving server gives to the answers it owes."""
_BACKLOG = 4096
"""Clients that may wait to be let in: more are turned away (EAGAIN), and those that do not block take that badly. The
kernel bounds it by net.core.somaxconn."""
_TURNS = 4
"""Requests that begin in one pass of the loop: some 3 ms of work."""
_SERVER = (
    ("Api-Version", text_of(DEFAULT)),
    ("Docker-Experimental", "false"),
    ("Ostype", "linux"),
    ("Server", f"Corten/{__version__} (linux)"),
)


class _Gone(ConnectionError):
    """The client closed the connection."""


class _Reader(asyncio.StreamReader):
    """A stream that tells, besides, when the client has sent its last byte."""

    def __init__(self) -> None:
        super().__init__(limit=_CHUNK)
        self._ended: Callable[[], object] | None = None

    @contextlib.contextmanager
    def watched(self, ended: Callable[[], object]) -> Iterator[None]:
        """Call ``ended`` when the client goes away within the block."""
        if self.at_eof():
            raise _Gone
        self._ended = ended
        try:
            yield
        finally:
            self._ended = None

    def feed_eof(self) -> None:
        super().feed_eof()
        if self._ended is not None:
            self._ended()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        if self._ended is not None:
            self._ended()


class _Body:
    """The body of the request that is being served."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._connection.chunks()


class _Raw:
    """A hijacked connection: implements :class:`corten.api.message.Duplex`."""

    def __init__(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes = b""
    ) -> None:
        """``head`` is what goes before all that is written, and before anything is waited for."""
        self._first, self._reader, self._writer, self._head = first, reader, writer, head
        self._begun = bool(head)

    async def read(self) -> bytes:
        if self._first:
            first, self._first = self._first, b""
            return first
        with contextlib.suppress(ConnectionError):
            await self.begin()
            return await self._reader.read(_CHUNK)
        return b""

    async def begin(self) -> None:
        """Send the head."""
        if self._head:
            await self.write(b"")

    async def write(self, data: bytes) -> None:
        if not self._begun:
            self._begun = True
            await self._head_taken()
        head, self._head = self._head, b""
        self._writer.write(head + data if head else data)
        await self._writer.drain()

    async def _head_taken(self) -> None:
        """Wait a moment for the client to read the head by itself: docker-py loses what it reads together with it."""
        wire = self._writer.get_extra_info("socket")
        if wire is None or wire.family != socket.AF_UNIX:
            return
        for _ in range(_LOOKS):
            if not outgoing.untaken(wire.fileno()):
                return
            await asyncio.sleep(_LOOK)


class Connection:
    """One client."""

    def __init__(
        self, router: Router, services: Services, reader: _Reader, writer: asyncio.StreamWriter,
        task: asyncio.Task[None], turns: Turns, *, browsers_refused: bool,
    ) -> None:  # fmt: skip
        self._router, self._services = router, services
        self._browsers_refused, self._turns = browsers_refused, turns
        self._reader, self._writer, self._task = reader, writer, task
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LARGEST_HEAD)
        self.quiet = asyncio.Event()
        """Clear while a request of bounded length is being answered: a server that leaves lets it out."""
        self.quiet.set()

    async def serve(self) -> None:
        """Answer requests until the client has no more."""
        try:
            while await self._serve_one():
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            with contextlib.suppress(h11.LocalProtocolError, ConnectionError):
                await self._send(
                    Response(error.error_status_hint, b"malformed HTTP request\n", type="text/plain"), "GET"
                )
        except ConnectionError:
            pass  # it went away in the middle: nobody is left to tell
        finally:
            self._writer.close()

    async def _serve_one(self) -> bool:
        """Serve the next request; False when there will be no other."""
        head = await self._event()
        if not isinstance(head, h11.Request):
            return False
        method = head.method.decode()
        result = await self._answer(head, method)
        if isinstance(result, Hijack):
            await self._hijack(result, head)
            return False
        if not isinstance(result.content, bytes):
            self.quiet.set()
        await self._send(result, method)
        self.quiet.set()
        if self._http.their_state is h11.SEND_BODY:
            await self._skip_body()
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _skip_body(self) -> None:
        """Whatever of the body nobody wanted, up to a bound: then the connection is closed instead."""
        left = _CHUNK
        async for chunk in self.chunks():
            left -= len(chunk)
            if left < 0:
                raise _Gone

    async def _answer(self, head: h11.Request, method: str) -> Response | Hijack:
        try:
            return await self._route(head, method)
        except CortenError as error:
            return answer(error)
        except (ConnectionError, h11.RemoteProtocolError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001  a bug: the log has it, the client learns that it is one
            _log.error("%s %s: %s", method, head.target.decode("latin-1"), traceback.format_exc())
            return answer(CortenError("internal error of the engine: its log has the details"))

    async def _route(self, head: h11.Request, method: str) -> Response | Hijack:
        path, _, query = head.target.decode("latin-1").partition("?")
        version, path = split_version(urllib.parse.unquote(path))
        route, params = self._router.find(method, path)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        if self._browsers_refused and (reason := refuse_browser(headers)):
            raise AccessDenied(f"{method} {path}: {reason}")
        request = Request(
            method, path, version, urllib.parse.parse_qs(query, keep_blank_values=True), headers, _Body(self),
            params, self._services,
        )  # fmt: skip
        if not route.at_once:
            await self._turns.take()
        if route.reads_body or headers.get("upgrade"):
            return await route.handler(request)
        return await self._watched(request, route.handler)

    async def _watched(self, request: Request, handler: Handler) -> Response | Hijack:
        """Run a handler; when the client goes away meanwhile, cancel it, and the connection with it."""
        content = await request.bytes()
        self.quiet.clear()
        with self._reader.watched(self._task.cancel):
            return await handler(dataclasses.replace(request, body=_Whole(content)))

    # --- h11

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._writer.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
            self._http.receive_data(await self._reader.read(_CHUNK))
        return event

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body of the current request."""
        while self._http.their_state is h11.SEND_BODY:
            event = await self._event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.ConnectionClosed):
                raise _Gone

    async def _send(self, response: Response, method: str) -> None:
        content = response.content
        whole = content if isinstance(content, bytes) else None
        head = h11.Response(status_code=response.status, headers=_headers(response, whole))
        data = [self._http.send(head) or b""]
        if whole is not None:
            if whole and method != "HEAD":
                data.append(self._http.send(h11.Data(data=whole)) or b"")
            data.append(self._http.send(h11.EndOfMessage()) or b"")
        self._writer.write(b"".join(data))
        await self._writer.drain()
        if whole is None:
            await self._stream(content)  # type: ignore[arg-type]

    async def _stream(self, content: AsyncIterator[bytes]) -> None:
        """Chunks as they come; a client that closes ends the stream at its source."""
        if self._http.their_state is not h11.DONE:
            await self._pump(content)
            return
        with self._reader.watched(self._task.cancel):
            await self._pump(content)

    async def _pump(self, content: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in content:
                if chunk:
                    self._writer.write(self._http.send(h11.Data(data=chunk)) or b"")
                    await self._writer.drain()
        except CortenError as error:
            # The head is out: all that can be done is to break off, so that nobody takes a part for the whole.
            _log.warning("stream broken off: %s", error.message)
            raise _Gone from error
        finally:
            await getattr(content, "aclose", _nothing)()
        self._writer.write(self._http.send(h11.EndOfMessage()) or b"")
        await self._writer.drain()

    async def _hijack(self, hijack: Hijack, head: h11.Request) -> None:
        """Leave HTTP: ``101`` to who asked for an upgrade, the old ``200`` without a length to who did not."""
        upgrade = any(name == b"upgrade" for name, _ in head.headers)
        lines = ["HTTP/1.1 101 UPGRADED" if upgrade else "HTTP/1.1 200 OK", f"Content-Type: {hijack.type}"]
        if upgrade:
            lines += ["Connection: Upgrade", f"Upgrade: {hijack.protocol}"]
        lines += (f"{name}: {value}" for name, value in (*_SERVER, *hijack.headers))
        answer, first = "\r\n".join([*lines, "", ""]).encode(), bytes(self._http.trailing_data[0])
        raw = _Raw(first, self._reader, self._writer, answer)
        if not hijack.is_early:
            await raw.begin()
            raw = _Raw(first, self._reader, self._writer)
        try:
            await hijack.serve(raw)
        except ConnectionError:
            raise
        except Exception:  # noqa: BLE001  a bug, as in an answer
            _log.error("%s %s: %s", head.method.decode(), head.target.decode("latin-1"), traceback.format_exc())
        await raw.begin()


async def _nothing() -> None:
    return


class _Whole:
    """A body that was read already."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


def _headers(response: Response, whole: bytes | None) -> list[tuple[str, str]]:
    headers = [*_SERVER, *response.headers]
    if response.status not in (204, 304):
        headers.append(("Content-Type", response.type))
        if whole is not None:
            headers.append(("Content-Length", str(len(whole))))
        else:
            headers.append(("Transfer-Encoding", "chunked"))
    return headers


class Server:
    """The API on its sockets."""

    def __init__(self, router: Router, services: Services) -> None:
        self._router, self._services, self._turns = router, services, Turns(_TURNS)
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._servers: list[asyncio.Server] = []

    async def start(self, listeners: Sequence[Listener]) -> None:
        """Listen on sockets that are bound; returns at once."""
        loop = asyncio.get_running_loop()
        for one in listeners:
            is_unix = one.socket.family == socket.AF_UNIX
            start: Any = loop.create_unix_server if is_unix else loop.create_server
            # Python 3.13 would remove the socket's file at the end: it may be systemd's, and is the caller's.
            kept = {"cleanup_socket": False} if is_unix and sys.version_info >= (3, 13) else {}
            protocol = functools.partial(self._protocol, one)
            self._servers.append(await start(protocol, sock=one.socket, backlog=_BACKLOG, **kept))

    def _protocol(self, listener: Listener) -> asyncio.Protocol:
        reader = _Reader()

        async def accepted(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._accepted(reader, writer, browsers_refused=listener.browsers_refused)

        protocol = asyncio.StreamReaderProtocol(reader, accepted)
        return protocol if listener.tls is None else TlsProtocol(listener.tls, protocol)

    async def _accepted(self, reader: _Reader, writer: asyncio.StreamWriter, *, browsers_refused: bool) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = self._connections[task] = Connection(
            self._router, self._services, reader, writer, task, self._turns, browsers_refused=browsers_refused
        )
        try:
            await connection.serve()
        except asyncio.CancelledError:
            writer.close()
        finally:
            del self._connections[task]

    @property
    def is_busy(self) -> bool:
        """Whether a client is connected."""
        return bool(self._connections)

    async def close(self) -> None:
        """Stop listening, let short answers out, and drop every client."""
        for server in self._servers:
            server.close()
        answers = [asyncio.ensure_future(one.quiet.wait()) for one in self._connections.values()]
        if answers:
            await asyncio.wait(answers, timeout=_LAST_ANSWERS)
        tasks = tuple(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
