"""A container's files, from outside: cp, diff, export, and what a new volume takes over.

The container's tree is a stranger's: names and symbolic links in it may point anywhere. It is looked at by a worker
of the spawner, whose root it is; the engine itself moves bytes only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import functools
import json
import os
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from corten.engine.clock import ZERO
from corten.engine.homes import ETC, lowers
from corten.engine.lifecycle import Lifecycle
from corten.engine.model import Container
from corten.engine.paths import Paths
from corten.engine.pipes import PipeReader, PipeWriter
from corten.engine.runtime_config import shared_container
from corten.engine.shelf import Shelf
from corten.engine.spawning import Spawner
from corten.engine.standbys import Standbys
from corten.errors import AccessDenied, Conflict, CortenError, DataCorrupt, InvalidInput, NotFound, Unavailable
from corten.sys.standing import Standing


class _Gone(Conflict):
    """The container ended before a worker entered it."""


_KINDS: dict[str, type[CortenError]] = {
    "Gone": _Gone, **{kind.__name__: kind for kind in (AccessDenied, Conflict, DataCorrupt, InvalidInput, NotFound)},
}  # fmt: skip
T = TypeVar("T")
_LARGE_PIPE = 1 << 20

_OF_LAYERS = frozenset(("diff", "layer", "changed", "populate", "directory"))
"""Works that look at the layers one by one, or below what the container writes to."""


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One difference between a container and its image: 0 modified, 1 added, 2 deleted."""

    kind: int
    path: str


@dataclasses.dataclass(frozen=True, slots=True)
class PathStat:
    """What the archive endpoints tell of a path; ``mode`` has Go's bits, ``mtime`` is RFC 3339."""

    name: str
    size: int
    mode: int
    mtime: str
    link_target: str


