"""Reading a container's log: its rotated files, and those who follow it.

A reader is a cursor in the files. It keeps open what it has yet to read, so that a rotated file stays until its last
reader is through, and a reader that lags costs no memory and stalls nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import os
import time
import urllib.parse
import zlib
from collections.abc import AsyncIterator, Callable, Iterator

from corten.engine.clock import format_time
from corten.engine.log_formats import JSON_FILE, Entry, Format, back
from corten.errors import CortenError

_BLOCK = 65536
_GZIP_HEADER = 10
"""Bytes: RFC 1952, 2.3; monitor/compression.py tells what stands in place of the time."""
_MOST_FILES = 1 << 16
_NEW, _MOMENT = 1.0, 0.2
"""Seconds: how long a run is a new one, and how long somebody who asks once for its log waits for its first word."""
_INODE = 0xFFFFFFFF
"""The bits of an inode's number that tell files of one log apart."""


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


class _File:
    """One file of a log, and the one that follows it. Open as long as somebody holds it."""

    def __init__(self, descriptor: int, identity: int | None = None) -> None:
        self.descriptor = descriptor
        self.next: _File | None = None
        self._holders = 0
        self.identity = os.fstat(descriptor).st_ino & _INODE if identity is None else identity

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

    def __init__(self, path: str, form: Format = JSON_FILE) -> None:
        """``path`` is '' for a log that is only in memory."""
        self._path = path
        self.form = form
        self._newest: _File | None = None
        self._cursors = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._unpacked: dict[tuple[int, int], _File] = {}
        self._began = 0.0
        self.running = False
        """Whether somebody writes."""
        self.runs = 0
        """How many runs, or attempts at one, are over."""

    # --- what the monitor tells

    def begin(self) -> None:
        """A run begins."""
        self.running = True
        self._began = time.monotonic()

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

    async def spoken(self) -> None:
        """Return when a run that began just now has written something, or has had its moment for that: programs start
        a container and look at once what it has said, which a slower engine's starts leave it the time for."""
        now = time.monotonic()
        until = now + _MOMENT if now < self._began + _NEW else 0.0
        while self.running and (left := until - time.monotonic()) > 0:
            newest = self._open_newest()
            if newest is not None and newest.size:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.more(), left)

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
        if (newest := self._open_newest()) is not None and (offset := self._offset_in(newest, lines)) is not None:
            return Cursor(self, newest, offset)
        return self._at(lambda oldest: self._back_from(oldest, lines))

    def _at(self, place: Callable[[_File], tuple[_File, int]]) -> Cursor:
        newest = self._open_newest()
        if newest is None:
            return Cursor(self, None, 0)
        oldest = self._oldest(newest)
        try:
            return Cursor(self, *place(oldest))
        finally:
            oldest.release()

    async def unpack(self, lines: int | None) -> None:
        """Unpack, beside the loop, the compressed files that a reader of the last ``lines`` entries (None: all) will
        want. They are kept while somebody reads."""
        newest = self._open_newest()
        if newest is None or (lines is not None and self._offset_in(newest, lines) is not None):
            return
        paths = (f"{self._path}.{number}.gz" for number in range(1, _MOST_FILES))
        missing = [path for path in itertools.takewhile(_is_rotated, paths) if _key(path) not in self._unpacked]
        if not missing:
            return
        for key, file in await asyncio.to_thread(lambda: [(_key(path), _unpacked(path)) for path in missing]):
            if file is not None:
                self._unpacked.setdefault(key, file.hold())

    def _offset_in(self, newest: _File, lines: int) -> int | None:
        """The place before the last entries, if there are so many in the newest file."""
        return self._back(newest, lines, newest=True)[0]

    def _back(self, file: _File, lines: int, *, newest: bool) -> tuple[int | None, int]:
        try:
            return back(self.form, file.descriptor, file.size, lines, newest=newest)
        except (ValueError, KeyError) as error:
            raise CortenError(f"read log: damaged: {error}") from error

    def _back_from(self, oldest: _File, lines: int) -> tuple[_File, int]:
        """The place before the last ``lines`` lines of a chain of files."""
        for file in reversed(list(_chain(oldest))):
            offset, found = self._back(file, lines, newest=file.next is None)
            if offset is not None:
                return (file.next, 0) if file.next and offset == file.size else (file, offset)
            lines -= found
        return oldest, 0

    def _open_newest(self) -> _File | None:
        if self._newest is None and self._path:
            try:
                self._newest = _File(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)).hold()
            except FileNotFoundError:
                return None
        return self._newest

    def _oldest(self, newest: _File) -> _File:
        """The first of the rotated files before ``newest``, which may itself be among them by now; held for the
        caller."""
        older = [file.hold() for file in self._rotated()]
        if not self._is_in_place(newest):
            place = next((at for at, file in enumerate(older) if file.identity == newest.identity), -1)
            for later in older[: place + 1]:
                later.release()
            older = older[place + 1 :]
        chain = newest.hold()
        for file in older:
            file.follow_with(chain)
            chain.release()
            chain = file
        return chain

    def _is_in_place(self, newest: _File) -> bool:
        """Whether it has not been rotated. An inode's number says which file of several it is only if it has: those of
        files that were compressed are given anew."""
        try:
            return os.stat(self._path).st_ino & _INODE == newest.identity
        except FileNotFoundError:
            return False

    def _rotated(self) -> Iterator[_File]:
        """The rotated files that are there, newest first."""
        for number in itertools.count(1) if self._path else ():
            file = _opened(f"{self._path}.{number}") or self._known(f"{self._path}.{number}.gz")
            file = file or _opened(f"{self._path}.{number}")  # compressed, or renamed, between the two looks
            if file is None:
                return
            yield file

    def _known(self, path: str) -> _File | None:
        """A compressed file, unpacked already or now."""
        if (file := self._unpacked.get(_key(path))) is not None:
            return _File(os.dup(file.descriptor), file.identity)
        return _unpacked(path)

    def joined(self) -> None:
        """A cursor came."""
        self._cursors += 1

    def left(self) -> None:
        """A cursor went; without any, nothing is kept open."""
        self._cursors -= 1
        self._forget_unused()
        while not self._cursors and self._unpacked:
            self._unpacked.popitem()[1].release()

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
            try:
                entries, end = self._feed.form.split(block)
            except ValueError as error:
                raise CortenError(f"read log: damaged: {error}") from error
            if end or len(block) < size:
                self._offset += end
                return entries
            size *= 2  # an entry longer than the block

    def close(self) -> None:
        """Let go of the files."""
        file, self._file = self._file, None
        if file is not None:
            file.release()
        self._feed.left()


