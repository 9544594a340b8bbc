"""create, start, kill, delete, run and exec of the OCI runtime specification (runtime.md, "Operations")."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from corten.errors import Conflict, CortenError, InvalidInput
from corten.runtime.cgroups import detect
from corten.runtime.hooks import run_hook
from corten.runtime.oci.state import CREATED, CREATING, RUNNING, STOPPED, State, States, described
from corten.runtime.plan import DEFAULT_DEVICES, HostSide, PlainRoot, exec_plan, plan
from corten.runtime.stages.join import join
from corten.runtime.stages.launch import Init, Stdio, cloning, end, launch, open_gate, undo
from corten.spec.operation import HOST
from corten.spec.runtime import DeviceRule, Hook, Process, RuntimeConfig, decode
from corten.sys import process

_INHERITED = Stdio(0, 1, 2)
_LARGEST_CONFIG = 4 << 20
_PATIENCE = 5.0
_PSEUDO_TERMINALS = (136, -1)
_DEFAULT_RULES = (
    DeviceRule(True, "c", access="m"),
    DeviceRule(True, "b", access="m"),
    *(DeviceRule(True, one.type, one.major, one.minor) for one in DEFAULT_DEVICES),
    *(DeviceRule(True, "c", major, minor) for major, minor in ((5, 1), (5, 2), _PSEUDO_TERMINALS)),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Bundle:
    """A directory with a config.json."""

    directory: Path
    config: RuntimeConfig

    @classmethod
    def read(cls, directory: Path) -> Bundle:
        """Raises InvalidInput, CortenError."""
        path = directory / "config.json"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise CortenError.from_os("read", str(path), error) from error
        if len(content) > _LARGEST_CONFIG:
            raise InvalidInput(f"read {path}: larger than {_LARGEST_CONFIG} bytes")
        try:
            value = json.loads(content)
        except ValueError as error:
            raise InvalidInput(f"read {path}: {error}") from error
        return cls(directory, decode(value))

    @property
    def root(self) -> str:
        """The container's root file system."""
        return str((self.directory / self.config.root_path).resolve())


def create(states: States, id: str, bundle: Bundle, console: str, pid_file: str) -> None:
    """Make the container: all but its command runs. Raises CortenError; nothing is left then."""
    if bundle.config.process.terminal and not console:
        raise InvalidInput(f"create container {id}: a terminal was asked for and no --console-socket given")
    states.reserve(id)
    try:
        _create(states, id, bundle, console, pid_file)
    except BaseException:
        states.remove(id)
        _run_late(bundle.config.hooks.poststop, _told(id, bundle, STOPPED, 0))
        raise


def _told(id: str, bundle: Bundle, status: str, pid: int) -> str:
    """The state that a hook reads."""
    return json.dumps(described(id, status, pid, str(bundle.directory), dict(bundle.config.annotations)))


def _run_early(id: str, bundle: Bundle, pid: int) -> bytes:
    """Run the hooks of the runtime's own namespaces; what those in the container's are told. Raises CortenError."""
    creating, created = (_told(id, bundle, status, pid) for status in (CREATING, CREATED))
    for hook in (*bundle.config.hooks.prestart, *bundle.config.hooks.create_runtime):
        run_hook(hook, creating.encode())
    return json.dumps([creating, created]).encode()


def _run_late(hooks: Sequence[Hook], state: str) -> None:
    """Hooks whose failure is a warning, and the container's life goes on (runtime.md, "Lifecycle", 9 and 13)."""
    for hook in hooks:
        try:
            run_hook(hook, state.encode())
        except CortenError as error:
            print(f"corten-runtime: warning: {error.message}", file=sys.stderr)


def _create(states: States, id: str, bundle: Bundle, console: str, pid_file: str) -> None:
    config = _settled(bundle.config, id)
    steps = plan(config, HostSide(PlainRoot(bundle.root), detect()))
    with _gate(states.gate(id)) as gate:
        begin = cloning(steps, _INHERITED, gate=gate.fileno())
        init = launch(steps, begin, held=True, hooks=lambda pid: _run_early(id, bundle, pid))
    try:
        if init.master >= 0:
            _send_console(console, init.master)
        states.write(_state(id, bundle, config, init))
        _write_pid(pid_file, init.pid)
    except BaseException:
        end(init)
        undo(steps.stage(HOST))
        raise
    os.close(init.pidfd)


def _settled(config: RuntimeConfig, id: str) -> RuntimeConfig:
    """With a control group, when none is named, and the devices that every container has (config-linux.md, "Default
    Devices"), whatever the list of rules says before."""
    path = config.cgroups_path.strip("/") or f"corten-runtime/{id}"
    limits = config.resources
    if limits.devices:
        limits = dataclasses.replace(limits, devices=(*limits.devices, *_DEFAULT_RULES))
    return dataclasses.replace(config, cgroups_path=path, resources=limits)


