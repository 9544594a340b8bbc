"""A build's context: the list of a directory's files, and the content of those that the engine asks for."""

from __future__ import annotations

import os
import stat
import time

from corten.errors import CortenError, InvalidInput, Unavailable
from corten.wire import building

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from corten.client.core import Upgrade
    from corten.client.response import Tunnel

    from .build_ssh import Agents

    Row = tuple[str, str, int, int, int, int, int, str]

_REMOTE = ("http://", "https://", "git://", "ssh://", "git@", "github.com/")
_PIECE = 262144
_RECEIVED = 65536
"""Bytes: for more, malloc(3) would have memory mapped and unmapped each time."""
_KINDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
}  # fmt: skip


def is_remote(text: str) -> bool:
    """Whether the engine is to fetch a context: a repository, or a file that is elsewhere."""
    return text.startswith(_REMOTE)


def directory(sender: Sender, name: str, path: str) -> None:
    """A directory: its files are listed. Raises InvalidInput."""
    if not os.path.isdir(path):
        what = f"build context {name}" if name else "context"
        raise InvalidInput(f"unable to prepare {what}: path {path!r} not found")
    root = os.path.realpath(path)
    sender.context(name, "directory", root, listed(root), root)


def listed(root: str) -> list[Row]:
    """The rows of everything below a directory (:mod:`corten.wire.building`); links are told, not followed."""
    rows: list[Row] = []
    pending = [""]
    while pending:
        directory = pending.pop()
        try:
            entries = list(os.scandir(os.path.join(root, directory)))
        except OSError as error:
            raise CortenError.from_os("read", os.path.join(root, directory), error) from error
        for entry in entries:
            path = f"{directory}/{entry.name}" if directory else entry.name
            status = entry.stat(follow_symlinks=False)
            kind = _KINDS.get(stat.S_IFMT(status.st_mode))
            if kind is None:  # sockets and devices
                continue
            link = _carried(os.readlink(entry.path)) if kind == "symlink" else ""
            if kind == "directory":
                pending.append(path)
            rows.append((
                _carried(path), kind, status.st_mode & 0o7777, status.st_size, status.st_mtime_ns, status.st_ctime_ns,
                status.st_ino, link,
            ))  # fmt: skip
    return rows


def _has_come(connection: _socket.socket, seconds: float) -> bool:
    """Whether something can be read within that time."""
    import select

    pending = getattr(connection, "pending", None)  # of TLS, which reads ahead
    return bool(pending and pending()) or bool(select.select([connection], [], [], seconds)[0])


def _carried(text: str) -> str:
    return text if text.isascii() else os.fsencode(text).decode("latin-1")


def _array(texts: Iterable[str]) -> bytes:
    return f"[{','.join(texts)}]".encode("ascii")


def _row(row: Row) -> str:
    path, kind, mode, size, modified, changed, inode, link = row
    return f'[{_text(path)},"{kind}",{mode},{size},{modified},{changed},{inode},{_text(link)}]'


def _text(text: str) -> str:
    """A text in JSON. Hardly any needs more than its quotes: for that, what knows JSON is not loaded."""
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    from corten.client import jsontext

    return jsontext.encode(text).decode()


def _decoded(text: bytes) -> Any:
    from corten.client import jsontext

    return jsontext.decode(text)


