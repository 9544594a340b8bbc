"""Signals to containers: kill, and stop with its patience."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import time

from corten.engine import signals
from corten.engine.clock import parse_time
from corten.engine.lifecycle import Lifecycle
from corten.engine.live import Live, Run
from corten.engine.model import Container
from corten.errors import Conflict, NotModified

_PATIENCE = 10
"""Seconds that a container has to end after its stop signal, where nobody says otherwise."""
_SETTLING = 1.0
"""Seconds that PID 1 must have run: before, it may not have set its handlers up yet."""
_WITHOUT_HANDLER = frozenset({signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT})
"""What these do, they do to any process that is in a namespace below."""
_GLANCE, _LONGEST_GLANCE = 0.002, 0.05
"""Seconds between looks at a process: nothing tells of a handler."""
_ENDING = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


@dataclasses.dataclass(frozen=True, slots=True)
class Stopping:
    """Stops and kills the containers of one engine."""

    lifecycle: Lifecycle

    async def stop(self, container: Container, *, signal_name: str | None, timeout: int | None) -> str:
        """Send the stop signal, wait ``timeout`` seconds (negative: for ever), kill. A hint for the user, or ''.

        Where neither client nor container gave a timeout, and the signal cannot reach the namespace's PID 1 (the
        kernel drops a signal with default action), nothing is waited for. Raises NotModified, InvalidInput.
        """
        life = self.lifecycle
        live = life.lives.of(container)
        number = signals.parse(signal_name or container.config.stop_signal or "TERM")
        await _settle(live)
        if life.cancel_restart(container, live):
            life.records.change(container.id, stopped_by_user=True)
            life.publish(container, "stop")
            return ""
        if (run := live.run) is None:
            raise NotModified(f"container {container.id} is not running")
        container = life.records.change(container.id, stopped_by_user=True)
        patience = container.config.stop_timeout if timeout is None else timeout
        hint = await self._end(container, run, number, patience)
        life.publish(container, "stop")
        return hint

    async def _end(self, container: Container, run: Run, number: int, patience: int | None) -> str:
        seconds = _PATIENCE if patience is None else patience
        begun = time.monotonic()
        # Looked at first: a handler may put the default action back before it begins to clean up.
        deaf = _is_deaf(container, number) and not await _soon_hears(container, run, number, seconds)
        self.send(container, run, number)
        if deaf and patience is None and not run.over.done():
            await self._kill(container, run)
            return (
                f"{signals.name(number)} has no effect on {container.path}, which is PID 1 of its namespace and does "
                "not handle it: it was killed at once; --init gives it a PID 1 that does"
            )
        left = None if seconds < 0 else max(0, begun + seconds - time.monotonic())
        if not await _is_over(run, left):
            await self._kill(container, run)
        return ""

    async def _kill(self, container: Container, run: Run) -> None:
        self.send(container, run, signal.SIGKILL)
        await _is_over(run, None)

    async def kill(self, container: Container, signal_name: str) -> None:
        """Send a signal; KILL, as with dockerd, is over when the container is. Raises Conflict when it does not run,
        InvalidInput."""
        number = signals.parse(signal_name)
        live = self.lifecycle.lives.of(container)
        await _settle(live)
        if self.lifecycle.cancel_restart(container, live):  # it waits for its next start, which is not to come
            self.lifecycle.records.change(container.id, stopped_by_user=True)
            return
        if (run := live.run) is None:
            raise Conflict(f"cannot kill container: {container.name}: container {container.id} is not running")
        own = signals.parse(container.config.stop_signal or "TERM")
        if number in _ENDING or number == own:
            container = self.lifecycle.records.change(container.id, stopped_by_user=True)
        if _is_deaf(container, number):
            await _soon_hears(container, run, number, _PATIENCE)
        self.send(container, run, number)
        if number == signal.SIGKILL:
            await _is_over(run, _PATIENCE)

    async def restart(self, container: Container, *, signal_name: str | None, timeout: int | None) -> str:
        """Stop it, if it runs, and start it. A hint for the user, or ''. Raises why it cannot be started."""
        hint = ""
        live = self.lifecycle.lives.of(container)
        live.kept = True
        try:
            with contextlib.suppress(NotModified):
                hint = await self.stop(container, signal_name=signal_name, timeout=timeout)
        finally:
            live.kept = False
        with contextlib.suppress(NotModified):
            await self.lifecycle.start(container)
        self.lifecycle.publish(container, "restart")
        return hint

    async def end(self, container: Container) -> None:
        """Kill a container and wait until that is recorded; nothing when it does not run."""
        live = self.lifecycle.lives.of(container)
        await _settle(live)
        self.lifecycle.cancel_restart(container, live)
        if (run := live.run) is not None:
            self.lifecycle.records.change(container.id, stopped_by_user=True)
            await self._kill(container, run)

    def send(self, container: Container, run: Run, number: int) -> None:
        """Send a signal and tell the events. A frozen container is thawed to die."""
        life = self.lifecycle
        run.monitor.signal(number)
        life.publish(container, "kill", signal=str(int(number)))
        if number == signal.SIGKILL and life.records.get(container.id).state.paused:
            life.planner.cgroups.thaw(life.planner.cgroup(container))


async def _settle(live: Live) -> None:
    """A start that its policy has begun comes to its end first: what is ended is what runs then."""
    async with live.lock:
        return


async def _is_over(run: Run, seconds: float | None) -> bool:
    """Wait until the run is over and recorded; whether it is."""
    done, _ = await asyncio.wait([run.over], timeout=seconds)
    return bool(done)


def _is_deaf(container: Container, number: int) -> bool:
    """Whether the signal would be lost on the container's PID 1, as it is now. A shared namespace's PID 1 is another
    process, and a frozen one may hear when it is thawed."""
    if number in _WITHOUT_HANDLER:
        return False
    shared = bool(container.host.pid_mode)
    return not shared and not container.state.paused and not signals.is_heard(container.state.pid, number)


async def _soon_hears(container: Container, run: Run, number: int, seconds: int) -> bool:
    """Whether a deaf PID 1 hears, or ends, within ``seconds`` (negative: for ever). One that has just been started may
    be about to set its handlers up, and what it is sent before is lost on it; an older one is not waited for."""
    # The process may be much older than the start: it stood by.
    left = _SETTLING - (time.time_ns() - parse_time(container.state.started_at)) / 1e9
    end = time.monotonic() + min(left, _SETTLING, *([seconds] if seconds >= 0 else []))
    pause = _GLANCE
    while time.monotonic() < end:
        if await _is_over(run, pause) or not _is_deaf(container, number):
            return True
        pause = min(2 * pause, _LONGEST_GLANCE)
    return False
