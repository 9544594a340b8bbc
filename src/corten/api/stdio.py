"""Attachments over hijacked connections."""

from __future__ import annotations

import asyncio
import contextlib

from corten.api.message import Duplex
from corten.engine.attach import Attachment
from corten.errors import CortenError
from corten.wire.frames import SYSTEM, frame


async def serve(attachment: Attachment, client: Duplex, *, framed: bool) -> None:
    """Move bytes both ways until the output ends; the client's half-close is the end of stdin, no more.

    ``framed``: each piece says which stream it is of.
    """
    async with attachment:
        inward = asyncio.create_task(_inward(attachment, client))
        try:
            await _outward(attachment, client, framed)
        finally:
            inward.cancel()
            await asyncio.gather(inward, return_exceptions=True)


async def _outward(attachment: Attachment, client: Duplex, framed: bool) -> None:
    with contextlib.suppress(ConnectionError):
        try:
            async for stream, data in attachment:
                await client.write(frame(stream, data) if framed else data)
        except CortenError as error:
            if framed:
                await client.write(frame(SYSTEM, error.message.encode()))


async def _inward(attachment: Attachment, client: Duplex) -> None:
    while data := await client.read():
        await attachment.write_stdin(data)
    await attachment.close_stdin()
