"""A build's client at the other end of an upgraded connection: its list of files, its secrets, and the content that the
build comes to need.

The list comes whole, the content only when a step wants it. A file whose size, times and inode are those of an earlier
build has the content that it had then, which is what git goes by, too; content that comes is held against that.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import itertools
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from corten.build.copying import Rows
from corten.build.files import Entry, Tree
from corten.build.ground import Files
from corten.build.indexing import uncarried
from corten.engine.build_agents import AgentChannels
from corten.engine.build_files import FileSpool
from corten.errors import CortenError, DataCorrupt, InvalidInput
from corten.wire import building

_log = logging.getLogger(__name__)
T = TypeVar("T")
_MOST_LISTED = 512 << 20
_LARGEST_SECRET = 500 << 10
"""Bytes; BuildKit's limit."""
_SETTLED = 2 * 10**9
"""Nanoseconds: a file that was changed later than that before it was listed may change again and keep its times."""
_CHARACTERS = building.LONGEST // 4
"""As many as a frame can have, however long they are in UTF-8."""
_CONTEXTS = 64
"""Remembered directories."""


class Duplex(Protocol):
    """The connection."""

    async def read(self) -> bytes:
        """The next bytes; empty when the client is gone."""

    async def write(self, data: bytes) -> None:
        """Send."""


class Listed(msgspec.Struct, array_like=True, frozen=True):
    """One row of the client's list."""

    path: str
    kind: str
    mode: int
    size: int
    mtime: int
    ctime: int
    inode: int
    link: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Announced:
    """A context: see :mod:`corten.wire.building`. Its first file has the number ``start``."""

    name: str
    kind: str
    place: str
    listed: list[Listed]
    start: int


