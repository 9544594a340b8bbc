"""The starter's side of a start: host operations, the clone, the links, and the word to execute.

::

    starter                               init
    host operations (cgroups)
    clone3 ────────────────────────────►  joins its groups, mounts …
    parent operations (links) ─ linked ►  … configures its links, pivots, drops privileges
                              ◄─ ready ─
          (held: it waits at its gate)
                              ◄── end of file: the command runs, or a report of what failed
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import NoReturn, Self

from corten.runtime import latch
from corten.runtime.ahead import Order
from corten.runtime.failure import OperationFailed
from corten.runtime.operations.namespaces import NewNamespaces
from corten.runtime.stages import init
from corten.runtime.stages.context import BEGIN, EXECUTE, HOOKS, LINKED, PREPARED, READY, InitContext, LaunchContext
from corten.spec.operation import CLONE, HOST, INIT, PARENT, Operation
from corten.spec.plan import Plan
from corten.sys import messages, process

_REPORT = 1 << 16
_NOTHING = Plan(())


@dataclasses.dataclass(frozen=True, slots=True)
class Stdio:
    """The init's ends of its standard streams; the caller closes its copies. -1, or a terminal: not taken."""

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


_NO_STDIO = Stdio()


class Init:
    """A container's first process, seen from its parent. ``pid`` is the caller's view, ``master`` the terminal's
    other end (-1 without one), ``mounts`` its mount namespace (-1 when it was not asked for); they and the pidfd are
    the caller's to close."""

    def __init__(self, pid: int, pidfd: int, channel: socket.socket, proc: int | None = None) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.start_time = process.start_time(pid, proc)
        self.master = self.mounts = -1
        self.home = ""
        """Where its user is at home, if it is poised."""
        self.hooks: Callable[[int], bytes] | None = None
        """Runs the runtime's hooks for the init's pid; what the init is to be told then."""
        self._channel = channel
        self._ready = False
        self._order: Order | None = None

    def await_ready(self) -> None:
        """Return when all but the command is done. Raises OperationFailed."""
        while not self._ready:
            self._hear()

    def hand_over(self, order: Order, stdio: Stdio) -> None:
        """Give an init that stands by its part of a plan, and its stdio: it reads while the engine does its part."""
        self._order = order
        given = [] if stdio.stdin < 0 else [stdio.stdin, stdio.stdout, stdio.stderr]
        inner = {**order.encode(), "outside": []}
        with contextlib.suppress(messages.Closed):  # it is gone: the next look says why
            messages.send(self._channel, {"order": inner}, given)

    def begin(self) -> Init:
        """Tell an init that stood by to begin: here is what it needs of the host, opened. Raises OSError for what is
        not there."""
        assert self._order is not None
        with contextlib.ExitStack() as opened:
            context, given = LaunchContext(), list[int]()
            for path, recursive in self._order.sources:
                given.append(context.source(path, recursive=recursive))
                opened.callback(os.close, given[-1])
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                socket.send_fds(self._channel, [BEGIN], given)
        return self

    def keep_mounts(self) -> None:
        """Hold its mount namespace open: its end need not wait until everything is unmounted. If it has ended already,
        the next look says why."""
        with contextlib.suppress(OSError):
            self.mounts = os.open(f"/proc/{self.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def tell(self, word: bytes) -> None:
        """Say a word to the init; if it is gone, the next look says why."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._channel.send(word)

    def await_running(self) -> None:
        """Return when the command runs. Raises OperationFailed."""
        while self._hear():
            continue

    def _hear(self) -> bool:
        """Take one message; False at end of file."""
        data, descriptors, _, _ = messages.whole(
            lambda: socket.recv_fds(self._channel, _REPORT, 1, socket.MSG_CMSG_CLOEXEC)
        )
        if data.startswith(b"{"):
            raise OperationFailed.decode(json.loads(data))
        if descriptors:
            self.master = descriptors[0]
        if data == HOOKS and self.hooks is not None:
            self.tell(self.hooks(self.pid))
        elif data == READY:
            self._ready = True
        elif not data and not self._ready:
            raise OperationFailed("process.start", "init", "it ended before it could execute the command")
        return bool(data)

    def close(self) -> None:
        """Close the channel; an init that still waits for its word ends."""
        self._channel.close()

    def await_prepared(self) -> None:
        """Return when the init stands by. Raises OperationFailed."""
        self.home = os.fsdecode(self._answer(PREPARED))

    def await_poised(self) -> socket.socket:
        """Return when it waits for its command; its line, which is the caller's now. Raises OperationFailed."""
        self.tell(latch.ASK)
        self._answer(latch.ASK)
        return self._channel

    def _answer(self, word: bytes) -> bytes:
        """What one that stands by says after a word that is waited for. Raises OperationFailed: what it reported, also
        when it has ended with something unread (its links are told whether or not it came so far), or that it is
        gone."""
        data = messages.whole(lambda: self._channel.recv(_REPORT))
        if data.startswith(b"{"):
            raise OperationFailed.decode(json.loads(data))
        if not data.startswith(word):
            raise OperationFailed("process.start", "init", "it ended before a container came")
        return data.removeprefix(word)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def launch(
    plan: Plan, begin: Callable[[], Init], *, held: bool = False, keep_mounts: bool = False,
    hooks: Callable[[int], bytes] | None = None, made: Sequence[Operation] = (),
) -> Init:  # fmt: skip
    """Start a container; returns when its command runs, or, when it is ``held``, when all is ready for it: the init
    waits at its gate then, for :func:`open_gate`.

    ``begin`` gives the init when the groups are made: :func:`cloning`, or :meth:`Init.begin` of one that stands by. A
    plan of what that has still to do is enough then, and ``made`` is what was done for it.

    Raises OperationFailed; nothing is left then: the init is reaped, host and parent operations are undone.
    """
    context = LaunchContext()
    done = list(made)
    started: Init | None = None
    try:
        _run(plan.stage(HOST), context, done)
        started = begin()
        if keep_mounts:
            started.keep_mounts()
        context.init_pid, started.hooks = started.pid, hooks
        _run(plan.stage(PARENT), context, done)
        if plan.stage(PARENT):
            started.tell(LINKED)
        settle(started, held=held)
        return started
    except BaseException:
        if started is not None:
            end(started)
        undo(done, context)
        raise


def settle(started: Init, *, held: bool = False) -> None:
    """Wait until the command runs, or, ``held``, until all is ready for it. Raises OperationFailed."""
    if held:
        started.await_ready()
    else:
        started.await_running()
    started.close()


def open_gate(path: str) -> None:
    """Let a held init execute; returns when its command runs. Raises OperationFailed, and OSError when none waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as opener:
        opener.connect(path)
        opener.send(EXECUTE)
        if report := opener.recv(_REPORT):
            raise OperationFailed.decode(json.loads(report))


def _run(steps: Sequence[Operation], context: LaunchContext, done: list[Operation]) -> None:
    for step in steps:
        done.append(step)
        try:
            step.run(context)
        except Exception as error:
            raise OperationFailed.of(step, error) from error


def undo(steps: Sequence[Operation], context: LaunchContext | None = None) -> None:
    """Take back host and parent operations, the last one first; one that cannot be does not keep the others."""
    for step in reversed(steps):
        with contextlib.suppress(OSError):
            step.undo(context or LaunchContext())


def cloning(plan: Plan, stdio: Stdio, *, gate: int = -1, sibling: bool = False) -> Callable[[], Init]:
    """A way to begin: clone an init, which waits at the listening socket ``gate`` if there is one. With ``sibling`` it
    is not this process's child but its parent's. It raises OperationFailed."""
    (namespaces,) = (step for step in plan.stage(CLONE) if isinstance(step, NewNamespaces))

    def clone() -> Init:
        try:
            return fork_init(plan, stdio, namespaces.flags(), gate=gate, sibling=sibling)
        except OSError as error:
            raise OperationFailed.of(namespaces, error) from error

    return clone


class Waiting:
    """An init that stands by. Whoever takes it is to end it."""

    def __init__(self, init: Init, made: Sequence[Operation]) -> None:
        self._init: Init | None = init
        self.pidfd = init.pidfd
        self.made = made
        """What was done for it on the host."""

    @property
    def is_taken(self) -> bool:
        """Whether it is somebody else's to end, with what was made for it."""
        return self._init is None

    def take(self) -> Init:
        """The init, once."""
        taken, self._init = self._init, None
        assert taken is not None
        return taken

    def look(self) -> Init:
        """The init, which is not taken by that."""
        assert self._init is not None
        return self._init

    def close(self) -> None:
        """End it, if nobody has taken it."""
        if self._init is not None:
            end(self.take())


@contextlib.contextmanager
def prepared(
    steps: Plan, base: str, *, foreseen: Plan = _NOTHING, plugged: Plan = _NOTHING, poised: Plan = _NOTHING,
    likely: str = "[]", stdio: Stdio = _NO_STDIO, sibling: bool = False,
) -> Iterator[Waiting]:  # fmt: skip
    """An init that stands by: in namespaces of its own, with the operations ``steps``, ``foreseen`` and ``plugged``
    done. ``base`` is the data root, ``likely`` the operations of an earlier start, as JSON, which it rehearses. With
    those that are ``poised``, it has its ``stdio`` already, and waits for its command on its channel
    (:mod:`corten.runtime.latch`).

    Raises OperationFailed. What was done on the host for one that nobody took is undone.
    """
    (namespaces,) = (step for step in steps.stage(CLONE) if isinstance(step, NewNamespaces))
    share = init.Share(steps.stage(INIT), foreseen.steps, plugged.stage(INIT), poised.stage(INIT))

    def stand_by(channel: socket.socket) -> NoReturn:
        context = InitContext(channel, gate=-1, target=-1)
        if share.poised:
            init.poise(share, base, context, channel, dataclasses.astuple(stdio))
        init.stand_by(share, base, likely, context, channel)

    made: list[Operation] = []
    with contextlib.ExitStack() as left:
        left.callback(lambda: undo(made))
        _run((*steps.stage(HOST), *poised.stage(HOST)), LaunchContext(), made)
        started = _fork(namespaces.flags(), stand_by, sibling=sibling)
        with contextlib.closing(Waiting(started, made)) as waiting:
            # Cables go with the network namespace, without anybody's waiting for it.
            waiting.made = (*made, *_plug(plugged, started))
            started.await_prepared()
            yield waiting
            if waiting.is_taken:
                left.pop_all()


def _plug(links: Plan, started: Init) -> list[Operation]:
    context, made = LaunchContext(), list[Operation]()
    context.init_pid = started.pid
    _run(links.stage(PARENT), context, made)
    if links.steps:
        started.tell(LINKED)
    return made


def fork_init(
    plan: Plan, stdio: Stdio, namespaces: int, *, gate: int = -1, target: int = -1, sibling: bool = False,
    proc: int | None = None,
) -> Init:  # fmt: skip
    """Clone the process that executes the operations of stage ``init``. ``proc`` is the host's /proc, where that is not
    in sight. Raises OSError."""

    def execute(channel: socket.socket) -> NoReturn:
        context = InitContext(channel, gate=gate, target=target)
        init.run(plan, context, channel, dataclasses.astuple(stdio))

    return _fork(namespaces, execute, sibling=sibling, proc=proc)


def _fork(
    namespaces: int, become: Callable[[socket.socket], NoReturn], *, sibling: bool, proc: int | None = None
) -> Init:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        try:
            pid, pidfd = process.clone(namespaces, sibling=sibling)
        except OSError:
            ours.close()
            raise
        if pid == 0:
            ours.close()
            become(theirs)
    return Init(pid, pidfd, ours, proc)


def end(started: Init) -> None:
    """Kill an init, reap it and close what was held of it."""
    started.close()
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(started.pidfd, signal.SIGKILL)
    dead = select.poll()
    dead.register(started.pidfd, select.POLLIN)
    dead.poll()  # until then its group cannot be removed
    with contextlib.suppress(ChildProcessError):  # a sibling is its parent's to reap
        os.waitpid(started.pid, 0)
    for descriptor in (started.pidfd, started.master, started.mounts):
        if descriptor >= 0:
            os.close(descriptor)
