"""Containers: what can be done with them."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any

from corten.engine.attach import Attachment, AttachOptions
from corten.engine.logs import LogOptions
from corten.engine.model import Container, CreateRequest, UpdateRequest
from corten.runtime.plan import Plan

Filters = Mapping[str, Sequence[str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended; ``error`` is why it could not be started, else ''."""

    code: int
    error: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Pruned:
    """What a prune removed, and the bytes that came free."""

    deleted: tuple[str, ...]
    reclaimed: int


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


class Containers:
    """The containers of one engine. A ``ref`` is an ID, a unique prefix of one, a name or ``/name``.

    Every method that takes a ref raises NotFound ``No such container: …`` and InvalidInput for an ambiguous prefix.
    """

    async def create(
        self, request: CreateRequest, name: str | None = None, platform: str | None = None
    ) -> tuple[Container, list[str]]:
        """A new container and Docker's warnings. Raises NotFound (image), Conflict (name), InvalidInput."""
        raise NotImplementedError

    def get(self, ref: str) -> Container:
        """The record of a container."""
        raise NotImplementedError

    def list(self, *, all: bool = False, limit: int | None = None, filters: Filters | None = None) -> list[Container]:
        """Containers, newest first; only running ones unless ``all``, ``limit`` or a status filter says otherwise."""
        raise NotImplementedError

    async def sizes(self, ref: str) -> tuple[int, int]:
        """Bytes of the container's own files, and of those with its image's (SizeRw, SizeRootFs)."""
        raise NotImplementedError

    def directory(self, container: Container) -> str:
        """The container's directory: hostname, hosts, resolv.conf, its log."""
        raise NotImplementedError

    def log_path(self, container: Container) -> str:
        """The file of its json-file log; '' for another driver."""
        raise NotImplementedError

    def exec_ids(self, container: Container) -> list[str]:
        """The IDs of its running execs."""
        raise NotImplementedError

    async def start(self, ref: str, *, plan_digest: str | None = None) -> None:
        """Start it; returns when its command runs. NotModified when it runs already; Conflict for another plan."""
        raise NotImplementedError

    async def plan(self, ref: str) -> Plan:
        """The operations that a start will execute."""
        raise NotImplementedError

    async def stop(self, ref: str, *, signal: str | None = None, timeout: int | None = None) -> None:
        """Send the stop signal, wait ``timeout`` s (-1: for ever), kill. NotModified when it does not run."""
        raise NotImplementedError

    async def kill(self, ref: str, signal: str = "KILL") -> None:
        """Send a signal. Conflict when it does not run."""
        raise NotImplementedError

    async def restart(self, ref: str, *, signal: str | None = None, timeout: int | None = None) -> None:
        """Stop it, if it runs, and start it."""
        raise NotImplementedError

    async def pause(self, ref: str) -> None:
        """Freeze every process. Conflict when it does not run or is paused."""
        raise NotImplementedError

    async def unpause(self, ref: str) -> None:
        """Thaw. Conflict when it is not paused."""
        raise NotImplementedError

    def wait(self, ref: str, condition: str = "not-running") -> Awaitable[Exit]:
        """How it ends: ``not-running``, ``next-exit`` or ``removed``. Registered when this returns, so that an
        answer's head can be sent before the container is started."""
        raise NotImplementedError

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False) -> None:
        """Remove it; with ``volumes`` its anonymous volumes too. Conflict when it runs and not ``force``."""
        raise NotImplementedError

    async def rename(self, ref: str, new: str) -> None:
        """Give it another name. Conflict when that is taken."""
        raise NotImplementedError

    async def update(self, ref: str, request: UpdateRequest) -> list[str]:
        """Change limits and restart policy, also while it runs; the warnings."""
        raise NotImplementedError

    async def top(self, ref: str, ps_args: str = "-ef") -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Titles and rows of ps(1) for its processes. Conflict when it does not run."""
        raise NotImplementedError

    def stats(self, ref: str, *, stream: bool = True, one_shot: bool = False) -> AsyncIterator[dict[str, Any]]:
        """Samples in the API's own form (``ContainerStatsResponse``), one a second with ``stream``."""
        raise NotImplementedError

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Tell its terminal the size in characters."""
        raise NotImplementedError

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        """Its stdio; also of a container that is yet to be started."""
        raise NotImplementedError

    def logs(self, ref: str, options: LogOptions) -> AsyncIterator[tuple[int, bytes]]:
        """(stream, bytes) of its log; each has the timestamp in front where asked for."""
        raise NotImplementedError

    async def changes(self, ref: str) -> list[Change]:
        """What it changed of its image's files."""
        raise NotImplementedError

    async def stat_path(self, ref: str, path: str) -> PathStat:
        """What a path inside it is. NotFound."""
        raise NotImplementedError

    async def get_archive(self, ref: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """A tar archive of a path inside it."""
        raise NotImplementedError

    async def put_archive(
        self,
        ref: str,
        path: str,
        archive: AsyncIterator[bytes],
        *,
        overwrite_kind: bool = True,
        keep_owner: bool = False,
    ) -> None:
        """Unpack a tar archive, compressed or not, into a directory inside it; ``overwrite_kind`` lets a file take
        a directory's place and the other way round."""
        raise NotImplementedError

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        """Its whole root file system as a tar archive."""
        raise NotImplementedError

    async def prune(self, filters: Filters | None = None) -> Pruned:
        """Remove every container that does not run."""
        raise NotImplementedError