class BuildClient:
    """See the module: :meth:`hear` what it announces; :meth:`receive` then runs beside the build, and ends when the
    client has gone."""

    def __init__(self, duplex: Duplex) -> None:
        self._duplex, self._reader = duplex, building.FrameReader()
        self.began = time.time_ns()
        """Before it listed its files, in nanoseconds since 1970."""
        self._heads: list[bytes] = []
        self._lists: list[bytearray] = []
        self._size = 0
        self._contexts: list[Announced] | None = None
        self._said = hashlib.sha256()
        self.secrets: dict[str, bytes] = {}
        self.agents = AgentChannels(duplex.write)
        self.dockerfile: bytes | None = None
        self._is_announced = False
        self._content: asyncio.Queue[tuple[bytes, bytes]] = asyncio.Queue(64)
        self._asking = asyncio.Lock()

    async def hear(self) -> bool:
        """Take what the client announces; False when it is gone before it is through. Raises DataCorrupt,
        InvalidInput."""
        while not self._is_announced and (data := await self._duplex.read()):
            for kind, payload in self._reader.receive(data):
                self._announcement(kind, payload)
        return self._is_announced

    async def receive(self) -> None:
        """Take what the client sends from then on. Raises DataCorrupt; returns when it is gone."""
        while data := await self._duplex.read():
            for kind, payload in self._reader.receive(data):
                if kind in (building.CONTENT, building.DONE):
                    await self._content.put((kind, payload))
                elif kind == building.DATA:
                    self.agents.receive(payload)

    @property
    def digest(self) -> str:
        """Of all that it has announced, but for what no key of a step has: secrets, and agents."""
        return self._said.hexdigest()

    def is_settled(self) -> bool:
        """Whether files, as they were listed, are all that its contexts are, and have what they had then for as long as
        they look the same. Raises InvalidInput."""
        before = self.began - _SETTLED
        return all(
            context.kind == "directory" and all(max(one.mtime, one.ctime) < before for one in context.listed)
            for context in self.contexts()
        )

    def _announcement(self, kind: bytes, payload: bytes) -> None:
        if kind in (building.CONTEXT, building.LIST, building.DOCKERFILE):
            self._said.update(building.frame(kind, payload))
            self._size += len(payload)
            if self._size > _MOST_LISTED:
                raise InvalidInput("read the context: its list of files is too long")
        if kind == building.CONTEXT:
            self._heads.append(payload)
            self._lists.append(bytearray())
        elif kind == building.LIST and self._lists:
            self._lists[-1].extend(payload)
        elif kind == building.AGENT:
            self.agents.ids.add(payload.decode(errors="replace"))
        elif kind == building.SECRET:
            name, _, value = payload.partition(b"\0")
            if len(value) > _LARGEST_SECRET:
                raise InvalidInput(f"secret {name.decode(errors='replace')}: larger than {_LARGEST_SECRET} bytes")
            self.secrets[name.decode(errors="replace")] = value
        elif kind == building.DOCKERFILE:
            self.dockerfile = (self.dockerfile or b"") + payload
        elif kind == building.GO:
            self._is_announced = True
            self.began = min(self.began, building.moment(payload))

    async def say(self, lines: bytes) -> None:
        """Documents of the build's stream, each of which is a line."""
        await self._duplex.write(b"".join(building.frames(building.SAID, lines)))

    async def send_piece(self, data: bytes) -> None:
        """Some of an archive of the cache."""
        for one in building.frames(building.PIECE, data):
            await self._duplex.write(one)

    async def end(self, lines: bytes = b"") -> None:
        """There is no more to say than this."""
        said = building.frames(building.SAID, lines) if lines else ()
        await self._duplex.write(b"".join([*said, building.frame(building.DONE)]))

    async def repeat(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """All of a build that is not solved again, in one piece."""
        said = [one for kind, alike in itertools.groupby(documents, _kind) for one in _SAYING[kind](alike)]
        await self._duplex.write(b"".join([*said, building.frame(building.DONE)]))

    @property
    def place(self) -> str:
        """Where its own context is; its files need not be read for that. Raises InvalidInput."""
        heads = [_decoded(head, tuple[str, str, str]) for head in self._heads]
        return next((place for name, kind, place in reversed(heads) if not name and kind != "cache"), "")

    def contexts(self) -> list[Announced]:
        """What the client has announced: the build's own context, and those that have a name. Raises InvalidInput."""
        if self._contexts is None:
            found: list[Announced] = []
            start = 0
            for head, rows in zip(self._heads, self._lists, strict=True):
                name, kind, place = _decoded(head, tuple[str, str, str])
                listed = _decoded(bytes(rows) or b"[]", list[Listed])
                found.append(Announced(name, kind, place, listed, start))
                start += len(listed)
            self._contexts = found
            self._lists.clear()
        return self._contexts

    async def contents(self, numbers: list[int], spool: FileSpool) -> list[tuple[int, int, str]]:
        """(offset, size, digest) of files of the list, once their content is in the spool."""
        async with self._asking:
            content = json.dumps(numbers).encode()
            for one in building.frames(building.WANTED, content):
                await self._duplex.write(one)
            await self._duplex.write(building.frame(building.GO))
            return [await self._one(spool) for _ in numbers]

    async def stream(self, number: int) -> AsyncIterator[bytes]:
        """The content of one of the list, as it comes."""
        async with self._asking:
            await self._duplex.write(building.frame(building.WANTED, json.dumps([number]).encode()))
            await self._duplex.write(building.frame(building.GO))
            while payload := await self._payload():
                yield payload

    async def _payload(self) -> bytes:
        """The next of a file's content; empty at its end."""
        kind, payload = await self._content.get()
        while kind == building.CONTENT and not payload:
            kind, payload = await self._content.get()
        if kind == building.DONE and payload:
            raise CortenError(f"read the context: {payload.decode(errors='replace')}")
        return payload

    async def _one(self, spool: FileSpool) -> tuple[int, int, str]:
        start, hashed = spool.end, hashlib.sha256()
        while payload := await self._payload():
            hashed.update(payload)
            os.pwrite(spool.descriptor, payload, spool.end)
            spool.end += len(payload)
        return start, spool.end - start, hashed.hexdigest()


def _kind(document: Mapping[str, Any]) -> bytes:
    """The kind of frame that says a document in the fewest words."""
    if document.keys() == {"stream"}:
        return building.TEXT
    return building.BUILT if document.keys() == {"aux"} else building.SAID


def _said(documents: Iterable[Mapping[str, Any]]) -> list[bytes]:
    return building.frames(building.SAID, b"".join(msgspec.json.encode(one) + b"\n" for one in documents))


def _text(documents: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Frames that end between characters."""
    text = "".join(one["stream"] for one in documents)
    pieces = (text[start : start + _CHARACTERS] for start in range(0, len(text), _CHARACTERS))
    return [building.frame(building.TEXT, piece.encode("utf-8", "replace")) for piece in pieces]


def _built(documents: Iterable[Mapping[str, Any]]) -> list[bytes]:
    return [building.frame(building.BUILT, one["aux"]["ID"].encode()) for one in documents]


_SAYING = {building.SAID: _said, building.TEXT: _text, building.BUILT: _built}


class RemoteSpool(FileSpool):
    """Content that is the client's, and comes when it is needed. The entries' offsets are numbers of its lists."""

    def __init__(self, staging: Path, client: BuildClient, context: Announced, known: dict[int, str]) -> None:
        super().__init__(staging)
        self._client, self._context = client, context
        self.known = known
        """By number, the digest."""
        self._here: dict[int, int] = {}

    async def fetch(self, numbers: Iterable[int]) -> None:
        """Have the content of some here. Raises DataCorrupt when it is not what it was when it was listed."""
        wanted = [number for number in dict.fromkeys(numbers) if number not in self._here]
        if not wanted:
            return
        found = await self._client.contents(wanted, self)
        for number, (offset, size, digest) in zip(wanted, found, strict=True):
            listed = self._context.listed[number - self._context.start]
            if size != listed.size or self.known.get(number, digest) != digest:
                raise DataCorrupt(f"read the context: {uncarried(listed.path)} was changed while it was being built")
            self.known[number], self._here[number] = digest, offset

    async def digested(self, rows: Rows) -> Rows:
        """The rows, each file with its digest."""
        await self.fetch(entry.offset for _, entry in rows if entry.kind == "file" and not self._digest(entry))
        return [
            (path, msgspec.structs.replace(entry, digest=self._digest(entry)) if entry.kind == "file" else entry)
            for path, entry in rows
        ]

    def _digest(self, entry: Entry) -> str:
        return entry.digest or self.known.get(entry.offset, "")

    async def filled(self, rows: Rows, place: int) -> Rows:
        """The rows of the spool at ``place``, with where their content is."""
        own = [entry.offset for _, entry in rows if entry.kind == "file" and entry.spool == place]
        await self.fetch(own)
        return [
            (path, msgspec.structs.replace(entry, offset=self._here[entry.offset]))
            if entry.kind == "file" and entry.spool == place else (path, entry)
            for path, entry in rows
        ]  # fmt: skip

    async def content(self, entry: Entry, limit: int) -> bytes:
        """A file's content."""
        await self.fetch([entry.offset])
        return self.read(msgspec.structs.replace(entry, offset=self._here[entry.offset]), limit)

    async def located(self, entry: Entry) -> Entry:
        """The entry, with where its content is."""
        await self.fetch([entry.offset])
        return msgspec.structs.replace(entry, offset=self._here[entry.offset])


class ContextMemory:
    """What is known of the files of directories that were contexts: by size, times and inode, their digests."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def files(self, staging: Path, client: BuildClient, context: Announced) -> Files:
        """A context that a client lists."""
        remembered = self._read(context.place)
        known: dict[int, str] = {}
        entries: dict[str, Entry] = {}
        for number, one in enumerate(context.listed, context.start):
            digest = ""
            if one.kind == "file" and (found := remembered.get(one.path)) is not None:
                if found[:4] == (one.size, one.mtime, one.ctime, one.inode):
                    digest = known[number] = found[4]
            entries[_inside(one.path)] = Entry(
                one.kind, one.mode & 0o7777, 0, 0, one.mtime, one.size, number, digest, uncarried(one.link)
            )
        return Files(Tree(entries), RemoteSpool(staging, client, context, known))

    def note(self, context: Announced, spool: RemoteSpool, before: int) -> None:
        """Remember what this build has found out; ``before`` is when its list came, in nanoseconds since 1970."""
        rows = {
            one.path: (one.size, one.mtime, one.ctime, one.inode, spool.known[number])
            for number, one in enumerate(context.listed, context.start)
            if number in spool.known and max(one.mtime, one.ctime) < before - _SETTLED
        }
        if rows and rows != self._read(context.place):
            self._write(self._path(context.place), rows)

    def steps(self, recipe: str) -> dict[str, dict[str, str]]:
        """By step, what its key was made of when this recipe was built the last time."""
        try:
            return msgspec.json.decode(self._path(recipe, "steps").read_bytes(), type=dict[str, dict[str, str]])
        except (OSError, msgspec.DecodeError):
            return {}

    def keep_steps(self, recipe: str, steps: dict[str, dict[str, str]]) -> None:
        """Remember that."""
        self._write(self._path(recipe, "steps"), steps)

    def _write(self, path: Path, value: object) -> None:
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            staged = path.with_suffix(".new")
            staged.write_bytes(msgspec.json.encode(value))
            staged.rename(path)
            self._forget_oldest()
        except (OSError, UnicodeEncodeError) as error:
            _log.warning("remember a build: %s", error)

    def clear(self) -> None:
        """Forget all."""
        with contextlib.suppress(OSError):
            for path in self._directory.iterdir():
                path.unlink()

    def _forget_oldest(self) -> None:
        found = sorted(self._directory.iterdir(), key=lambda path: path.stat().st_mtime)
        for path in found[:-_CONTEXTS]:
            path.unlink()

    def _read(self, name: str) -> dict[str, tuple[int, int, int, int, str]]:
        try:
            content = self._path(name).read_bytes()
            return msgspec.json.decode(content, type=dict[str, tuple[int, int, int, int, str]])
        except (OSError, msgspec.DecodeError):  # nothing is remembered: all is asked for
            return {}

    def _path(self, name: str, kind: str = "files") -> Path:
        return self._directory / f"{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.{kind}"


def _inside(path: str) -> str:
    text = uncarried(path)
    if not text or any(part in ("", ".", "..") for part in text.split("/")):
        raise InvalidInput(f"read the context: {text[:200]!r} is no path in it")
    return text


def _decoded(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind)
    except msgspec.DecodeError as error:
        raise InvalidInput(f"read the context: its list of files: {error}") from None
