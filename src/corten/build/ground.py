"""What a build stands on: images, containers, files and the cache, as the engine gives them.

The solver knows of all of these no more than is said here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Protocol

import msgspec

from corten.build.copying import Chosen, Found, Rows
from corten.build.files import Tree
from corten.build.instructions import HereDocument, Mount
from corten.build.state import Layer, State

if TYPE_CHECKING:
    from corten.spec.cdi import Device


class Spool(Protocol):
    """The content of files that an index knows. It is let go of when the build ends."""


@dataclasses.dataclass(frozen=True, slots=True)
class Files:
    """Files by their index, and where their content is."""

    tree: Tree
    spool: Spool


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """Files that are copied or mounted: what they are known by, and how to have them."""

    fingerprint: str
    keeps_owner: bool
    files: Mapping[str, str]
    """By path, what each is known by; empty where that is not known, or too many."""
    load: Callable[[], Awaitable[tuple[Chosen, Spool]]]


@dataclasses.dataclass(frozen=True, slots=True)
class Attached:
    """One ``RUN --mount``, and of a bind mount what it shows."""

    mount: Mount
    part: Part | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """A RUN, all settled. ``variables`` are its environment, ``hidden`` those that no key and no history has."""

    words: tuple[str, ...]
    variables: Mapping[str, str]
    hidden: Mapping[str, str]
    user: str
    working_directory: str
    network: str
    shown: str
    """As an error names it."""
    mounts: tuple[Attached, ...] = ()
    script: HereDocument | None = None
    """A file that the words execute, with a ``#!`` line of its own."""
    hostname: str = ""
    """'' for one of the container's own."""
    privileged: bool = False
    devices: tuple[str, ...] = ()
    """By their full names, all allowed."""


class Record(msgspec.Struct, frozen=True):
    """What a step of some key made: a layer, or nothing."""

    layer: Layer | None
    created: str
    about: str = ""
    """The instruction, for who lists the cache."""


class Output(Protocol):
    """Where a stage tells how it goes."""

    def begin(self, number: int, text: str) -> None:
        """Step ``number`` begins."""

    def say(self, text: str) -> None:
        """A line of the builder's."""

    def wrote(self, stream: int, data: bytes) -> None:
        """What a command wrote: 1 is stdout, 2 stderr."""

    def status(self, value: Mapping[str, object]) -> None:
        """Progress of a pull, in the form of Docker's JSON stream."""

    def cached(self) -> None:
        """The step is in the cache."""

    def why(self, reasons: Sequence[str]) -> None:
        """Why the step is not in the cache."""

    def made(self, id: str) -> None:
        """The step is done; the ID of the image that it would be."""

    def stopped(self) -> None:
        """The step has failed, and the build with it."""

    def end(self) -> None:
        """The stage is through."""


class Ground(Protocol):
    """The engine, seen from a build."""

    async def image(self, name: str, platform: str, output: Output) -> State:
        """The image of a name, brought if need be. Raises NotFound, Unavailable, InvalidInput."""

    async def context(self) -> Files:
        """The build's context."""

    async def named_context(self, name: str) -> Files:
        """Another context, by the name under which it was given."""

    async def context_image(self, name: str, output: Output) -> State | None:
        """The image that stands for a named context, None if it is a directory."""

    async def gathered(self, layers: Sequence[Layer], sources: Sequence[str]) -> Files:
        """What the sources of a copy name in a root file system."""

    async def documents(self, documents: Sequence[HereDocument]) -> Files:
        """Here-documents, as files."""

    async def unpacked(self, files: Files, path: str) -> Files | None:
        """The files of an archive, None if the file at that path is none."""

    async def fetched(self, url: str, checksum: str, *, keep_git_directory: bool | None) -> tuple[Files, bool]:
        """What a URL names: one file, or a whole tree (True). Raises InvalidInput, Unavailable, DataCorrupt."""

    async def digested(self, files: Files, rows: Rows) -> Rows:
        """The rows of some files, each with its digest: a client may have to be asked for content first."""

    async def look(
        self, layers: Sequence[Layer], path: str, names: Sequence[str], owner: str
    ) -> tuple[Found, tuple[int, int] | None]:
        """What is at a place of a root file system, and the numbers of an owner. Raises InvalidInput."""

    async def layer(self, below: Sequence[Layer], rows: Rows, spools: Sequence[Spool]) -> Layer:
        """A layer of such entries, on top of others."""

    async def run(self, below: Sequence[Layer], command: Command, output: Output) -> Layer | None:
        """Run a command in a container; the layer of what it changed. Raises CommandFailed, CortenError."""

    def devices(self) -> Mapping[str, Device]:
        """The devices that can be asked for by name, in the order of their names."""

    def turn(self, key: str) -> AbstractAsyncContextManager[object]:
        """Of those who come to the step of this key, one makes it; the next has its turn when that can be found."""

    async def find(self, key: str, below: Sequence[Layer]) -> Record | None:
        """What an earlier build made under this key, if it is still here."""

    def reasons(self, step: str, parts: Mapping[str, str]) -> Sequence[str]:
        """What of a step's key is another than the last time; it is remembered for the next."""

    async def keep(self, key: str, record: Record, below: Sequence[Layer]) -> None:
        """Remember what was made, and on top of what."""

    def moment(self) -> str:
        """The time that a step is made at: SOURCE_DATE_EPOCH's, or now."""

    @property
    def epoch(self) -> int | None:
        """SOURCE_DATE_EPOCH in nanoseconds, None if it is not given."""
