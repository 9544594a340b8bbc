"""Attaching to containers, and reading their logs."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

from corten.engine import detach_keys
from corten.engine.attach import Attachment, AttachOptions
from corten.engine.broadcast import Broadcast
from corten.engine.lifecycle import Lifecycle
from corten.engine.live import Live
from corten.engine.log_config import is_readable
from corten.engine.logs import Cursor, LogFeed, LogOptions, follow, read_log, render
from corten.engine.model import Container
from corten.engine.pipes import PipeWriter
from corten.errors import Conflict, Unsupported


@dataclasses.dataclass(frozen=True, slots=True)
class Attaching:
    """Gives clients the stdio and the logs of the containers of one engine."""

    lifecycle: Lifecycle

    def attach(self, container: Container, options: AttachOptions) -> Attachment:
        """The stdio of a container that runs or is yet to be started. Raises Conflict, InvalidInput."""
        _refuse(container)
        keys = detach_keys.parse(options.detach_keys)
        live = self.lifecycle.lives.of(container)
        stdin = None
        if options.stdin and options.stream and container.config.open_stdin:
            stdin = ContainerStdin(live, close_with_client=container.config.stdin_once and not container.config.tty)
        self.lifecycle.publish(container, "attach")
        return Attachment(
            self._output(container, live, options),
            tty=container.config.tty,
            stdin=stdin,
            detach_keys=keys if container.config.tty else b"",
            detached=lambda: self.lifecycle.publish(container, "detach"),
        )

    def _output(self, container: Container, live: Live, options: AttachOptions) -> AsyncIterator[tuple[int, bytes]]:
        if container.host.log_config.type == "none":
            return _wanted(_broadcast(live).join(), options)
        cursor = live.feed.at_start() if options.logs else live.feed.at_end()
        runs = live.feed.runs if options.stream else None
        return self._follow(live, cursor, options, runs)

    async def _follow(
        self, live: Live, cursor: Cursor, options: AttachOptions, runs: int | None
    ) -> AsyncIterator[tuple[int, bytes]]:
        try:
            async for entry in follow(live.feed, cursor, live=options.stream, runs=runs):
                if options.stdout if entry.stream == 1 else options.stderr:
                    yield entry.stream, entry.data
        finally:
            cursor.close()

    def logs(self, container: Container, options: LogOptions) -> AsyncIterator[tuple[int, bytes]]:
        """(stream, bytes) of a container's log, with what ``options`` put in front. Raises Unsupported, now and not in
        the middle of an answer."""
        if not is_readable(container.host.log_config):
            raise Unsupported("configured logging driver does not support reading")
        return _rendered(self.lifecycle.lives.of(container).feed, options)


async def _rendered(feed: LogFeed, options: LogOptions) -> AsyncIterator[tuple[int, bytes]]:
    unended: set[int] = set()
    async for entry in read_log(feed, options):
        # A line that was written in parts is one line to who reads it.
        yield entry.stream, entry.data if entry.stream in unended else render(entry, options)
        (unended.discard if entry.data.endswith(b"\n") else unended.add)(entry.stream)


class ContainerStdin:
    """The stdin of a container's present run, or of the next one while it does not run."""

    def __init__(self, live: Live, *, close_with_client: bool) -> None:
        self._live = live
        self._runs = live.feed.runs
        self._close_with_client = close_with_client

    async def write(self, data: bytes) -> None:
        """Wait for the run, and for the pipe."""
        if (writer := await self._writer()) is not None:
            await writer.write(data)

    async def close(self) -> None:
        """End of file, if the stdin is for one client (``StdinOnce``)."""
        if self._close_with_client:
            await self._writer()
            if self._live.run is not None and self._live.feed.runs == self._runs:
                self._live.run.monitor.close_stdin()

    async def _writer(self) -> PipeWriter | None:
        while self._live.feed.runs == self._runs:
            if self._live.run is not None:
                return self._live.run.monitor.stdin
            await self._live.feed.more()
        return None


def _broadcast(live: Live) -> Broadcast:
    if live.output is None:
        live.output = Broadcast()
        if live.run is not None:
            live.output.begin(live.run.monitor)
    return live.output


async def _wanted(output: AsyncIterator[tuple[int, bytes]], options: AttachOptions) -> AsyncIterator[tuple[int, bytes]]:
    async for stream, data in output:
        if options.stdout if stream == 1 else options.stderr:
            yield stream, data


def _refuse(container: Container) -> None:
    if container.state.paused:
        raise Conflict(f"container {container.id} is paused, unpause the container before attach")
    if container.state.restarting:
        raise Conflict(f"container {container.id} is restarting, wait until the container is running")
