"""The engine's side of the network helper: found or started, told what there is, and another one when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from corten.engine.channel import Channel, Message
from corten.engine.monitors import process_handle
from corten.engine.spawning import Spawner
from corten.errors import CortenError, Unavailable
from corten.spec.names import VERSION, NameRecord

_log = logging.getLogger(__name__)
_PATIENCE = 2.0
"""Seconds in which one that is found says hello."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
"""Seconds before one that died is followed by another; twice as long each time, until one has said hello."""
_BACKLOG = 1024
_CREDENTIALS = struct.Struct("3i")


class NetworkHelper:
    """The helper of one engine. It is there while a container needs it, and outlives the engine.

    The door, at which starters knock too, is the engine's to make and both sides' to hold: what knocks while a helper
    dies is served by the next.
    """

    def __init__(self, spawner: Spawner, door: Path) -> None:
        self._spawner, self._path = spawner, door
        self._door: socket.socket | None = None
        self._channel: Channel | None = None
        self._records: dict[str, NameRecord] = {}
        self._ports: dict[str, set[str]] = {}
        self._pause = _FIRST_PAUSE
        self._due: asyncio.TimerHandle | None = None
        self._hello: asyncio.Future[Message] | None = None
        self.renewed: list[Callable[[Message], None]] = []
        """Called when another one has taken the place of one that died, and when one was found, with what that said of
        itself: its ``sandboxes``, runs by container, and the keys of its ``proxies``."""

    @property
    def door(self) -> str:
        """Where starters hand sockets over."""
        return str(self._path)

    @property
    def records(self) -> list[NameRecord]:
        """The containers that it is told of."""
        return list(self._records.values())

    def run_of(self, container_id: str) -> str:
        """The run of a container that it is told of; '' when it is not."""
        record = self._records.get(container_id)
        return record.run if record is not None else ""

    # --- what it is told

    def put(self, record: NameRecord) -> None:
        """A container's names from now on; the helper is started for the first one. Raises CortenError."""
        if self._channel is not None and self._records.get(record.container_id) == record:
            return
        self._records[record.container_id] = record
        if self._channel is None:
            self._begin()
        else:
            self._tell({"do": "put", "record": record.encode()})

    def drop(self, container_id: str) -> None:
        """A container has ended; nothing when it is not known."""
        if (record := self._records.pop(container_id, None)) is not None:
            self._tell({"do": "drop", "id": container_id, "run": record.run})

    def carry(self, container_id: str, message: Message, descriptors: Sequence[int]) -> None:
        """Have a port of a container carried: the message of a proxy, its socket and the container's pidfd. Raises
        CortenError."""
        self.has_port(container_id, message["key"])
        if self._channel is None:
            self._begin()
        self._tell(message, descriptors)

    def has_port(self, container_id: str, key: str) -> None:
        """The helper carries a port already."""
        self._ports.setdefault(container_id, set()).add(key)

    def ports_of(self, container_id: str) -> frozenset[str]:
        """The keys of a container's ports that it carries."""
        return frozenset(self._ports.get(container_id, ()))

    def drop_ports(self, container_id: str) -> None:
        """Carry no port of a container any more."""
        for key in self._ports.pop(container_id, ()):
            self._tell({"do": "unproxy", "key": key})

    def _tell(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        if self._channel is not None:
            self._channel.send(message, descriptors)

    @property
    def _is_needed(self) -> bool:
        return bool(self._records or self._ports)

    # --- its process

    async def adopt(self, records: Callable[[Mapping[str, str]], Iterable[NameRecord]]) -> None:
        """Take over the helper of an earlier engine; where there is none, one is started if it is needed. ``records``
        gives the containers that run, by the runs that the helper knows. Raises CortenError."""
        try:
            hello = await self._found()
        except (OSError, CortenError) as error:
            if not isinstance(error, FileNotFoundError | ConnectionRefusedError):
                _log.warning("network helper: %s", error)
            self._let_go()
            self._remember(records({}))
            if self._records:
                self._begin()
            self._tell_renewed({})
            return
        _log.info("adopted network helper %d", hello["pid"])
        self._remember(records(hello["sandboxes"]))
        self._tell_all()
        self._tell_renewed(hello)

    def _remember(self, records: Iterable[NameRecord]) -> None:
        self._records = {record.container_id: record for record in records}

    def _tell_renewed(self, hello: Message) -> None:
        for call in self.renewed:
            call(hello)

    async def _found(self) -> Message:
        """What the helper that listens says of itself. Raises OSError when none listens, CortenError for one that is
        not to be trusted, or not to be understood."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.connect(self.door)
        except OSError:
            sock.close()
            raise
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        hello = self._speak(sock)
        try:
            async with asyncio.timeout(_PATIENCE):
                said = await hello
        except TimeoutError:
            raise Unavailable(f"adopt the network helper at {self.door}: it says nothing") from None
        self._check(said, *_CREDENTIALS.unpack(credentials))
        return said

    def _check(self, hello: Message, pid: int, uid: int, gid: int) -> None:
        number = int(hello["pid"])
        with process_handle(number, int(hello["start_time"]), str(hello["boot_id"])) as pidfd:
            if pidfd is None or (pid, uid) != (number, os.geteuid()):
                raise Unavailable(f"adopt the network helper at {self.door}: process {pid} is not what it says it is")
        if hello["version"] != VERSION:
            # Every version knows these two.
            self._tell({"do": "replace", "records": []})
            self._tell({"do": "bye"})
            raise Unavailable(f"adopt the network helper at {self.door}: it speaks version {hello['version']}")

    def _begin(self) -> None:
        """Start one, and tell it everything. Raises CortenError."""
        door = self._made_door()
        self._spawner.tell({"do": "helper"}, [door.fileno()])
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.connect(self.door)  # at once: the engine itself listens for it
        except OSError as error:
            sock.close()
            raise CortenError.from_os("reach the network helper at", self.door, error) from error
        self._speak(sock)
        self._tell_all()

    def _made_door(self) -> socket.socket:
        if self._door is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            try:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.door)
                made.bind(self.door)
                made.listen(_BACKLOG)
            except OSError as error:
                made.close()
                raise CortenError.from_os("make the network helper's socket", self.door, error) from error
            self._door = made
        return self._door

    def _speak(self, sock: socket.socket) -> asyncio.Future[Message]:
        self._hello = asyncio.get_running_loop().create_future()
        self._channel = Channel(sock, self._heard, self._lost)
        self._channel.send({"do": "engine"})
        return self._hello

    def _tell_all(self) -> None:
        self._tell({"do": "replace", "records": [record.encode() for record in self._records.values()]})

    def _heard(self, message: Message, descriptors: list[int]) -> None:
        if message.get("event") == "hello" and self._hello is not None and not self._hello.done():
            if self._door is None and descriptors:
                self._door = socket.socket(fileno=descriptors.pop())
            self._pause = _FIRST_PAUSE
            self._hello.set_result(message)
        for descriptor in descriptors:
            os.close(descriptor)

    def _lost(self) -> None:
        """It had nothing to do and left; or it died, and there is something to do."""
        self._channel = None
        if self._hello is not None and not self._hello.done():
            self._hello.set_exception(Unavailable("reach the network helper: it died"))
            self._hello.exception()  # nobody may have asked
        if self._is_needed and self._due is None:
            _log.warning("the network helper died: starting another")
            self._due = asyncio.get_running_loop().call_later(self._pause, self._again)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def _again(self) -> None:
        self._due = None
        if self._channel is not None or not self._is_needed:
            return
        self._ports.clear()  # whose they are binds them anew
        try:
            self._begin()
        except CortenError as error:
            _log.error("network helper: %s", error)
            self._lost()
        else:
            self._tell_renewed({})

    def _let_go(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._door is not None:
            self._door.close()
            self._door = None

    def close(self, *, idle: bool) -> None:
        """Hang up; ``idle``: nothing runs any more, and it leaves."""
        if self._due is not None:
            self._due.cancel()
        if idle:
            self._tell({"do": "bye"})
        self._let_go()
        if idle:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.door)
