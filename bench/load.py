"""Many clients at once, half of them streaming: whether none is failed, what the engine holds, how long a ping takes.

Clients are coroutines of this process, each with a connection of its own. Those that stream read logs, stats, events
and attached output, of containers that write all the time; the others ask, each four times a second, for what tools
poll; a few have short containers made and removed, so that there is something to tell of.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from tests.support.engine import Engine

_TALKERS = 8
"""Containers that write."""
_PACE = 0.25
"""Seconds between two questions of one client."""
_TALK = ["sh", "-c", "i=0; while :; do echo line $i; i=$((i+1)); usleep 20000; done"]
STANDING_BY = 14
"""Descriptors that an engine may have more for who stands by for the next start: now there are some, now none."""


@dataclasses.dataclass(slots=True)
class Report:
    """What came of it. Times are milliseconds, sizes bytes."""

    answers: int = 0
    streamed: int = 0
    """Bytes that were read from streams."""
    lives: int = 0
    """Containers that were made, ran and were removed meanwhile."""
    silent: int = 0
    """Streams that gave nothing."""
    pings: list[float] = dataclasses.field(default_factory=list)
    errors: list[str] = dataclasses.field(default_factory=list)
    memory_before: int = 0
    memory_most: int = 0
    memory_after: int = 0
    descriptors_before: int = 0
    descriptors_after: int = 0

    def ping(self, share: float) -> float:
        """The time within which this share of pings was answered."""
        ordered = sorted(self.pings)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Connection:
    """HTTP/1.1 on a unix socket, as little of it as is needed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self._writer = reader, writer

    @classmethod
    async def open(cls, path: Path) -> Connection:
        """A new one."""
        return cls(*await asyncio.open_unix_connection(str(path), limit=1 << 20))

    async def send(self, method: str, target: str, body: bytes = b"", *more: str) -> tuple[int, str]:
        """A request, and the status and head of its answer."""
        lines = [f"{method} {target} HTTP/1.1", "Host: d", f"Content-Length: {len(body)}",
                 "Content-Type: application/json", *more, "", ""]  # fmt: skip
        self._writer.write("\r\n".join(lines).encode() + body)
        await self._writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        return int(head.split(" ", 2)[1]), head

    async def ask(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
        """A request whose answer is read to its end."""
        status, head = await self.send(method, target, body)
        if "transfer-encoding: chunked" in head:
            return status, b"".join([chunk async for chunk in self.chunks()])
        found = re.search(r"content-length: (\d+)", head)
        return status, await self.reader.readexactly(int(found[1])) if found else b""

    async def chunks(self) -> AsyncIterator[bytes]:
        """A body that comes in chunks."""
        while size := int(await self.reader.readline(), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readline()

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


class Load:
    """``clients`` on one engine for some seconds."""

    def __init__(self, engine: Engine, clients: int, seconds: float) -> None:
        self._engine, self._clients, self._seconds = engine, clients, seconds
        self._talkers: list[str] = []
        self._over = asyncio.Event()
        self.report = Report()

    async def run(self) -> Report:
        """All of it; the containers are left to the engine's end."""
        report = self.report
        await self._prepare()
        report.descriptors_before, report.memory_before = self._descriptors(), self._memory()
        streaming = itertools.islice(itertools.cycle((self._logs, self._stats, self._events, self._attach)),
                                     self._clients // 2)  # fmt: skip
        asking = [self._live] * 4 + [self._ask] * (self._clients - self._clients // 2 - 4)
        tasks = [asyncio.ensure_future(self._client(one, number)) for number, one in enumerate([*streaming, *asking])]
        await self._watch(tasks)
        await asyncio.gather(*tasks)
        await self._settled()
        report.descriptors_after, report.memory_after = self._descriptors(), self._memory()
        return report

    async def _prepare(self) -> None:
        connection = await Connection.open(self._engine.socket)
        for number in range(_TALKERS):
            body = json.dumps({"Image": "busybox", "Cmd": _TALK, "Labels": {"talker": str(number)}}).encode()
            _, created = await connection.ask("POST", "/containers/create", body)
            id = json.loads(created)["Id"]
            await connection.ask("POST", f"/containers/{id}/start")
            self._talkers.append(id)
        connection.close()

    async def _watch(self, tasks: list[asyncio.Task[None]]) -> None:
        end = time.monotonic() + self._seconds
        while time.monotonic() < end:
            self.report.memory_most = max(self.report.memory_most, self._memory())
            await asyncio.sleep(min(0.5, self._seconds / 8))
        self._over.set()
        for task in tasks[: self._clients // 2]:
            task.cancel()

    async def _client(self, what: Callable[[Connection, int], Awaitable[None]], number: int) -> None:
        try:
            connection = await Connection.open(self._engine.socket)
        except OSError as error:
            self.report.errors.append(f"connect: {error}")
            return
        try:
            await what(connection, number)
        except asyncio.CancelledError:
            pass  # the end of a stream
        except (OSError, EOFError, ValueError, AssertionError) as error:
            self.report.errors.append(f"{what.__name__}: {type(error).__name__}: {error}")
        finally:
            connection.close()

    # --- those that stream

    async def _logs(self, connection: Connection, number: int) -> None:
        await self._stream(connection, f"/containers/{self._talker(number)}/logs?follow=1&stdout=1&tail=10")

    async def _stats(self, connection: Connection, number: int) -> None:
        await self._stream(connection, f"/containers/{self._talker(number)}/stats")

    async def _events(self, connection: Connection, number: int) -> None:
        await self._stream(connection, "/events")

    async def _stream(self, connection: Connection, target: str) -> None:
        status, _ = await connection.send("GET", target)
        assert status == 200, f"{target}: {status}"
        await self._read(connection.chunks())
        raise AssertionError(f"{target}: it ended")

    async def _attach(self, connection: Connection, number: int) -> None:
        target = f"/containers/{self._talker(number)}/attach?stream=1&stdout=1"
        status, _ = await connection.send("POST", target, b"", "Connection: Upgrade", "Upgrade: tcp")
        assert status == 101, f"attach: {status}"

        async def pieces() -> AsyncIterator[bytes]:
            while piece := await connection.reader.read(65536):
                yield piece

        await self._read(pieces())
        raise AssertionError("attach: it ended")

    async def _read(self, pieces: AsyncIterator[bytes]) -> None:
        read = 0
        try:
            async for piece in pieces:
                read += len(piece)
        finally:
            self.report.streamed += read
            self.report.silent += not read

    def _talker(self, number: int) -> str:
        return self._talkers[number // 4 % _TALKERS]

    # --- those that ask

    async def _ask(self, connection: Connection, number: int) -> None:
        targets = itertools.cycle(("/_ping", "/containers/json", "/_ping", f"/containers/{self._talker(number)}/json",
                                   "/_ping", "/images/json", "/_ping", "/info"))  # fmt: skip
        await asyncio.sleep(number % 10 * _PACE / 10)
        while not self._over.is_set():
            target = next(targets)
            began = time.perf_counter()
            status, _ = await connection.ask("GET", target)
            if target == "/_ping":
                self.report.pings.append((time.perf_counter() - began) * 1000)
            assert status == 200, f"{target}: {status}"
            self.report.answers += 1
            await asyncio.sleep(_PACE)

    async def _live(self, connection: Connection, number: int) -> None:
        body = json.dumps({"Image": "busybox", "Cmd": ["true"]}).encode()
        while not self._over.is_set():
            status, created = await connection.ask("POST", "/containers/create", body)
            assert status == 201, f"create: {status} {created!r}"
            path = f"/containers/{json.loads(created)['Id']}"
            for method, target in (("POST", f"{path}/start"), ("POST", f"{path}/wait"), ("DELETE", path)):
                status, told = await connection.ask(method, target)
                assert status < 300, f"{method} {target}: {status} {told!r}"
            self.report.lives += 1

    # --- the engine, from outside

    def _memory(self) -> int:
        text = Path(f"/proc/{self._engine.pid}/status").read_text()
        found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024

    def _descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self._engine.pid}/fd"))

    async def _settled(self) -> None:
        """Until the engine has noticed that the clients are gone, within a bound."""
        end = time.monotonic() + 10
        while self._descriptors() > self.report.descriptors_before + STANDING_BY and time.monotonic() < end:
            await asyncio.sleep(0.05)


def load(engine: Engine, clients: int, seconds: float) -> Report:
    """Put the load on an engine that has ``busybox``."""

    async def run() -> Report:
        return await Load(engine, clients, seconds).run()

    return asyncio.run(run())
