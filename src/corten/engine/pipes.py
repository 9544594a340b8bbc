"""Pipes and terminals under the event loop: writing with back-pressure, reading in chunks."""

from __future__ import annotations

import asyncio
import contextlib
import os

CHUNK = 65536


class PipeWriter:
    """The writing end of a container's stdin, or its terminal. Owns the descriptor.

    Several clients may write: what one writes stays together as far as the container reads in time.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._lock = asyncio.Lock()
        self._wake: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Write all of it; returns when the pipe has taken it. What a container no longer reads goes nowhere."""
        async with self._lock:
            left = memoryview(data)
            while left and self._descriptor >= 0:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except BlockingIOError:
                    await self._writable()
                except OSError:  # the container closed its stdin, or the terminal hung up
                    return

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        loop.add_writer(self._descriptor, self._settle)
        try:
            await self._wake
        finally:
            if self._descriptor >= 0:
                loop.remove_writer(self._descriptor)
            self._wake = None

    def _settle(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def close(self) -> None:
        """Close the descriptor; a writer that waits gives up."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        if self._wake is not None:
            asyncio.get_running_loop().remove_writer(descriptor)
            self._settle()
        os.close(descriptor)


class PipeReader:
    """The reading end of a container's stdout or stderr, or its terminal. Borrows the descriptor."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    async def read(self) -> bytes:
        """The next bytes; empty at the end."""
        while True:
            try:
                return os.read(self._descriptor, CHUNK)
            except BlockingIOError:
                await self._readable()
            except OSError:  # EIO: the last process let go of the terminal
                return b""

    def read_now(self) -> bytes:
        """What is there at this moment; empty when there is nothing."""
        try:
            return os.read(self._descriptor, CHUNK)
        except OSError:
            return b""

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._descriptor, _settle_once, ready)
        try:
            await ready
        finally:
            with contextlib.suppress(ValueError, OSError):
                loop.remove_reader(self._descriptor)


def _settle_once(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
