"""Attaching by WebSocket: the same stdio, in frames of another kind, without Docker's own."""

from __future__ import annotations

import asyncio
import contextlib
import urllib.parse

from corten.api import stdio
from corten.api.message import Duplex, Hijack, Request
from corten.api.router import Router
from corten.engine.attach import Attachment, AttachOptions
from corten.errors import AccessDenied, InvalidInput
from corten.wire import websocket

ROUTES = Router()


@ROUTES.route("GET", "/containers/{id}/attach/ws", reads_body=True)
async def attach(request: Request) -> Hijack:
    services = request.services
    container = services.containers.get(request.params["id"])
    answer = _handshake(request)
    every = request.version < (1, 42)  # before, the parameters were documented and not looked at
    options = AttachOptions(
        stdin=every or request.flag("stdin"),
        stdout=every or request.flag("stdout"),
        stderr=every or request.flag("stderr"),
        logs=request.flag("logs"),
        stream=request.flag("stream"),
        detach_keys=request.text("detachKeys"),
    )
    attachment = await services.containers.attach(container.id, options)
    opcode = websocket.BINARY if request.version >= (1, 28) else websocket.TEXT

    async def serve(client: Duplex) -> None:
        await _serve(attachment, client, opcode)

    return Hijack(serve, protocol="websocket", headers=(("Sec-WebSocket-Accept", answer),))


def _handshake(request: Request) -> str:
    """The value that tells the client that it was understood. Raises InvalidInput, and AccessDenied for a web page of
    another origin: a browser lets any page open a WebSocket to this machine."""
    headers = request.headers
    if headers.get("upgrade", "").lower() != "websocket" or headers.get("sec-websocket-version") != "13":
        raise InvalidInput("not a WebSocket handshake (RFC 6455)")
    origin = headers.get("origin", "")
    # A browser names the host; a program that does not is none.
    if origin and headers.get("host") and urllib.parse.urlsplit(origin).netloc != headers.get("host"):
        raise AccessDenied(f"attach by WebSocket: refused to a page of {origin}")
    return websocket.accept_value(headers.get("sec-websocket-key", ""))


async def _serve(attachment: Attachment, client: Duplex, opcode: int) -> None:
    frames = _Frames(client, opcode)
    work = asyncio.ensure_future(stdio.serve(attachment, frames, framed=False))
    gone = asyncio.ensure_future(frames.closed.wait())
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        work.cancel()
        gone.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)
    with contextlib.suppress(ConnectionError):
        await client.write(websocket.closing(frames.code))


class _Frames:
    """A connection's frames as a stream both ways. There is no half-close here: with the client's last frame, or its
    end, the attachment ends."""

    def __init__(self, client: Duplex, opcode: int) -> None:
        self._client, self._opcode = client, opcode
        self._decoder = websocket.Decoder()
        self.closed = asyncio.Event()
        self.code = websocket.NORMAL

    async def read(self) -> bytes:
        """The next payload; empty at the end."""
        while data := await self._client.read():
            try:
                content = await self._payload(data)
            except websocket.Violation as error:
                self.code = error.code
                break
            if self.closed.is_set():
                return b""
            if content:
                return content
        self.closed.set()
        return b""

    async def _payload(self, data: bytes) -> bytes:
        parts = []
        for frame in self._decoder.feed(data):
            if frame.opcode == websocket.CLOSE:
                self.closed.set()
                break
            if frame.opcode == websocket.PING:
                await self._client.write(websocket.encode(websocket.PONG, frame.payload))
            elif frame.opcode != websocket.PONG:
                parts.append(frame.payload)
        return b"".join(parts)

    async def write(self, data: bytes) -> None:
        """One message."""
        await self._client.write(websocket.encode(self._opcode, data))