@dataclasses.dataclass(frozen=True, slots=True)
class Archives:
    """Moves files in and out of the containers of one engine."""

    lifecycle: Lifecycle
    spawner: Spawner
    paths: Paths
    standing: Standing
    standbys: Standbys
    shelf: Shelf

    async def changes(self, container: Container) -> list[Change]:
        """What it changed of its image's files, by path."""
        async with self._work(container, "diff", {}) as worker:
            found = await worker.report()
        return [Change(kind, path) for kind, path in found["changes"]]

    async def stat(self, container: Container, path: str) -> PathStat:
        """What a path is; a symbolic link itself, unless the path ends with a slash. Raises NotFound."""
        return await _until_entered(lambda: self._stat(container, path))

    async def _stat(self, container: Container, path: str) -> PathStat:
        async with self._work(container, "stat", {"path": path}) as worker:
            return PathStat(**(await worker.report())["stat"])

    async def get(self, container: Container, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """A tar archive of a path. Raises NotFound."""
        return await _until_entered(lambda: self._get(container, path))

    async def _get(self, container: Container, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        stack = contextlib.AsyncExitStack()
        async with stack:
            worker = await stack.enter_async_context(self._work(container, "archive", {"path": path}, reads=True))
            stat = PathStat(**(await worker.report())["stat"])
            return stat, worker.stream(stack.pop_all())
        raise AssertionError("unreachable")

    async def export(self, container: Container) -> AsyncIterator[bytes]:
        """The whole root as a tar archive, without what is mounted into it."""
        return await _until_entered(lambda: self._export(container))

    async def _export(self, container: Container) -> AsyncIterator[bytes]:
        stack = contextlib.AsyncExitStack()
        async with stack:
            worker = await stack.enter_async_context(self._work(container, "export", {}, reads=True))
            await worker.report()
            return worker.stream(stack.pop_all())
        raise AssertionError("unreachable")

    async def layer(self, container: Container) -> AsyncIterator[bytes]:
        """What it changed of its image's files, as a layer's archive."""
        stack = contextlib.AsyncExitStack()
        async with stack:
            worker = await stack.enter_async_context(self._work(container, "layer", {}, reads=True))
            await worker.report()
            return worker.stream(stack.pop_all())
        raise AssertionError("unreachable")

    async def changed(self, container: Container, args: dict[str, Any], descriptors: Sequence[int]) -> dict[str, Any]:
        """Make a layer of what it changed: see ``corten.spawner.making``."""
        async with self._work(container, "changed", args, descriptors=descriptors) as worker:
            return await worker.report()

    async def look(self, container: Container, args: dict[str, Any]) -> dict[str, Any]:
        """What is at a place of a root file system: see ``corten.spawner.building.look``."""
        async with self._work(container, "look", args) as worker:
            return await worker.report()

    async def gather(self, container: Container, sources: list[str]) -> AsyncIterator[bytes]:
        """An archive of what the sources of a copy name."""
        stack = contextlib.AsyncExitStack()
        async with stack:
            worker = await stack.enter_async_context(
                self._work(container, "gather", {"sources": sources}, reads=True)
            )
            await worker.report()
            return worker.stream(stack.pop_all())
        raise AssertionError("unreachable")

    @contextlib.asynccontextmanager
    async def outside(
        self, work: str, args: dict[str, Any], descriptors: Sequence[int] = (), *, writes: bool = False
    ) -> AsyncIterator[Worker]:
        """A worker that looks into no container: ``descriptors`` are handed to it, after the data if it takes some."""
        async with contextlib.AsyncExitStack() as ours:
            with contextlib.ExitStack() as theirs:
                report, *handed = _pipe(theirs, reads=True)
                ours.callback(os.close, report)
                worker = Worker(PipeReader(report))
                if writes:
                    data, other = _pipe(theirs, reads=False)
                    with contextlib.suppress(OSError):  # what one user may have of it is bounded
                        fcntl.fcntl(data, fcntl.F_SETPIPE_SZ, _LARGE_PIPE)
                    handed.append(other)
                    ours.callback(worker.use(data, reads=False))
                handed += descriptors
                await self.spawner.request({"do": "work", "work": work, "args": args}, handed)
            yield worker

    async def put(
        self, container: Container, path: str, archive: AsyncIterator[bytes], *, overwrite_kind: bool, keep_owner: bool
    ) -> None:
        """Unpack an archive into a directory. Raises NotFound, InvalidInput, AccessDenied (a read-only place)."""
        args = {
            "path": path,
            "overwrite_kind": overwrite_kind,
            "keep_owner": keep_owner,
            "single_owner": self.standing.is_single,
            "read_only": container.host.readonly_rootfs,
        }
        async with self._work(container, "unpack", args, writes=True) as worker:
            async for chunk in archive:
                await worker.write(chunk)
            worker.end_of_input()
            await worker.report()

    async def populate(self, container: Container, volumes: list[tuple[str, str]]) -> None:
        """Let new volumes take the image's content at their paths: (path in the image, directory)."""
        async with self._work(container, "populate", {"volumes": volumes}) as worker:
            await worker.report()

    async def check_directory(self, container: Container, path: str) -> None:
        """Raises InvalidInput, in dockerd's words, for a path that is something else than a directory in the image."""
        async with self._work(container, "directory", {"path": path}) as worker:
            if not (await worker.report())["possible"]:
                raise InvalidInput(f"Cannot mkdir: {path} is not a directory")

    def _view(self, container: Container, work: str) -> dict[str, Any]:
        """How a worker comes to see a container that does not run: the mounts that its start would make, unless it is
        to export what is below them."""
        own = f"containers/{container.id}"
        return {
            "base": str(self.paths.root),
            "lowers": lowers(container),
            "upper": f"{own}/upper",
            "work": f"{own}/work",
            "merged": f"{own}/merged",
            "copy": self.lifecycle.planner.copy(container),
            "files": self.lifecycle.planner.files(container.layers),
            "user_xattrs": not self.standing.initial,
            "mounts": self._mounts(container) if work != "export" else [],
            "directory": container.config.working_dir,
        }

    def _mounts(self, container: Container) -> list[list[str | bool]]:
        """(source, destination, whether it is writable); the files that the engine wrote in /etc once it has run."""
        shown = [one for one in container.mounts if one.source and one.type != "image"]
        mounts: list[list[str | bool]] = [[one.source, one.destination, one.rw] for one in shown]
        taken = {one.destination for one in container.mounts}
        own = self.paths.container(container.id)
        if container.state.started_at != ZERO and not shared_container(container.host.network_mode):
            etc = [(own / name, f"/etc/{name}") for name in ETC]
            mounts += [[str(file), place, True] for file, place in etc if place not in taken and file.is_file()]
        return mounts

    @contextlib.asynccontextmanager
    async def _work(
        self, container: Container, work: str, args: dict[str, Any], *, reads: bool = False, writes: bool = False,
        descriptors: Sequence[int] = (),
    ) -> AsyncIterator[Worker]:  # fmt: skip
        """A worker of the spawner. A container that does not run is neither started nor removed meanwhile."""
        live = self.lifecycle.lives.of(container)
        while live.run is not None and _has_ended(live.run.monitor.pidfd):
            await live.wait("not-running")  # there is nothing to enter any more, and the engine is about to hear of it
        await self.shelf.prepare(container)
        view = {"view": self._view(container, work), "name": container.id, "user": container.config.user}
        async with contextlib.AsyncExitStack() as ours:
            if live.run is None:
                await ours.enter_async_context(live.lock)
                if work not in _OF_LAYERS:
                    await self.standbys.forget(container.id)  # nobody else is to have this root mounted
            with contextlib.ExitStack() as theirs:
                report, *handed = _pipe(theirs, reads=True)
                ours.callback(os.close, report)
                worker = Worker(PipeReader(report))
                if reads or writes:
                    data, other = _pipe(theirs, reads=reads)
                    handed.append(other)
                    ours.callback(worker.use(data, reads=reads))
                handed += descriptors
                running = live.run is not None
                if live.run is not None:
                    handed.append(live.run.monitor.pidfd)
                args = {**args, **view, "running": running}
                answer = await self.spawner.request({"do": "work", "work": work, "args": args}, handed)
            worker.status = functools.partial(self.spawner.status_of, int(answer["pid"]))
            yield worker


async def _until_entered(act: Callable[[], Awaitable[T]]) -> T:
    """Do a work; again, when its container ended in that moment: next time it is known to have."""
    while True:
        with contextlib.suppress(_Gone):
            return await act()


def _has_ended(pidfd: int) -> bool:
    """Whether a process has: its descriptor can be read then, pidfd_open(2)."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def _pipe(theirs: contextlib.ExitStack, *, reads: bool) -> tuple[int, int]:
    """(our end, the worker's end, which ``theirs`` closes)."""
    reader, writer = os.pipe()
    ours, other = (reader, writer) if reads else (writer, reader)
    theirs.callback(os.close, other)
    return ours, other


class Worker:
    """A worker, seen from the engine: its report, and its data one way or the other."""

    def __init__(self, report: PipeReader) -> None:
        self._report = report
        self._output: PipeReader | None = None
        self._input: PipeWriter | None = None
        self.status: Callable[[], Awaitable[int]] | None = None
        """Asks how it ended."""

    def use(self, data: int, *, reads: bool) -> Callable[[], None]:
        """Take our end of the data; what closes it."""
        if reads:
            self._output = PipeReader(data)
            return lambda: os.close(data)
        self._input = PipeWriter(data)
        return self._input.close

    async def report(self) -> dict[str, Any]:
        """What it says of its work. Raises what stopped it; Unavailable when it died without a word."""
        content = b""
        while not content.endswith(b"\n") and (more := await self._report.read()):
            content += more
        if not content:
            raise Unavailable("look into the container: the worker died")
        told: dict[str, Any] = json.loads(content)
        if error := told.get("error"):
            raise _KINDS.get(error["kind"], CortenError)(error["message"], hint=error.get("hint", ""))
        return told

    async def stream(self, stack: contextlib.AsyncExitStack) -> AsyncIterator[bytes]:
        """Its data. Raises Unavailable when it broke off. ``stack`` ends with it."""
        async with stack:
            while self._output is not None and (data := await self._output.read()):
                yield data
            if self.status is not None and await self.status():
                raise Unavailable("read the container's files: the worker broke off")

    async def write(self, data: bytes) -> None:
        """Give it data; after it has ended, to no effect: its report says why."""
        if self._input is not None:
            await self._input.write(data)

    def end_of_input(self) -> None:
        """There is no more."""
        if self._input is not None:
            self._input.close()
