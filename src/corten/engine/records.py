"""The containers that there are: a copy in memory that answers, a table that survives."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import msgspec

from corten.engine.database import Database, Table
from corten.engine.model import Container
from corten.errors import Conflict, CortenError, InvalidInput, NotFound

_log = logging.getLogger(__name__)
_SOON = 0.002
"""Seconds."""
_OF_A_RUN = frozenset(
    (
        "state", "endpoints", "sandbox", "monitor_pid", "monitor_start", "init_start", "boot_id", "stopped_by_user",
        "restart_count",
    )
)  # fmt: skip


class Records:
    """Containers by ID and name. Names are unique; a change is a new value of the record.

    What happens to a run, and a removal, must be noted also while the disk is full: it is remembered and owed to the
    table, which gets it with the next write that succeeds. What a user asks to be kept is refused instead. That a run
    began or ended is owed for a moment in any case: who waits for it is told first, and an engine that dies in between
    leaves its successor the same to find out as one that died just before.
    """

    def __init__(self, database: Database) -> None:
        self._table = Table(database, "containers")
        self._containers = {container.id: _of_today(container) for container in self._table.load(Container)}
        self._names = {container.name: container.id for container in self._containers.values()}
        self._reserved: dict[str, str] = {}
        self._owed: dict[str, Container | None] = {}
        self._is_lagging = False
        self._due: asyncio.TimerHandle | None = None

    def __iter__(self) -> Iterator[Container]:
        return iter(tuple(self._containers.values()))

    def __contains__(self, id: str) -> bool:
        return id in self._containers

    def get(self, id: str) -> Container:
        """By full ID. Raises NotFound when it was removed meanwhile."""
        try:
            return self._containers[id]
        except KeyError:
            raise NotFound(f"No such container: {id}") from None

    def find(self, ref: str) -> Container:
        """By ID, name or a unique prefix of an ID, in that order. Raises NotFound, InvalidInput."""
        if ref in self._containers:
            return self._containers[ref]
        if (id := self._names.get(ref.removeprefix("/"))) is not None:
            return self._containers[id]
        if not ref:
            raise InvalidInput('invalid name or ID supplied: ""')
        found = [id for id in self._containers if id.startswith(ref)]
        if len(found) > 1:
            raise InvalidInput(f"Multiple IDs found with provided prefix: {ref}")
        if not found:
            raise NotFound(f"No such container: {ref}")
        return self._containers[found[0]]

    def reserve(self, name: str, id: str) -> None:
        """Hold a name for a container that is being made. Raises Conflict in Docker's words."""
        holder = self._names.get(name) or self._reserved.get(name)
        if holder is not None and holder != id:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )
        self._reserved[name] = id

    def release(self, name: str) -> None:
        """Let a reserved name go."""
        self._reserved.pop(name, None)

    def names(self) -> set[str]:
        """All names, used or reserved."""
        return self._names.keys() | self._reserved.keys()

    def put(self, container: Container, *, durable: bool = False) -> Container:
        """Insert or replace; a new name takes the old one's place. Raises CortenError when it cannot be written."""
        self._write(container.id, container, durable=durable)
        return self._remember(container)

    def _remember(self, container: Container) -> Container:
        old = self._containers.get(container.id)
        if old is not None and old.name != container.name:
            del self._names[old.name]
        self._containers[container.id] = container
        self._names[container.name] = container.id
        self._reserved.pop(container.name, None)
        return container

    def change(self, id: str, **fields: object) -> Container:
        """Replace some members of a record; what changes nothing is not written. Raises CortenError when that cannot be
        written, unless they are a run's."""
        old = self.get(id)
        new = msgspec.structs.replace(old, **fields)
        if new == old:
            return old
        self._write(id, new, may_owe=fields.keys() <= _OF_A_RUN)
        return self._remember(new)

    def change_soon(self, id: str, **fields: object) -> Container:
        """As :meth:`change`, of a run's members; the table gets them a moment later, or with what is written before."""
        new = msgspec.structs.replace(self.get(id), **fields)
        self._owed[id] = _kept(new)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(_SOON, self.settle)
        return self._remember(new)

    def settle(self) -> None:
        """Write what is owed, if it can be."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._owed:
            try:
                self._store({}, durable=False)
            except CortenError as error:
                self._lag(error)

    def _write(self, id: str, value: Container | None, *, durable: bool = False, may_owe: bool = False) -> None:
        try:
            self._store({id: _kept(value)}, durable=durable)
        except CortenError as error:
            if not may_owe:
                raise
            self._owed[id] = _kept(value)
            self._lag(error)

    def _store(self, rows: dict[str, Container | None], *, durable: bool) -> None:
        self._table.write({**self._owed, **rows}, durable=durable)
        self._owed.clear()
        self._is_lagging = False

    def _lag(self, error: CortenError) -> None:
        if not self._is_lagging:
            _log.error("%s: the state of containers is kept in memory until it can be", error.message)
        self._is_lagging = True

    def change_state(self, id: str, **fields: object) -> Container:
        """Replace some members of a record's state."""
        return self.change(id, state=msgspec.structs.replace(self.get(id).state, **fields))

    def delete(self, id: str) -> None:
        """Forget a container."""
        container = self.get(id)
        self._write(id, None, may_owe=True)
        del self._containers[id]
        del self._names[container.name]


def _kept(container: Container | None) -> Container | None:
    """What the table gets of it. A secret may be among the variables of a build's command, and is in no file: the next
    engine does nothing with such a container but remove it."""
    if container is None or not container.of_build:
        return container
    return msgspec.structs.replace(container, config=msgspec.structs.replace(container.config, env=None))


def _of_today(container: Container) -> Container:
    """A record that an older engine wrote: its container may still run, and must not lose its network."""
    if container.endpoint is None:
        return container
    return msgspec.structs.replace(container, endpoints=[container.endpoint], endpoint=None)
