"""Execs: further processes inside running containers."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import signal
from collections.abc import AsyncIterator

import msgspec

from corten.engine import detach_keys, planning
from corten.engine.attach import Attachment
from corten.engine.broadcast import Broadcast
from corten.engine.events import Event
from corten.engine.launching import Launcher
from corten.engine.lifecycle import Lifecycle
from corten.engine.model import Container, ExecRequest
from corten.engine.monitors import Monitor, MonitorLost
from corten.engine.names import new_id
from corten.errors import Conflict, CortenError, InvalidInput, NotFound
from corten.runtime.ahead import Forecast

_REMEMBERED = 512
_NOT_RUNNABLE = 126
"""The exit code of what could not be started, as dockerd has it; 127 where its command was not found."""
_LOST = 137


@dataclasses.dataclass(frozen=True, slots=True)
class Exec:
    """One exec. ``exit_code`` is None until it ended, or failed to start."""

    id: str
    container: str
    request: ExecRequest
    running: bool = False
    started: bool = False
    pid: int = 0
    exit_code: int | None = None

    @property
    def entrypoint(self) -> str:
        """The command."""
        return (self.request.cmd or [""])[0]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Its arguments."""
        return tuple((self.request.cmd or [""])[1:])


class Execs:
    """The execs of one engine; they are forgotten with their container, or when the engine ends."""

    def __init__(self, lifecycle: Lifecycle, launcher: Launcher) -> None:
        self._lifecycle = lifecycle
        self._launcher = launcher
        self._execs: collections.OrderedDict[str, Exec] = collections.OrderedDict()
        self._monitors: dict[str, Monitor] = {}
        self._foreseen: tuple[Container, ExecRequest, Forecast] | None = None
        """The plan of the last one that was created, made before its start is asked for."""

    def create(self, container_ref: str, request: ExecRequest) -> str:
        """The ID of a new exec. NotFound, Conflict when the container does not run or is paused, InvalidInput."""
        container = self._running(self._lifecycle.records.find(container_ref), container_ref)
        if not request.cmd:
            raise InvalidInput("No exec command specified")
        detach_keys.parse(request.detach_keys)
        exec = Exec(new_id(), container.id, request)
        self._forget_old()
        self._execs[exec.id] = exec
        self._publish(exec, f"exec_create: {' '.join(request.cmd)}")
        if not container.host.links:  # other containers' names would have a say in it
            asyncio.get_running_loop().call_soon(self._foresee, exec.id, container)  # when this is answered
        return exec.id

    def _foresee(self, id: str, container: Container) -> None:
        exec = self._execs.get(id)
        if exec is None or exec.started:
            return
        with contextlib.suppress(CortenError):  # its start will say why
            self._foreseen = container, exec.request, self._forecast(container, exec.request)

    def _forecast(self, container: Container, request: ExecRequest) -> Forecast:
        """The plan, made already or now. Raises CortenError."""
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is not None and foreseen[0] is container and foreseen[1] is request:
            return foreseen[2]
        return Forecast.of(self._lifecycle.planner.exec_plan(container, request))

    def inspect(self, id: str) -> Exec:
        """What is known of it. NotFound ``No such exec instance: …``."""
        try:
            return self._execs[id]
        except KeyError:
            raise NotFound(f"No such exec instance: {id}") from None

    def of(self, container_id: str) -> list[str]:
        """The IDs of a container's execs that have not ended."""
        return [one.id for one in self._execs.values() if one.container == container_id and one.exit_code is None]

    def startable(self, id: str) -> Exec:
        """An exec that can be started. Raises NotFound, Conflict when it ran or its container does not run."""
        exec = self.inspect(id)
        self._running(self._lifecycle.records.get(exec.container))
        if exec.started:
            raise Conflict(f"Error: Exec command {id} is already running" if exec.running else
                           f"Exec command {id} has already run")  # fmt: skip
        return exec

    async def start(
        self, id: str, *, detach: bool = False, tty: bool = False, console_size: tuple[int, int] | None = None
    ) -> Attachment | None:
        """Run it; its stdio, or None with ``detach``. CommandNotFound, CommandNotRunnable; Conflict when it ran.

        Whether it has a terminal was said when it was created; ``tty`` is the API's way to say it again.
        """
        exec = self.startable(id)
        container = self._lifecycle.records.get(exec.container)
        request = exec.request
        if console_size:
            request = msgspec.structs.replace(request, console_size=console_size)
        output = Broadcast()
        client = None if detach else output.join()
        self._execs[id] = dataclasses.replace(exec, started=True)
        self._publish(exec, f"exec_start: {' '.join(request.cmd or ())}")
        await asyncio.shield(asyncio.ensure_future(self._launch(self._execs[id], container, request, output)))
        return None if client is None else self._attachment(self._execs[id], client, request)

    async def _launch(self, exec: Exec, container: Container, request: ExecRequest, output: Broadcast) -> None:
        run = self._lifecycle.lives.of(container).run
        if run is None:
            raise Conflict(f"container {container.id} is not running")
        try:
            monitor = await self._launcher.exec(
                exec.id,
                self._forecast(container, request),
                init=run.monitor.pidfd,
                own_pids=container.host.pid_mode != "host",
                spawns=planning.spawns(container, request),
                tty=request.tty,
                stdin=request.attach_stdin and output.is_wanted,
                take=output.is_wanted,
            )
        except CortenError as error:
            self._execs[exec.id] = dataclasses.replace(exec, exit_code=max(error.exit_code, _NOT_RUNNABLE))
            raise
        output.begin(monitor)
        self._monitors[exec.id] = monitor
        self._execs[exec.id] = dataclasses.replace(exec, running=True, pid=monitor.launched.result().pid)
        self._lifecycle.spawn(self._watch(exec.id, monitor, output))

    async def _watch(self, id: str, monitor: Monitor, output: Broadcast) -> None:
        try:
            code = (await monitor.ended).exit_code
        except MonitorLost:
            monitor.signal(9)
            code = _LOST
        if (exec := self._execs.get(id)) is not None:
            self._execs[id] = dataclasses.replace(exec, running=False, exit_code=code)
            self._publish(exec, "exec_die", exitCode=str(code))
        await output.finish()
        monitor.dismiss()
        self._monitors.pop(id, None)
        monitor.close()

    def _attachment(self, exec: Exec, output: AsyncIterator[tuple[int, bytes]], request: ExecRequest) -> Attachment:
        monitor = self._monitors.get(exec.id)
        stdin = ExecStdin(monitor) if request.attach_stdin and monitor is not None else None
        keys = detach_keys.parse(request.detach_keys) if request.tty else b""
        return Attachment(
            _wanted(output, request),
            tty=request.tty,
            stdin=stdin,
            detach_keys=keys,
            detached=lambda: self._publish(exec, "exec_detach"),
        )

    async def resize(self, id: str, height: int, width: int) -> None:
        """Tell its terminal the size in characters. Raises NotFound, Conflict when it does not run."""
        self.inspect(id)
        if (monitor := self._monitors.get(id)) is None:
            raise Conflict(f"exec {id} is not running")
        monitor.resize(height, width)

    def kill(self, id: str) -> None:
        """End its process; nothing when it does not run."""
        if (monitor := self._monitors.get(id)) is not None:
            monitor.signal(signal.SIGKILL)

    def discard(self, id: str) -> None:
        """Nobody will ask for it again."""
        self._execs.pop(id, None)

    def forget(self, container_id: str) -> None:
        """The container was removed."""
        for id in [one.id for one in self._execs.values() if one.container == container_id]:
            del self._execs[id]

    def heard(self, event: Event) -> None:
        """An event of the engine's: what was not started when its container ended never will be."""
        if event.type == "container" and event.action == "die":
            for id in [one.id for one in self._execs.values() if one.container == event.actor and not one.started]:
                del self._execs[id]

    def _forget_old(self) -> None:
        ended = [one.id for one in self._execs.values() if one.exit_code is not None]
        for id in ended[: max(0, len(ended) - _REMEMBERED)]:
            del self._execs[id]

    def _running(self, container: Container, ref: str = "") -> Container:
        if not container.state.running or container.state.restarting:
            raise Conflict(f"container {container.id} is not running")
        if container.state.paused:
            raise Conflict(f"Container {ref or container.id} is paused, unpause the container before exec")
        return container

    def _publish(self, exec: Exec, action: str, **attributes: str) -> None:
        if exec.container in self._lifecycle.records:
            container = self._lifecycle.records.get(exec.container)
            self._lifecycle.publish(container, action, execID=exec.id, **attributes)


class ExecStdin:
    """The stdin of an exec: one client's, closed with it."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    async def write(self, data: bytes) -> None:
        """Write all of it."""
        if self._monitor.stdin is not None:
            await self._monitor.stdin.write(data)

    async def close(self) -> None:
        """End of file; a terminal has none."""
        self._monitor.close_stdin()


async def _wanted(output: AsyncIterator[tuple[int, bytes]], request: ExecRequest) -> AsyncIterator[tuple[int, bytes]]:
    async for stream, data in output:
        if request.attach_stdout if stream == 1 else request.attach_stderr:
            yield stream, data
