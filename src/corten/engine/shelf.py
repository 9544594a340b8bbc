"""Layers that are files, mounted once an engine: what is on the shelf (:mod:`corten.runtime.shelf`), and what is to be.

The spawner has the shelf; its workers mount and unmount there. A layer is put there when it arrives, so that the first
start from an image finds it mounted, and at the latest by who needs it; it is taken down when it is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corten.engine import copies
from corten.engine.model import Container
from corten.engine.pipes import PipeReader
from corten.engine.spawning import Spawner
from corten.errors import CortenError, Unavailable
from corten.store.layers import LayerStore

_log = logging.getLogger(__name__)


class Shelf:
    """The shelf of one engine, from its event loop. ``root`` is the data root."""

    def __init__(self, spawner: Spawner, layers: LayerStore, root: Path) -> None:
        self._spawner, self._layers, self._root = spawner, layers, root
        self._loop = asyncio.get_running_loop()
        self._there: set[str] = set()
        self._generation = 0
        self._changing = asyncio.Lock()
        self._arrived: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        layers.published = lambda short: self._heard(self._welcome, short)
        layers.removed = lambda short: self._heard(self._forget, short)

    async def prepare(self, container: Container) -> None:
        """Return when a container's root can be made of its layers. Raises CortenError."""
        if self._missing(container.layers):
            await self.ready(container.layers)
        if self._layers.are_copied(container.layers):
            await self.copy(container.layers, copies.place(container.id))

    async def copy(self, shorts: Sequence[str], place: str) -> None:
        """Copy what layers, lowest first, show to a place below the data root, unless that was done. Raises
        CortenError."""
        if copies.is_made(self._root / place):
            return
        view = {"base": str(self._root), "lowers": [f"layers/{short}/fs" for short in reversed(shorts)],
                "files": self._layers.files(shorts), "copy": place}  # fmt: skip
        await self._work("copy", {"view": view})

    async def ready(self, shorts: Sequence[str]) -> None:
        """Return when these layers, by their short names, are there, as far as they are files. Raises CortenError."""
        if not self._missing(shorts):
            return
        probe = await asyncio.to_thread(lambda: self._layers.probe)
        async with self._changing:
            if missing := self._missing(shorts):
                files = [[short, *self._layers.files([short])] for short in missing]
                await self._work("shelve", {"base": str(self._root), "layers": files, "direct": probe.direct})
                self._there.update(missing)

    def _missing(self, shorts: Sequence[str]) -> list[str]:
        if self._generation != self._spawner.generation:  # another spawner, and an empty shelf
            self._generation = self._spawner.generation
            self._there.clear()
        return [short for short in shorts if short not in self._there and self._layers.files([short])]

    def has_files(self, shorts: Sequence[str]) -> bool:
        """Whether any of these layers is a file."""
        return bool(self._layers.files(shorts))

    def are_copied(self, shorts: Sequence[str]) -> bool:
        """Whether what stands on these layers is a copy."""
        return self._layers.are_copied(shorts)

    async def show(self, shorts: Sequence[str], place: str) -> None:
        """Mount an image, its layers lowest first, at a directory below the data root, where the host sees it, until
        somebody unmounts it. Raises CortenError."""
        await self.ready(shorts)
        lowers = [f"layers/{short}/fs" for short in reversed(shorts)]
        if len(lowers) == 1:  # an overlay has two at least: overlayfs.rst, "Multiple lower layers"
            lowers.append(f"{os.path.dirname(place)}/merged")
        view = {"base": str(self._root), "lowers": lowers, "files": self._layers.files(shorts), "merged": place,
                "user_xattrs": False}  # fmt: skip
        await self._work("show", {"view": view})

    # --- what comes and goes

    def _heard(self, tell: Any, short: str) -> None:
        """In whatever thread."""
        with contextlib.suppress(RuntimeError):  # the engine has left, and the shelf with it
            self._loop.call_soon_threadsafe(tell, short)

    def _welcome(self, short: str) -> None:
        self._arrived.add(short)
        if len(self._arrived) == 1:
            self._spawn(self._shelve_arrived())

    async def _shelve_arrived(self) -> None:
        while arrived := sorted(self._arrived):
            try:
                await self.ready(arrived)
            except CortenError as error:  # a start will try again, and say so
                _log.warning("mount new layers: %s", error)
            self._arrived.difference_update(arrived)

    def _forget(self, short: str) -> None:
        if short in self._there:
            self._there.discard(short)
            self._spawn(self._remove(short))

    async def _remove(self, short: str) -> None:
        try:
            async with self._changing:
                if short not in self._there:
                    await self._work("unshelve", {"layers": [short]})
        except CortenError as error:
            _log.warning("unmount layer %s: %s", short, error)

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settle(self) -> None:
        """Wait until everything that came or went has had its turn."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- the spawner's part

    async def _work(self, work: str, args: dict[str, Any]) -> None:
        ours, theirs = os.pipe()
        try:
            try:
                await self._spawner.request({"do": "work", "work": work, "args": args}, [theirs])
            finally:
                os.close(theirs)
            content = b""
            report = PipeReader(ours)
            while more := await report.read():
                content += more
        finally:
            os.close(ours)
        if not content:
            raise Unavailable("mount layers: the worker died")
        told = json.loads(content)
        if "error" in told:
            error = told["error"]
            if isinstance(error, dict):
                raise CortenError(f"copy layers: {error['message']}", hint=error.get("hint", ""))
            raise CortenError(f"mount layers: {error}", hint=told.get("hint", ""))
