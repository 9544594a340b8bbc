"""One step of starting a container: a frozen value that describes itself and can be executed.

A plan is a list of operations. ``--explain`` prints the list, a stage of the runtime executes it: the same
values serve both, so that what is said and what is done cannot part. An operation crosses the socket to the
starter as ``{"kind": …, field: value, …}``; each class registers its kind here on import.

Stages, in the order of time:

- ``host``: in the starter, before the container's init exists (cgroups and their limits).
- ``clone``: the namespaces that the init is cloned into: described here, performed by the launch itself.
- ``parent``: in the starter, after the clone, while the init already mounts (user maps, the host's end of links).
- ``init``: in the container's init, in order, down to the last one, which executes the command.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, TypeVar

HOST, CLONE, PARENT, INIT = "host", "clone", "parent", "init"


class Context(Protocol):
    """What an operation may know of the launch that executes it, and what it leaves for those after it."""

    init_pid: int
    """The init's process id as the monitor sees it; 0 in stage ``host`` and inside the init."""
    root: int
    """O_PATH descriptor of the container's root, once an operation has mounted it; -1 before."""
    home: str
    """The home directory of the container's user, once it is known."""
    command: str
    """The path of the command, once it has been found."""
    terminal: int
    """The init's end of its terminal; -1 without one."""
    trees: dict[str, int]
    """By destination, what was opened to be mounted there while the host's mounts were still shared."""
    shelf: int
    """Where layers that are files are mounted (:mod:`corten.runtime.shelf`); -1 without one."""
    target: int
    """The pidfd of the container's init, for an exec; -1 for a start."""

    def source(self, path: str, *, recursive: bool) -> int:
        """A detached copy of what the host has mounted at ``path``; the caller closes it. Raises OSError."""
    state: bytes
    """The container's state for hooks while it is created (runtime.md, "State"), once :meth:`await_hooks` has it."""
    state_at_start: bytes
    """The same for hooks of its start."""

    def await_hooks(self) -> None:
        """Wait until the hooks of the runtime's own namespaces were run."""

    def lead_session(self) -> None:
        """Have the command lead a session of its own, with every signal as the kernel has it."""

    def ready(self) -> None:
        """Everything is prepared and the command is there: execute it when the monitor says so."""

    def execute(self, args: Sequence[str], env: Mapping[str, str]) -> None:
        """Become :attr:`command`, or have it run. Raises CommandNotFound, CommandNotRunnable."""

    def console(self, master: int, terminal: int) -> None:
        """Take a pair of terminal ends: the master goes to the monitor, the other becomes stdio."""


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """Base of all operations. Fields are JSON values (or tuples of them); a subclass sets the class variables."""

    kind: ClassVar[str] = ""
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = ""
    """The heading under which a learner reads it: namespaces, file system, devices, limits, network, privileges."""
    of_host: ClassVar[bool] = False
    """It needs the host's tree, or the choice of namespaces: what an init that stands by has behind it."""
    of_endpoint: ClassVar[bool] = False
    """It can be done ahead for a container whose place in a network was taken ahead: nothing else has a say in it."""

    poises: ClassVar[bool] = False
    """It can be done before the command is known, when all before it is: nobody but the twin of the last start can take
    that over."""

    def what(self) -> str:
        """The object it acts on, for messages: ``/proc``, ``memory.max``, ``eth0``."""
        raise NotImplementedError

    def why(self) -> str:
        """One sentence for a learner: the reason for this step."""
        raise NotImplementedError

    def shell(self) -> str:
        """The equivalent shell command, or a ``#`` comment where there is none."""
        raise NotImplementedError

    def ahead(self) -> bool:
        """Whether it can be done before its container is known: no image, name or address has a say in it."""
        return False

    def foreseen(self, own: str) -> bool:
        """Whether it can be done ahead for the very container whose directory is ``own``, if the image is guessed
        right: it needs nothing of the host but the data root."""
        return False

    def rehearse(self, context: Context) -> None:
        """Go through the motions of :meth:`run`, as far as they leave nothing: who stands by does, with the operations
        of an earlier start, so that the pages it needs are its own already when somebody waits."""

    def places(self) -> tuple[str, ...]:
        """The paths in the root that it mounts upon, makes or changes."""
        return ()

    def sources(self) -> tuple[tuple[str, bool], ...]:
        """What of the host it shows inside: (path, with all that is mounted below)."""
        return ()

    def run(self, context: Context) -> None:
        """Do it. Raises OSError; the stage adds this operation's name and object to the report."""
        raise NotImplementedError

    def undo(self, context: Context) -> None:
        """Take back what would outlive the container. Called in the starter, for stages host and parent."""


_KINDS: dict[str, type[Operation]] = {}
_FIELDS: dict[str, tuple[str, ...]] = {}
O = TypeVar("O", bound=type[Operation])  # noqa: E741


def operation(cls: O) -> O:
    """Register an operation class under its ``kind``."""
    if not cls.kind or cls.kind in _KINDS:
        raise ValueError(f"operation {cls.__name__}: kind {cls.kind!r} is empty or taken")
    _KINDS[cls.kind] = cls
    _FIELDS[cls.kind] = tuple(field.name for field in dataclasses.fields(cls))
    return cls


def encode(step: Operation) -> dict[str, Any]:
    """The JSON form of an operation."""
    return {"kind": step.kind, **{name: getattr(step, name) for name in _FIELDS[step.kind]}}


def describe(step: Operation) -> dict[str, Any]:
    """What ``--explain`` tells of an operation."""
    return {
        "kind": step.kind, "stage": step.stage, "group": step.group,
        "what": step.what(), "why": step.why(), "shell": step.shell(),
    }  # fmt: skip


def decode(value: dict[str, Any]) -> Operation:
    """The operation of a JSON form. Raises KeyError for a kind that nothing imported has registered."""
    fields = {name: _frozen(item) for name, item in value.items() if name != "kind"}
    return _KINDS[value["kind"]](**fields)


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
