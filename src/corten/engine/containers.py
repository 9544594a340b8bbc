"""Containers: what can be done with them. The use cases themselves are in the modules that this one brings together."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from corten.engine import legacy_links, listing
from corten.engine.archives import Archives, Change, PathStat
from corten.engine.attach import Attachment, AttachOptions
from corten.engine.attaching import Attaching
from corten.engine.connecting import Connecting
from corten.engine.creation import Creation
from corten.engine.exec import Execs
from corten.engine.filters import Filters
from corten.engine.lifecycle import Lifecycle
from corten.engine.live import Exit
from corten.engine.logs import LogOptions
from corten.engine.model import Container, CreateRequest, EndpointRequest, UpdateRequest
from corten.engine.network_model import Network
from corten.engine.observing import Observing
from corten.engine.paths import Paths
from corten.engine.records import Records
from corten.engine.removal import Removal
from corten.engine.stopping import Stopping
from corten.engine.updating import Updating
from corten.engine.volumes import Pruned
from corten.errors import Conflict
from corten.spec.operation import Operation
from corten.spec.plan import Plan

T = TypeVar("T")

__all__ = ["Change", "Containers", "Exit", "Filters", "PathStat", "Pruned"]


@dataclasses.dataclass(frozen=True, slots=True)
class Containers:
    """The containers of one engine. A ``ref`` is an ID, a unique prefix of one, a name or ``/name``.

    Every method that takes a ref raises NotFound ``No such container: …`` and InvalidInput for an ambiguous prefix.
    What changes a container is seen through even when its caller is cancelled.
    """

    records: Records
    paths: Paths
    lifecycle: Lifecycle
    creation: Creation
    stopping: Stopping
    removal: Removal
    updating: Updating
    attaching: Attaching
    observing: Observing
    archives: Archives
    execs: Execs
    connecting: Connecting
    made_ahead: Sequence[Operation] = ()
    """The steps before every start: what made this process what it is."""

    # --- asking

    def get(self, ref: str) -> Container:
        """The record of a container; ``container/alias`` is the one that it links to by that name."""
        name, _, alias = ref.removeprefix("/").partition("/")
        if not alias:
            return self.records.find(ref)
        return legacy_links.target(self.records.find(name), alias, self.records.find)

    def list(
        self, *, all: bool = False, limit: int | None = None, filters: Filters | None = None
    ) -> Sequence[Container]:
        """Containers, newest first; only running ones unless ``all``, ``limit`` or the filter ``status`` says
        otherwise.

        Raises InvalidInput for an unknown filter, NotFound for a container that ``before`` or ``since`` names.
        """
        return listing.select(
            self.records, all=all, limit=limit, filters=filters or {}, image=self.observing.images,
            network_name=self.creation.network_name,
        )  # fmt: skip

    async def sizes(self, ref: str) -> tuple[int, int]:
        """Bytes of the container's own files, and of those with its image's (SizeRw, SizeRootFs)."""
        return await self.observing.sizes(self.get(ref))

    def directory(self, container: Container) -> str:
        """The container's directory: hostname, hosts, resolv.conf, its log."""
        return str(self.paths.container(container.id))

    def log_path(self, container: Container) -> str:
        """The file of its json-file log; '' for another driver."""
        return str(self.paths.log(container.id)) if container.host.log_config.type == "json-file" else ""

    def exec_ids(self, container: Container) -> Sequence[str]:
        """The IDs of its execs that have not ended."""
        return self.execs.of(container.id)

    # --- its life

    async def create(
        self,
        request: CreateRequest,
        name: str | None = None,
        platform: str | None = None,
        *,
        shallow_read_only: bool = False,
    ) -> tuple[Container, Sequence[str]]:
        """A new container and Docker's warnings. Raises NotFound (image), Conflict (name), InvalidInput."""
        container, warnings = await _seen_through(
            self.creation.create(request, name, platform, shallow_read_only=shallow_read_only)
        )
        self.lifecycle.publish(container, "create")
        asyncio.get_running_loop().call_soon(self.lifecycle.foresight.look, container)  # when this is answered
        return container, warnings

    async def start(self, ref: str, *, plan_digest: str | None = None) -> None:
        """Start it; returns when its command runs. NotModified when it runs already; Conflict for another plan."""
        await _seen_through(self.lifecycle.start(self.get(ref), plan_digest=plan_digest))

    async def plan(self, ref: str) -> tuple[Plan, frozenset[int]]:
        """The operations that a start will execute, and the places of those that have been done ahead."""
        plan, container = await self.lifecycle.plan(self.get(ref)), self.get(ref)
        return plan, self.lifecycle.launcher.has_ready(container.id, plan, listens=container.config.open_stdin)

    async def stop(self, ref: str, *, signal: str | None = None, timeout: int | None = None) -> str:
        """Send the stop signal, wait ``timeout`` s (negative: for ever), kill. NotModified when it does not run.

        Returns a hint for the user, or ''.
        """
        return await _seen_through(self.stopping.stop(self.get(ref), signal_name=signal, timeout=timeout))

    async def kill(self, ref: str, signal: str = "KILL") -> None:
        """Send a signal; after KILL the end is waited for. Conflict when it does not run."""
        await self.stopping.kill(self.get(ref), signal)

    async def restart(self, ref: str, *, signal: str | None = None, timeout: int | None = None) -> str:
        """Stop it, if it runs, and start it. Returns a hint for the user, or ''."""
        return await _seen_through(self.stopping.restart(self.get(ref), signal_name=signal, timeout=timeout))

    async def pause(self, ref: str) -> None:
        """Freeze every process. Conflict when it does not run or is paused."""
        await _seen_through(self.updating.pause(self.get(ref)))

    async def unpause(self, ref: str) -> None:
        """Thaw. Conflict when it is not paused."""
        await _seen_through(self.updating.unpause(self.get(ref)))

    def wait(self, ref: str, condition: str = "not-running") -> asyncio.Future[Exit]:
        """How it ends: ``not-running``, ``next-exit`` or ``removed``. Registered when this returns, so that an
        answer's head can be sent before the container is started."""
        container = self.get(ref)
        future = self.lifecycle.lives.of(container).wait(condition or "not-running")
        if condition in ("", "not-running") and not container.state.running:
            future.set_result(Exit(container.state.exit_code, container.state.error))
        return future

    def aliases(self) -> Mapping[str, Sequence[str]]:
        """By a container's name, its names with those that link to it."""
        return legacy_links.aliases(self.records)

    async def remove(self, ref: str, *, force: bool = False, volumes: bool = False) -> None:
        """Remove it; with ``volumes`` its anonymous volumes too. Conflict when it runs and not ``force``."""
        await _seen_through(self.removal.remove(self.get(ref), force=force, volumes=volumes))

    def unlink(self, ref: str) -> None:
        """Remove the link ``container/alias``, for the container's next start. NotFound; Conflict for a container's
        own name."""
        name, _, alias = ref.removeprefix("/").partition("/")
        if not alias:
            raise Conflict("Conflict, cannot remove the default link name of the container")
        container = self.get(name)
        self.records.change(container.id, host=legacy_links.without(container, alias))

    async def rename(self, ref: str, new: str) -> None:
        """Give it another name. Conflict when that is taken."""
        await _seen_through(self.updating.rename(self.get(ref), new))

    async def update(self, ref: str, request: UpdateRequest) -> Sequence[str]:
        """Change limits and restart policy, also while it runs; the warnings."""
        return await _seen_through(self.updating.update(self.get(ref), request))

    async def connect(self, network: Network, ref: str, request: EndpointRequest | None) -> None:
        """Put it into one more network, at once where it runs. InvalidInput, AccessDenied, Conflict."""
        await _seen_through(self.connecting.connect(network, self.get(ref), request))

    async def disconnect(self, network: Network, ref: str, *, force: bool = False) -> None:
        """Take it out of a network. CortenError when it is not there."""
        await _seen_through(self.connecting.disconnect(network, self.get(ref), force=force))

    async def prune(self, filters: Filters | None = None, told: Callable[[str], None] = lambda _: None) -> Pruned:
        """Remove every container that does not run; ``told`` hears of each as it goes."""
        return await _seen_through(self.removal.prune(filters, told))

    # --- looking into it

    async def top(self, ref: str, ps_args: str = "-ef") -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Titles and rows of ps(1) for its processes. Conflict when it does not run."""
        container = self.get(ref)
        found = await self.observing.top(container, ps_args)
        self.lifecycle.publish(container, "top")
        return found

    def stats(self, ref: str, *, stream: bool = True, one_shot: bool = False) -> AsyncIterator[dict[str, Any]]:
        """Samples in the API's own form (``ContainerStatsResponse``), one a second with ``stream``."""
        return self.observing.stats(self.get(ref), stream=stream, one_shot=one_shot)

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Tell its terminal the size in characters. Conflict when it does not run."""
        container = self.get(ref)
        run = self.lifecycle.lives.of(container).run
        if run is None:
            raise Conflict(f"container {container.id} is not running")
        run.monitor.resize(height, width)
        self.lifecycle.publish(container, "resize", height=str(height), width=str(width))

    async def attach(self, ref: str, options: AttachOptions) -> Attachment:
        """Its stdio; also of a container that is yet to be started."""
        return self.attaching.attach(self.get(ref), options)

    def logs(self, ref: str, options: LogOptions) -> AsyncIterator[tuple[int, bytes]]:
        """(stream, bytes) of its log; each has the timestamp in front where asked for."""
        return self.attaching.logs(self.get(ref), options)

    # --- its files

    async def changes(self, ref: str) -> Sequence[Change]:
        """What it changed of its image's files."""
        return await self.archives.changes(self.get(ref))

    async def stat_path(self, ref: str, path: str) -> PathStat:
        """What a path inside it is. NotFound."""
        return await self.archives.stat(self.get(ref), path)

    async def get_archive(self, ref: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """A tar archive of a path inside it. NotFound."""
        container = self.get(ref)
        found = await self.archives.get(container, path)
        self.lifecycle.publish(container, "archive-path")
        return found

    async def put_archive(
        self, ref: str, path: str, archive: AsyncIterator[bytes], *, overwrite_kind: bool = True,
        keep_owner: bool = False,
    ) -> None:  # fmt: skip
        """Unpack a tar archive, compressed or not, into a directory inside it; ``overwrite_kind`` lets a file take
        a directory's place and the other way round. NotFound, InvalidInput."""
        container = self.get(ref)
        await self.archives.put(container, path, archive, overwrite_kind=overwrite_kind, keep_owner=keep_owner)
        self.lifecycle.publish(container, "extract-to-dir")

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        """Its whole root file system as a tar archive."""
        container = self.get(ref)
        content = await self.archives.export(container)
        self.lifecycle.publish(container, "export")
        return content


async def _seen_through(work: Coroutine[Any, Any, T]) -> T:
    """Do it all, even when the client that asked for it goes away in the middle."""
    return await asyncio.shield(asyncio.ensure_future(work))
