"""The instructions that change an image's configuration and no file, and how each stands in the history."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from corten.build.instructions import (
    Cmd,
    CommandLine,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Pair,
    Shell,
    StopSignal,
    User,
    Volume,
)
from corten.build.state import State

_SHELL = ("/bin/sh", "-c")
_SECOND = 10**9


def shell_of(state: State) -> tuple[str, ...]:
    """What a shell form is executed by."""
    return tuple(state.config.get("Shell") or _SHELL)


def words_of(command: CommandLine, state: State) -> list[str]:
    """The argument vector of a command."""
    return [*shell_of(state), *command.words] if command.in_shell else list(command.words)


def configured(one: Instruction, state: State) -> State | None:
    """The state after an instruction whose words are expanded; None if it is none of this module's."""
    change = _CHANGES.get(type(one))
    return change(one, state) if change else None


def with_variables(environment: Iterable[str], pairs: Iterable[Pair]) -> list[str]:
    """``NAME=VALUE``, each in the place of an earlier one of its name."""
    named = {one.partition("=")[0]: one for one in environment}
    named.update((pair.key, str(pair)) for pair in pairs)
    return list(named.values())


def _env(one: Env, state: State) -> State:
    environment = with_variables(state.config.get("Env") or (), one.pairs)
    return state.step("ENV " + " ".join(map(str, one.pairs)), Env=environment)


def _label(one: Label, state: State) -> State:
    labels = {**(state.config.get("Labels") or {}), **{pair.key: pair.value for pair in one.pairs}}
    return state.step("LABEL " + " ".join(map(str, one.pairs)), Labels=labels)


def _cmd(one: Cmd, state: State) -> State:
    words = words_of(one.command, state)
    after = state.step(f"CMD {quoted(words)}", Cmd=words, ArgsEscaped=True)
    return dataclasses.replace(after, has_command=True)


def _entrypoint(one: Entrypoint, state: State) -> State:
    """A command that an earlier image had was for its own entrypoint."""
    words = words_of(one.command, state)
    command = state.config.get("Cmd") if state.has_command else None
    return state.step(f"ENTRYPOINT {quoted(words)}", Entrypoint=words, Cmd=command)


def _healthcheck(one: Healthcheck, state: State) -> State:
    check: dict[str, Any] = {"Test": list(one.test)}
    periods = {
        "Interval": one.interval, "Timeout": one.timeout, "StartPeriod": one.start_period,
        "StartInterval": one.start_interval,
    }  # fmt: skip
    check |= {name: value for name, value in periods.items() if value}
    if one.retries:
        check["Retries"] = one.retries
    shown = " ".join(f"{name}:{_duration(value)}" for name, value in periods.items())
    words = f"Test:[{' '.join(one.test)}] {shown} Retries:{one.retries}"
    return state.step(f"HEALTHCHECK {{{words}}}", Healthcheck=check)


def _expose(one: Expose, state: State) -> State:
    ports = {**(state.config.get("ExposedPorts") or {}), **{port: {} for port in one.ports}}
    return state.step(f"EXPOSE [{' '.join(one.ports)}]", ExposedPorts=dict(sorted(ports.items())))


def _user(one: User, state: State) -> State:
    return state.step(f"USER {one.user}", User=one.user)


def _volume(one: Volume, state: State) -> State:
    volumes = {**(state.config.get("Volumes") or {}), **{path: {} for path in one.paths}}
    return state.step(f"VOLUME [{' '.join(one.paths)}]", Volumes=volumes)


def _stop_signal(one: StopSignal, state: State) -> State:
    return state.step(f"STOPSIGNAL {one.signal}", StopSignal=one.signal)


def _shell(one: Shell, state: State) -> State:
    return state.step(f"SHELL [{' '.join(one.words)}]", Shell=list(one.words))


def _onbuild(one: Onbuild, state: State) -> State:
    """It has no line in the history: its turn is later."""
    triggers = [*(state.config.get("OnBuild") or ()), one.trigger]
    return dataclasses.replace(state, config={**state.config, "OnBuild": triggers}, image="")


def _maintainer(one: Maintainer, state: State) -> State:
    return dataclasses.replace(state.step(f"MAINTAINER {one.name}"), author=one.name)


_CHANGES: dict[type[Instruction], Callable[[Any, State], State]] = {
    Env: _env, Label: _label, Cmd: _cmd, Entrypoint: _entrypoint, Healthcheck: _healthcheck, Expose: _expose,
    User: _user, Volume: _volume, StopSignal: _stop_signal, Shell: _shell, Onbuild: _onbuild, Maintainer: _maintainer,
}  # fmt: skip


def quoted(words: Sequence[str]) -> str:
    """``["a" "b"]``, as Go prints a list of quoted strings: a history's form of a command."""
    return f"[{' '.join(json.dumps(word, ensure_ascii=False) for word in words)}]"


def _duration(nanoseconds: int) -> str:
    """As Go prints a duration: ``1m30s``, ``500ms``."""
    if 0 < nanoseconds < _SECOND:
        return f"{nanoseconds / 1e6:g}ms"
    minutes, rest = divmod(nanoseconds, 60 * _SECOND)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{rest / _SECOND:g}s"
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}" if minutes else seconds