class Sender:
    """The client's side of the connection. ``agents`` are those that the engine may ask; ``pieces`` takes those of an
    archive of the cache."""

    def __init__(
        self, upgrade: Upgrade, agents: Agents | None = None, pieces: Callable[[bytes], object] | None = None
    ) -> None:
        self._upgrade, self._agents, self._pieces = upgrade, agents, pieces
        self._began = time.time_ns()
        self._rows: list[tuple[str, Row]] = []
        self._archive: Iterable[bytes] = ()
        self._waiting: list[bytes] = []
        self._size = 0

    def context(self, name: str, kind: str, place: str, rows: Iterable[Row] = (), root: str = "") -> None:
        """A context: see :mod:`corten.wire.building`."""
        found = list(rows)
        self._rows += [(root, row) for row in found]
        self._send(building.frame(building.CONTEXT, _array(map(_text, (name, kind, _carried(place))))))
        for one in building.frames(building.LIST, _array(map(_row, found))):
            self._send(one)

    def archive(self, content: Iterable[bytes]) -> None:
        """The build's own context, as an archive."""
        self._archive = content
        self.context("", "archive", "-", [("-", "file", 0, 0, 0, 0, 0, "")])

    def agent(self, id: str) -> None:
        """An agent that may be asked."""
        self._send(building.frame(building.AGENT, id.encode()))

    def secret(self, name: str, value: bytes) -> None:
        """One secret."""
        self._send(building.frame(building.SECRET, name.encode() + b"\0" + value))

    def dockerfile(self, content: bytes) -> None:
        """A Dockerfile that is not in the context."""
        for one in building.frames(building.DOCKERFILE, content):
            self._send(one)

    def announce(self) -> None:
        """All is said."""
        self._send(building.frame(building.GO, b"%d" % self._began))
        self._flush()

    def documents(self, tunnel: Tunnel, tick: float = 0.0) -> Iterator[list[Any]]:
        """What the engine says, as much as it says at a time, to its end; meanwhile it gets what it asks for. Nothing
        whenever nothing has come for ``tick`` seconds, unless that is 0. Raises Unavailable."""
        reader = building.FrameReader()
        said, wanted = bytearray(), bytearray()
        data = tunnel.first
        while True:
            for kind, payload in reader.receive(data):
                if kind == building.SAID:
                    said += payload
                    *lines, rest = bytes(said).split(b"\n")
                    yield [_decoded(line) for line in lines]
                    said[:] = rest
                elif kind == building.TEXT:
                    yield [{"stream": payload.decode(errors="replace")}]
                elif kind == building.BUILT:
                    yield [{"aux": {"ID": payload.decode(errors="replace")}}]
                elif kind == building.WANTED:
                    wanted += payload
                elif kind == building.GO:
                    self._content(_decoded(bytes(wanted)))
                    wanted.clear()
                elif kind == building.DONE:
                    return
                else:
                    self._other(kind, payload)
            self._flush()
            while tick and not _has_come(tunnel.socket, tick):
                yield []
            try:
                data = tunnel.socket.recv(_RECEIVED)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Unavailable("build: the engine hung up")

    def _other(self, kind: bytes, payload: bytes) -> None:
        channel, rest = payload[: building.CHANNEL], payload[building.CHANNEL :]
        if kind == building.OPEN and self._agents:
            self._agents.open(channel, rest.decode(errors="replace"))
        elif kind == building.DATA and self._agents:
            for answer in self._agents.answer(channel, rest):
                self._send(building.frame(building.DATA, channel + answer))
        elif kind == building.PIECE and self._pieces:
            self._pieces(payload)

    def _content(self, numbers: list[int]) -> None:
        for number in numbers:
            root, row = self._rows[number]
            if root:
                self._file(os.path.join(root, os.fsdecode(row[0].encode("latin-1"))))
            else:
                self._whole()

    def _whole(self) -> None:
        """The archive."""
        for piece in self._archive:
            for one in building.frames(building.CONTENT, piece):
                self._send(one)
        self._send(building.frame(building.DONE))

    def _file(self, path: str) -> None:
        """A file's content; what cannot be read is told in its place."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            said = CortenError.from_os("open", path, error).message
            self._send(building.frame(building.DONE, os.fsencode(said)))
            return
        try:
            while data := os.read(descriptor, _PIECE):
                self._send(building.frame(building.CONTENT, data))
        finally:
            os.close(descriptor)
        self._send(building.frame(building.DONE))

    def _send(self, data: bytes) -> None:
        """Each packet wakes the engine: what is said at a time goes in as few as may be."""
        self._waiting.append(data)
        self._size += len(data)
        if self._size >= _PIECE:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._upgrade.begin(b"".join(self._waiting))
            self._waiting.clear()
            self._size = 0
