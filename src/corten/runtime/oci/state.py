"""What is known of a container between two commands: a directory of its own below the runtime's root.

``state.json`` is what ``create`` wrote; ``gate`` is the socket at which the created init waits, until ``start``.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from corten.errors import Conflict, CortenError, InvalidInput, NotFound
from corten.runtime.cgroups import detect
from corten.spec.runtime import Hook, decode_hooks
from corten.sys import process

OCI_VERSION = "1.2.0"
_ID = re.compile(r"[A-Za-z0-9_+.-]{1,255}")
CREATING, CREATED, RUNNING, STOPPED = "creating", "created", "running", "stopped"
PAUSED = "paused"
"""A state of this runtime's own, as the specification allows; other runtimes call it so, too."""


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """One container. Boot and start time tell its init from another process that got the number later."""

    id: str
    bundle: str
    pid: int
    start_time: int
    boot_id: str
    cgroup: str
    namespaces: tuple[str, ...]
    own_pids: bool
    annotations: dict[str, str]
    created: str = ""
    poststart: tuple[Hook, ...] = ()
    poststop: tuple[Hook, ...] = ()
    """Hooks that other commands run: a change of the bundle since its creation has no effect (runtime.md)."""

    def describe(self, status: str) -> dict[str, Any]:
        """The state as the specification has it."""
        return described(self.id, status, self.pid if status != STOPPED else 0, self.bundle, self.annotations)

    def is_alive(self) -> bool:
        """Whether its init is there and has not ended."""
        try:
            if process.boot_id() != self.boot_id or process.start_time(self.pid) != self.start_time:
                return False
            with open(f"/proc/{self.pid}/stat") as file:
                return file.read().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False


def _is_frozen(cgroup: str) -> bool:
    """False, too, where there is no freezer, or the group is gone."""
    try:
        return detect().frozen(cgroup)
    except (OSError, KeyError):
        return False


def described(id: str, status: str, pid: int, bundle: str, annotations: dict[str, str]) -> dict[str, Any]:
    """A state as the specification has it (runtime.md, "State")."""
    return {
        "ociVersion": OCI_VERSION, "id": id, "status": status, "pid": pid, "bundle": bundle, "annotations": annotations
    }  # fmt: skip


class States:
    """The containers of one runtime root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def directory(self, id: str) -> Path:
        """A container's directory. Raises InvalidInput for what is no ID."""
        if not _ID.fullmatch(id) or id in (".", ".."):
            raise InvalidInput(f"container id {id!r}: not letters, digits, and any of _+-.")
        return self._root / id

    def gate(self, id: str) -> Path:
        """The socket at which the created init waits."""
        return self.directory(id) / "gate"

    def reserve(self, id: str) -> Path:
        """Make a container's directory. Raises Conflict when it exists."""
        directory = self.directory(id)
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.mkdir(mode=0o700)
        except FileExistsError:
            raise Conflict(f"create container {id}: a container with this id exists") from None
        except OSError as error:
            raise CortenError.from_os("create", str(directory), error) from error
        return directory

    def write(self, state: State) -> None:
        """Keep a state."""
        path = self.directory(state.id) / "state.json"
        path.write_text(json.dumps(dataclasses.asdict(state)))

    def read(self, id: str) -> State:
        """Raises NotFound."""
        try:
            value = json.loads((self.directory(id) / "state.json").read_text())
        except FileNotFoundError:
            raise NotFound(f"container {id}: does not exist") from None
        hooks = decode_hooks({name: value.get(name) for name in ("poststart", "poststop")})
        return State(**{
            **value, "namespaces": tuple(value["namespaces"]), "poststart": hooks.poststart, "poststop": hooks.poststop
        })  # fmt: skip

    def status(self, state: State) -> str:
        """``created``, ``running``, ``stopped`` (runtime.md, "State"), or ``paused``."""
        if not state.is_alive():
            return STOPPED
        if _is_frozen(state.cgroup):
            return PAUSED
        return CREATED if self.gate(state.id).exists() else RUNNING

    def describe(self, state: State) -> dict[str, Any]:
        """The state as the specification has it."""
        return state.describe(self.status(state))

    def ids(self) -> list[str]:
        """All containers."""
        return sorted(os.listdir(self._root)) if self._root.exists() else []

    def remove(self, id: str) -> None:
        """Forget a container."""
        shutil.rmtree(self.directory(id), ignore_errors=True)
