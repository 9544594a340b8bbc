"""The engine's side of the network helper: found or started, told what there is, and another one when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections.abc import Callable, Collection, Mapping, Sequence
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
        self._words = 0
        self._settled: asyncio.Future[None] | None = None
        self.renewed: list[Callable[[Message], None]] = []
        """Called when another one has taken the place of one that died, and when one was found, with what that said of
        itself: its ``sandboxes``, runs by container, and the keys of its ``proxies``."""

    @property
    def door(self) -> str:
        """Where starters hand sockets over."""
        return str(self._path)

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

    def move_port(self, container_id: str, key: str, message: Message) -> None:
        """Carry what comes to a port somewhere else: ``message`` as of :meth:`carry`."""
        self._ports.setdefault(container_id, set()).discard(key)
        self.has_port(container_id, message["key"])
        self._tell({**message, "do": "move", "from": key})

    def drop_port(self, container_id: str, key: str) -> None:
        """Carry one port no more."""
        self._ports.get(container_id, set()).discard(key)
        self._stop_carrying([key])

    def drop_ports(self, container_id: str) -> None:
        """Carry no port of a container any more."""
        self._stop_carrying(self._ports.pop(container_id, ()))

    def _stop_carrying(self, keys: Collection[str]) -> None:
        """With a word of the helper's when that is done."""
        if not keys or self._channel is None:
            return
        for key in keys:
            self._tell({"do": "unproxy", "key": key})
        if not self._words:
            self._settled = asyncio.get_running_loop().create_future()
        self._words += 1
        self._tell({"do": "sync"})

    async def settled(self) -> None:
        """Wait until the helper has let go of the ports that it is to carry no more; not for one that hangs: who binds
        the port will be told."""
        if self._words and self._settled is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await asyncio.shield(self._settled)

    def _has_settled(self, words: int) -> None:
        self._words -= min(words, self._words)
        if not self._words and self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    def _tell(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        if self._channel is not None:
            self._channel.send(message, descriptors)

    @property
    def _is_needed(self) -> bool:
        return bool(self._records or self._ports)

    # --- its process

    async def adopt(self, records: Mapping[str, NameRecord]) -> None:
        """Take over the helper of an earlier engine, with the containers that run; where there is none, one is started
        if they need it. Raises CortenError."""
        self._records = dict(records)
        try:
            hello = await self._found()
        except (OSError, CortenError) as error:
            if not isinstance(error, FileNotFoundError | ConnectionRefusedError):
                _log.warning("network helper: %s", error)
            self._let_go()
            if self._records:
                self._begin()
            self._tell_renewed({})
            return
        _log.info("adopted network helper %d", hello["pid"])
        self._tell_all()
        self._tell_renewed(hello)

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
        elif message.get("event") == "synced":
            self._has_settled(1)
        for descriptor in descriptors:
            os.close(descriptor)

    def _lost(self) -> None:
        """It had nothing to do and left; or it died, and there is something to do."""
        self._channel = None
        self._has_settled(self._words)
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