def _chain(file: _File | None) -> Iterator[_File]:
    while file is not None:
        yield file
        file = file.next


def _opened(path: str) -> _File | None:
    try:
        return _File(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    except FileNotFoundError:
        return None


def _is_rotated(path: str) -> bool:
    """Whether there is a file of this number, compressed or not yet."""
    return os.path.exists(path) or os.path.exists(path.removesuffix(".gz"))


def _key(path: str) -> tuple[int, int]:
    """What a compressed file is known by; one that is not there is none that anybody knows."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return (0, 0)
    return status.st_dev, status.st_ino


def _unpacked(path: str) -> _File | None:
    """A compressed file's content, in a file without a name beside it. Raises CortenError for a damaged one."""
    try:
        packed = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    descriptor = os.open(os.path.dirname(path), os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        header = os.read(packed, _GZIP_HEADER)
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        while not inflate.eof and (block := os.read(packed, _BLOCK)):
            os.write(descriptor, inflate.decompress(block))
        return _File(descriptor, int.from_bytes(header[4:8], "little"))
    except (OSError, zlib.error) as error:
        os.close(descriptor)
        raise CortenError(f"read log {path}: {error}") from error
    finally:
        os.close(packed)


async def read_log(feed: LogFeed, options: LogOptions) -> AsyncIterator[Entry]:
    """The entries that ``options`` choose; with ``follow`` until the run ends. Raises CortenError for a damaged log."""
    feed.joined()  # the container may end, and be removed, meanwhile: what is open stays open
    try:
        if not options.follow:
            await feed.spoken()
        await feed.unpack(options.tail)
        cursor = feed.at_start() if options.tail is None else feed.at_tail(max(0, options.tail))
    finally:
        feed.left()
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
            yield _decode(feed.form, line)
        if lines:
            await asyncio.sleep(0)
        elif over:
            return
        else:
            await feed.more()


def _decode(form: Format, line: bytes) -> Entry:
    try:
        return form.decode(line)
    except (ValueError, KeyError) as error:
        raise CortenError(f"read log: damaged entry {line[:80]!r}: {error}") from error


def render(entry: Entry, options: LogOptions) -> bytes:
    """An entry's bytes as the client sees them: the time, and what the log tells of its container, in front."""
    data = b"%b %b" % (_details(entry), entry.data) if options.details else entry.data
    return entry.time.encode() + b" " + data if options.timestamps else data


def _details(entry: Entry) -> bytes:
    quote = urllib.parse.quote_plus
    return ",".join(f"{quote(name)}={quote(text)}" for name, text in sorted((entry.attributes or {}).items())).encode()
