"""Looking at running containers: processes, use of resources, sizes on disk."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shlex
import subprocess
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from corten.engine import statistics
from corten.engine.clock import now
from corten.engine.copies import size_of_changes
from corten.engine.lifecycle import Lifecycle
from corten.engine.listing import Images
from corten.engine.model import Container
from corten.engine.paths import Paths
from corten.engine.trees import size_of
from corten.errors import Conflict, InvalidInput, NotFound, Unsupported
from corten.sys import process

_INTERVAL = 1.0
_SHARED = 0.1
"""Seconds for which one look at a container serves all who follow its figures: it reads some fifteen files."""


@dataclasses.dataclass(frozen=True, slots=True)
class Observing:
    """Looks at the containers of one engine."""

    lifecycle: Lifecycle
    images: Images
    paths: Paths
    _looks: dict[str, tuple[float, statistics.Sample]] = dataclasses.field(default_factory=dict, init=False)

    async def sizes(self, container: Container) -> tuple[int, int]:
        """Bytes of the container's own files, and of those with its image's."""
        own = await asyncio.to_thread(size_of_changes, self.paths.container(container.id))
        try:
            return own, own + self.images.resolve(container.image).size
        except NotFound:  # the image was removed, its layers stay for the container
            layers = [self.paths.root / "layers" / short / "fs" for short in container.layers]
            return own, own + sum([await asyncio.to_thread(size_of, layer) for layer in layers])

    async def top(self, container: Container, ps_args: str) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
        """Titles and rows of ps(1). Raises Conflict, InvalidInput, Unsupported without ps."""
        if not container.state.running or container.state.restarting:
            raise Conflict(f"container {container.id} is not running")
        return select_processes(await _ps(ps_args or "-ef"), self._processes(container))

    def _processes(self, container: Container) -> set[int]:
        planner = self.lifecycle.planner
        if not planner.cgroups.present and planner.own_pids(container):
            return set(process.in_pid_namespace_of(container.state.pid))
        return set(planner.cgroups.processes(planner.cgroup(container)))

    def stats(self, container: Container, *, stream: bool, one_shot: bool) -> AsyncIterator[dict[str, Any]]:
        """Samples in the API's form, each with the one before it; without ``stream`` one, after a second's look.

        Raises Unsupported without control groups, now and not in the middle of a stream.
        """
        planner = self.lifecycle.planner
        if not planner.cgroups.present:
            planner.cgroups.statistics(planner.cgroup(container))
        return self._samples(container, stream=stream, one_shot=one_shot)

    async def _samples(self, container: Container, *, stream: bool, one_shot: bool) -> AsyncIterator[dict[str, Any]]:
        look = self._shared if stream else self._sample
        before = look(container)
        if not stream and one_shot:
            yield statistics.shape(container, before, None)
            return
        if stream:
            yield statistics.shape(container, before, None)
        while True:
            await asyncio.sleep(_INTERVAL)
            if container.id not in self.lifecycle.records:
                return
            sample = look(self.lifecycle.records.get(container.id))
            yield statistics.shape(container, sample, before)
            if not stream:
                return
            before = sample

    def _shared(self, container: Container) -> statistics.Sample:
        moment = time.monotonic()
        for id in [id for id, (looked, _) in self._looks.items() if moment - looked > _SHARED]:
            del self._looks[id]
        if container.id not in self._looks:
            self._looks[container.id] = moment, self._sample(container)
        return self._looks[container.id][1]

    def _sample(self, container: Container) -> statistics.Sample:
        if not container.state.running:
            return statistics.Sample(now())
        try:
            figures = self.lifecycle.planner.cgroups.statistics(self.lifecycle.planner.cgroup(container))
        except OSError:  # it has just ended
            return statistics.Sample(now())
        network = statistics.network(container.state.pid) if container.host.network_mode != "host" else {}
        return statistics.Sample(now(), statistics.system_cpu(), os.cpu_count() or 1, figures, network)


async def _ps(arguments: str) -> str:
    try:
        words = shlex.split(arguments)
    except ValueError as error:
        raise InvalidInput(f"parse ps arguments {arguments!r}: {error}") from None
    try:
        ps = await asyncio.create_subprocess_exec(
            "ps", *words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except FileNotFoundError:
        raise Unsupported("top: this machine has no ps", hint="install the package procps") from None
    output, complaint = await ps.communicate()
    if ps.returncode:
        raise InvalidInput(f"ps {arguments}: {complaint.decode(errors='replace').strip()}")
    return output.decode(errors="replace")


def select_processes(listing: str, inside: set[int]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Of the output of ps, the lines of these processes. Raises InvalidInput when it shows no PID."""
    lines = listing.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidInput("Couldn't find PID field in ps output")
    column, last = titles.index("PID"), len(titles) - 1
    rows = []
    for line in lines[1:]:
        # The last column is the command, spaces and all.
        fields = line.split(maxsplit=last)
        if len(fields) > column and fields[column].isdigit() and int(fields[column]) in inside:
            rows.append(fields)
    return titles, rows
