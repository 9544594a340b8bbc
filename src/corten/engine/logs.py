"""Reading a container's log: the json-file form, its rotated files, and those who follow it.

A reader is a cursor in the files. It keeps open what it has yet to read, so that a rotated file stays until its last
reader is through, and a reader that lags costs no memory and stalls nobody.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator

from corten.engine.clock import format_time
from corten.errors import CortenError

_BLOCK = 65536
_STREAMS = {"stdout": 1, "stderr": 2}


@dataclasses.dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a log a client wants; ``since`` and ``until`` are nanoseconds since the epoch."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    since: int | None = None
    until: int | None = None
    timestamps: bool = False
    details: bool = False
    tail: int | None = None
    """How many of the last lines; None is all."""


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a log."""

    stream: int
    data: bytes
    time: str
    """As it is in the file: RFC 3339, nanoseconds, ``Z``."""


def decode_entry(line: bytes) -> Entry:
    """Read one line of a json-file log. Bytes that are not UTF-8 stand there as lone surrogates, and come back."""
    value = json.loads(line)
    data = value["log"].encode("utf-8", "surrogateescape")
    return Entry(_STREAMS.get(value["stream"], 1), data, value["time"])


class _File:
    """One file of a log, and the one that follows it. Open as long as somebody holds it."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.next: _File | None = None
        self._holders = 0
        status = os.fstat(descriptor)
        self.identity = (status.st_dev, status.st_ino)

    def hold(self) -> _File:
        self._holders += 1
        return self

    def release(self) -> None:
        """Let go; the last holder closes it and lets go of the next."""
        self._holders -= 1
        if self._holders == 0:
            os.close(self.descriptor)
            if self.next is not None:
                self.next.release()

    def follow_with(self, other: _File) -> None:
        """``other`` is what comes after; it stays open for who is still here."""
        self.next = other.hold()

    @property
    def size(self) -> int:
        return os.fstat(self.descriptor).st_size


class LogFeed:
    """One container's log, as long as the engine runs: where it is, and who waits for more of it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._newest: _File | None = None
        self._cursors = 0
        self._waiters: list[asyncio.Future[None]] = []
        self.running = False
        """Whether somebody writes."""
        self.runs = 0
        """How many runs, or attempts at one, are over."""

    # --- what the monitor tells

    def begin(self) -> None:
        """A run begins."""
        self.running = True

    def grown(self, descriptor: int | None = None) -> None:
        """There is more; ``descriptor`` reads the file that is the newest from now on. Takes the descriptor.

        The newest file is known from the monitor's word alone while a run lasts, never by its path: the order of
        several rotations in a row could not be told.
        """
        if descriptor is not None:
            self._rotate(_File(descriptor).hold())
        self._wake()

    def end(self) -> None:
        """A run is over, or failed to begin; everything it wrote is in the file."""
        self.running = False
        self.runs += 1
        self._forget_unused()
        self._wake()

    def _rotate(self, file: _File) -> None:
        old = self._newest
        if old is not None and old.identity == file.identity:
            file.release()
            return
        if old is not None:
            old.follow_with(file)
            old.release()
        self._newest = file

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def more(self) -> None:
        """Return when there may be something new."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    # --- cursors

    def at_end(self) -> Cursor:
        """A cursor behind everything that is there now."""
        file = self._open_newest()
        return Cursor(self, file, file.size if file else 0)

    def at_start(self) -> Cursor:
        """A cursor before everything that is there, rotated files first."""
        return self._at(lambda oldest: (oldest, 0))

    def at_tail(self, lines: int) -> Cursor:
        """A cursor before the last ``lines`` entries."""
        return self._at(lambda oldest: _back_from(oldest, lines))

    def _at(self, place: Callable[[_File], tuple[_File, int]]) -> Cursor:
        newest = self._open_newest()
        if newest is None:
            return Cursor(self, None, 0)
        oldest = self._oldest(newest)
        try:
            return Cursor(self, *place(oldest))
        finally:
            oldest.release()

    def _open_newest(self) -> _File | None:
        if self._newest is None:
            try:
                self._newest = _File(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)).hold()
            except FileNotFoundError:
                return None
        return self._newest

    def _oldest(self, newest: _File) -> _File:
        """The first of the rotated files before ``newest``, which may itself be among them by now; held for the
        caller."""
        older: list[_File] = []
        for file in self._rotated():
            file.hold()
            if file.identity == newest.identity:
                for later in (*older, file):
                    later.release()
                older = []
            else:
                older.append(file)
        chain = newest.hold()
        for file in older:
            file.follow_with(chain)
            chain.release()
            chain = file
        return chain

    def _rotated(self) -> Iterator[_File]:
        """The rotated files that are there, newest first."""
        for number in itertools.count(1):
            try:
                yield _File(os.open(f"{self._path}.{number}", os.O_RDONLY | os.O_CLOEXEC))
            except FileNotFoundError:
                return

    def joined(self) -> None:
        """A cursor came."""
        self._cursors += 1

    def left(self) -> None:
        """A cursor went; without any, nothing is kept open."""
        self._cursors -= 1
        self._forget_unused()

    def _forget_unused(self) -> None:
        if not self._cursors and not self.running and self._newest is not None:
            newest, self._newest = self._newest, None
            newest.release()

    def first(self) -> _File | None:
        """The file of a log that was not there when a cursor came."""
        return self._open_newest()


class Cursor:
    """A place in a log. Close it."""

    def __init__(self, feed: LogFeed, file: _File | None, offset: int) -> None:
        feed.joined()
        self._feed = feed
        self._file = file.hold() if file else None
        self._offset = offset

    def read(self) -> list[bytes]:
        """The complete lines of the next block; empty when all there is has been read."""
        while True:
            if self._file is None and (first := self._feed.first()) is not None:
                self._file = first.hold()
            if self._file is None:
                return []
            if lines := self._lines(self._file.descriptor):
                return lines
            if self._file.next is None:
                return []
            following, left = self._file.next.hold(), self._file
            left.release()
            self._file, self._offset = following, 0

    def _lines(self, descriptor: int) -> list[bytes]:
        size = _BLOCK
        while True:
            block = os.pread(descriptor, size, self._offset)
            end = block.rfind(b"\n") + 1
            if end or len(block) < size:
                self._offset += end
                return block[:end].splitlines(keepends=False) if end else []
            size *= 2  # a line longer than the block

    def close(self) -> None:
        """Let go of the files."""
        file, self._file = self._file, None
        if file is not None:
            file.release()
        self._feed.left()


def _back_from(oldest: _File, lines: int) -> tuple[_File, int]:
    """The place before the last ``lines`` lines of a chain of files."""
    chain = list(_chain(oldest))
    for file in reversed(chain):
        offset, found = _back_in(file, lines)
        if offset is not None:
            return file, offset
        lines -= found
    return oldest, 0


def _chain(file: _File | None) -> Iterator[_File]:
    while file is not None:
        yield file
        file = file.next


def _back_in(file: _File, lines: int) -> tuple[int | None, int]:
    """(offset before the last ``lines`` lines, or None; lines found). Only ended lines count."""
    position, found = file.size, 0
    while position > 0:
        start = max(0, position - _BLOCK)
        block = os.pread(file.descriptor, position - start, start)
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            found += 1
            if found > lines:
                return start + at + 1, lines
        position = start
    return (0, lines) if found == lines else (None, found)


async def read_log(feed: LogFeed, options: LogOptions) -> AsyncIterator[Entry]:
    """The entries that ``options`` choose; with ``follow`` until the run ends. Raises CortenError for a damaged log."""
    cursor = feed.at_start() if options.tail is None else feed.at_tail(max(0, options.tail))
    since = "" if options.since is None else format_time(options.since)
    until = "~" if options.until is None else format_time(options.until)
    wanted = {1: options.stdout, 2: options.stderr}
    try:
        async for entry in follow(feed, cursor, live=options.follow):
            if entry.time > until:
                return
            if entry.time >= since and wanted[entry.stream]:
                yield entry
    finally:
        cursor.close()


async def follow(feed: LogFeed, cursor: Cursor, *, live: bool, runs: int | None = None) -> AsyncIterator[Entry]:
    """The entries from a cursor on. With ``live``, until the present run is over; until run number ``runs`` is over,
    where that is given, so that one can wait for a run to come."""
    while True:
        # Looked at before reading: what a run wrote is there before its end is known.
        if runs is None:
            over = not live or not feed.running
        else:
            over = feed.runs > runs
        lines = cursor.read()
        for line in lines:
            yield _decode(line)
        if lines:
            await asyncio.sleep(0)
        elif over:
            return
        else:
            await feed.more()


def _decode(line: bytes) -> Entry:
    try:
        return decode_entry(line)
    except (ValueError, KeyError) as error:
        raise CortenError(f"read log: damaged entry {line[:80]!r}: {error}") from error


def render(entry: Entry, options: LogOptions) -> bytes:
    """An entry's bytes as the client sees them."""
    data = b" " + entry.data if options.details else entry.data
    return entry.time.encode() + b" " + data if options.timestamps else data
