"""Health checks: a command that is run in a container again and again, and what its results say."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Iterator

import msgspec

from corten.engine.clock import format_time, parse_time
from corten.engine.events import Event
from corten.engine.exec import Execs
from corten.engine.lifecycle import Lifecycle
from corten.engine.model import Container, ContainerConfig, ExecRequest, Health, HealthConfig, HealthResult
from corten.errors import CortenError, InvalidInput

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"

_SECOND = 1_000_000_000
_LEAST = 1_000_000
_INTERVAL, _TIMEOUT, _START_INTERVAL, _RETRIES = 30 * _SECOND, 30 * _SECOND, 5 * _SECOND, 3
"""dockerd's defaults (daemon/health.go)."""
_REMEMBERED = 5
_LONGEST_OUTPUT = 4096
_SHELL = ("/bin/sh", "-c")
_NO_RESULT = -1
_BEGINS, _ENDS = frozenset({"start", "unpause"}), frozenset({"die", "pause"})


def validate(check: HealthConfig | None) -> None:
    """Raises InvalidInput in Docker's words."""
    if check is None:
        return
    for name in ("Interval", "Timeout", "StartPeriod", "StartInterval"):
        value = {field.encode_name: getattr(check, field.name) for field in msgspec.structs.fields(check)}[name]
        if value and value < _LEAST:
            raise InvalidInput(f"{name} in Healthcheck cannot be less than 1ms")
    if check.retries < 0:
        raise InvalidInput("Retries in Healthcheck cannot be negative")


def warnings(check: HealthConfig | None) -> Iterator[str]:
    """Of a test that is none: dockerd takes it, notes it in its own log, and never runs it."""
    kind = (check.test or [""])[0] if check else ""
    if kind not in ("", "NONE", "CMD", "CMD-SHELL"):
        yield f"Unknown healthcheck type '{kind}' (expected 'CMD' or 'CMD-SHELL'). Healthcheck discarded."


def command(config: ContainerConfig) -> list[str]:
    """What a container's check executes; empty when it has none."""
    test = (config.healthcheck.test if config.healthcheck else None) or []
    if test[:1] == ["CMD"]:
        return test[1:]
    if test[:1] == ["CMD-SHELL"]:
        return [*(config.shell or _SHELL), *test[1:2]]
    return []


@dataclasses.dataclass(slots=True)
class Healths:
    """Checks the running containers of one engine. Everything is driven by the containers' events."""

    lifecycle: Lifecycle
    execs: Execs
    _checks: dict[str, asyncio.Task[None]] = dataclasses.field(default_factory=dict)

    def heard(self, event: Event) -> None:
        """Begin with a container's start, end with its end; so that whoever was told of it finds it so."""
        if event.type != "container" or event.actor not in self.lifecycle.records:
            return
        if event.action in _BEGINS:
            self._begin(self.lifecycle.records.get(event.actor), resumed=event.action == "unpause")
        elif event.action in _ENDS:
            self._end(self.lifecycle.records.get(event.actor))

    def resume(self) -> None:
        """Check what an earlier engine left running."""
        for container in self.lifecycle.records:
            if container.state.running and not container.state.paused and container.id not in self._checks:
                self._begin(container)

    def _begin(self, container: Container, *, resumed: bool = False) -> None:
        argv = command(container.config)
        if not argv:
            return
        log = container.health.log if container.health else []
        if not resumed:
            self.lifecycle.records.change(container.id, health=Health(STARTING, 0, log))
        check = container.config.healthcheck or HealthConfig()
        self._checks[container.id] = self.lifecycle.spawn(self._watch(container.id, argv, check))

    def _end(self, container: Container) -> None:
        """Nobody looks any more: unhealthy, as dockerd has it."""
        if (task := self._checks.pop(container.id, None)) is not None:
            task.cancel()
            health = container.health or Health()
            self.lifecycle.records.change(container.id, health=msgspec.structs.replace(health, status=UNHEALTHY))

    async def _watch(self, id: str, argv: list[str], check: HealthConfig) -> None:
        while True:
            await asyncio.sleep(self._pause(id, check) / _SECOND)
            if id not in self.lifecycle.records:
                return
            result = await self._probe(id, argv, check)
            if result is None:
                return
            self._note(id, check, result)

    def _pause(self, id: str, check: HealthConfig) -> int:
        """Nanoseconds to the next probe: shorter while it starts, within its start period."""
        container = self.lifecycle.records.get(id)
        starting = container.health is not None and container.health.status == STARTING
        if starting and time.time_ns() < parse_time(container.state.started_at) + check.start_period:
            return check.start_interval or _START_INTERVAL
        return check.interval or _INTERVAL

    async def _probe(self, id: str, argv: list[str], check: HealthConfig) -> HealthResult | None:
        """One run of the command; None when the container ran no more."""
        begun = time.time_ns()
        limit = check.timeout or _TIMEOUT
        output = bytearray()
        exec = ""
        try:
            exec = self.execs.create(id, ExecRequest(attach_stdout=True, attach_stderr=True, cmd=argv))
            async with asyncio.timeout(limit / _SECOND):
                code = await self._run(exec, output)
        except TimeoutError:
            self.execs.kill(exec)
            code, output = _NO_RESULT, bytearray(f"Health check exceeded timeout ({_duration(limit)})".encode())
        except CortenError as error:
            container = self.lifecycle.records.get(id) if id in self.lifecycle.records else None
            if container is None or not container.state.running:
                return None
            code, output = _NO_RESULT, bytearray(error.message.encode())
        finally:
            self.execs.discard(exec)
        text = bytes(output).decode(errors="replace")
        return HealthResult(format_time(begun), format_time(time.time_ns()), code, text)

    async def _run(self, exec: str, output: bytearray) -> int:
        attachment = await self.execs.start(exec)
        assert attachment is not None
        async with attachment:
            async for _, data in attachment:
                output += data[: max(0, _LONGEST_OUTPUT - len(output))]
        code = self.execs.inspect(exec).exit_code
        return _NO_RESULT if code is None else code

    def _note(self, id: str, check: HealthConfig, result: HealthResult) -> None:
        if id not in self.lifecycle.records:
            return
        container = self.lifecycle.records.get(id)
        old = container.health or Health(STARTING)
        grace = parse_time(container.state.started_at) + check.start_period
        health = judged(old, result, retries=check.retries or _RETRIES, grace=grace)
        container = self.lifecycle.records.change(id, health=health)
        if health.status != old.status:
            self.lifecycle.publish(container, f"health_status: {health.status}")


def judged(health: Health, result: HealthResult, *, retries: int, grace: int) -> Health:
    """The health after one more result: failures that began before ``grace`` (ns since the epoch) do not count while
    it starts."""
    log = [*health.log, result][-_REMEMBERED:]
    if result.exit_code == 0:
        return Health(HEALTHY, 0, log)
    if health.status == STARTING and parse_time(result.start) < grace:
        return msgspec.structs.replace(health, log=log)
    streak = health.failing_streak + 1
    return Health(UNHEALTHY if streak >= retries else health.status, streak, log)


def _duration(nanoseconds: int) -> str:
    """As Go prints it: ``1.5s``, ``100ms``."""
    if nanoseconds < _SECOND:
        return f"{nanoseconds / 1e6:g}ms"
    minutes, rest = divmod(nanoseconds / _SECOND, 60)
    return f"{int(minutes)}m{rest:g}s" if minutes else f"{rest:g}s"