@contextlib.contextmanager
def _gate(path: Path) -> Iterator[socket.socket]:
    """A listening socket for the init; bound by a short name, because the path may be longer than 108 bytes."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as gate:
            gate.bind(f"/proc/self/fd/{directory}/{path.name}")
            gate.listen(1)
            yield gate
    finally:
        os.close(directory)


def _state(id: str, bundle: Bundle, config: RuntimeConfig, init: Init) -> State:
    return State(
        id=id, bundle=str(bundle.directory), pid=init.pid, start_time=init.start_time, boot_id=process.boot_id(),
        cgroup=config.cgroups_path, namespaces=tuple(one.type for one in config.namespaces),
        own_pids=any(one.type == "pid" for one in config.namespaces), annotations=dict(config.annotations),
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        poststart=config.hooks.poststart, poststop=config.hooks.poststop,
    )  # fmt: skip


def _send_console(path: str, master: int) -> None:
    """Hand the terminal's master to who asked (runc's protocol: one message, one descriptor)."""
    with socket.socket(socket.AF_UNIX) as receiver:
        receiver.connect(path)
        socket.send_fds(receiver, [b"/dev/ptmx"], [master])
    os.close(master)


def _write_pid(path: str, pid: int) -> None:
    """By rename: whoever waits for the file must not read half of it."""
    if path:
        Path(f"{path}.new").write_text(str(pid))
        os.rename(f"{path}.new", path)


def start(states: States, id: str) -> None:
    """Execute the command of a created container. Raises Conflict, and why it cannot run."""
    state = states.read(id)
    if states.status(state) != CREATED:
        raise Conflict(f"start container {id}: it is {states.status(state)}, not created")
    gate = states.gate(id)
    directory = os.open(gate.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        open_gate(f"/proc/self/fd/{directory}/{gate.name}")
    finally:
        os.close(directory)
        gate.unlink(missing_ok=True)
    _run_late(state.poststart, json.dumps(states.describe(state)))


def kill(states: States, id: str, number: int, *, every: bool = False) -> None:
    """Send a signal to the init, or to ``every`` process of the container. Raises Conflict when it is stopped."""
    state = states.read(id)
    if every:
        for pid in detect().processes(state.cgroup):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        return
    with _pidfd(state) as pidfd:
        signal.pidfd_send_signal(pidfd, number)


@contextlib.contextmanager
def _pidfd(state: State) -> Iterator[int]:
    """Open first, compared after: the number cannot pass to another process in between."""
    try:
        pidfd = process.pidfd_open(state.pid)
    except OSError:
        raise Conflict(f"container {state.id}: not running") from None
    try:
        if not state.is_alive():
            raise Conflict(f"container {state.id}: not running")
        yield pidfd
    finally:
        os.close(pidfd)


def delete(states: States, id: str, *, force: bool = False) -> None:
    """Forget a stopped (with ``force``: any) container and what it left. Raises Conflict when it runs."""
    state = states.read(id)
    status = states.status(state)
    if status == RUNNING and not force:
        raise Conflict(f"delete container {id}: it is running", hint="stop it first, or use --force")
    if status != STOPPED:
        with contextlib.suppress(Conflict):
            kill(states, id, signal.SIGKILL)
    cgroups, deadline = detect(), time.monotonic() + _PATIENCE
    while not cgroups.remove(state.cgroup):
        if time.monotonic() > deadline:
            raise CortenError(f"delete container {id}: processes remain in its control group {state.cgroup}")
        cgroups.kill(state.cgroup)
        time.sleep(0.01)
    states.remove(id)
    _run_late(state.poststop, json.dumps(state.describe(STOPPED)))


def run(states: States, id: str, bundle: Bundle, console: str, pid_file: str, *, detach: bool) -> int:
    """create and start; in the foreground also wait, forward signals and delete: the exit code."""
    create(states, id, bundle, console, pid_file)
    woken = -1 if detach else _forward_signals(states, id)
    try:
        start(states, id)
    except BaseException:
        delete(states, id, force=True)
        raise
    if detach:
        return 0
    state = states.read(id)
    try:
        return shell_code(_await_end(state.pid, woken))
    finally:
        delete(states, id, force=True)


def _forward_signals(states: States, id: str) -> int:
    """From now on; a descriptor that is readable when one came (the process has it to its end)."""

    def forward(number: int, _: object) -> None:
        with contextlib.suppress(CortenError):
            kill(states, id, number)

    woken, wakes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, forward)
    return woken


def _await_end(pid: int, woken: int) -> int:
    """The wait status of a child. Not by a blocking waitpid(2): a signal that comes just before it would be forwarded
    when that returns."""
    poll, pidfd = select.poll(), process.pidfd_open(pid)
    try:
        poll.register(pidfd, select.POLLIN)
        poll.register(woken, select.POLLIN)
        while pidfd not in dict(poll.poll()):
            os.read(woken, 4096)  # its handler has run by now
    finally:
        os.close(pidfd)
    return os.waitpid(pid, 0)[1]


def shell_code(status: int) -> int:
    """A wait status as a shell tells it: 128 + signal for a death by signal."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def execute(states: States, id: str, wanted: Process, console: str, pid_file: str, *, detach: bool) -> int:
    """Run one more command in a running container: its exit code, 0 when detached. Raises Conflict, CortenError."""
    state = states.read(id)
    if wanted.terminal and not console:
        raise InvalidInput(f"exec in {id}: a terminal was asked for and no --console-socket given")
    names = tuple(name for name in state.namespaces if name != "pid")
    steps = exec_plan(wanted, namespaces=names, cgroup_files=detect().join_files(state.cgroup))
    with _pidfd(state) as pidfd:
        init = join(steps, pidfd, _INHERITED, own_pids=state.own_pids)
    if init.master >= 0:
        _send_console(console, init.master)
    _write_pid(pid_file, init.pid)
    if detach:
        return 0
    return shell_code(os.waitpid(init.pid, 0)[1])
