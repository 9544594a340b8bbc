"""``--change`` of import and commit: Dockerfile instructions that alter an image's configuration."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from corten.engine import variables
from corten.errors import InvalidInput

_LISTS = {"CMD": "Cmd", "ENTRYPOINT": "Entrypoint"}
_TEXTS = {"USER": "User", "WORKDIR": "WorkingDir", "STOPSIGNAL": "StopSignal"}
_EXPANDED = {"ENV", "LABEL", "EXPOSE", "VOLUME", *_TEXTS}
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PERIODS = {"interval": "Interval", "timeout": "Timeout", "start-period": "StartPeriod",
            "start-interval": "StartInterval"}  # fmt: skip
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h)")


def apply(changes: Iterable[str], base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The ``config`` object that the instructions make of another, or of none. Raises InvalidInput naming the
    instruction."""
    config: dict[str, Any] = json.loads(json.dumps(base or {}))
    named = [(change, *_split(change)) for change in changes]
    for change, name, rest in named:
        try:
            _one(config, name, rest)
        except ValueError as error:
            raise InvalidInput(f"change {change!r}: {error}") from error
    names = {name for _, name, _ in named}
    if "ENTRYPOINT" in names and "CMD" not in names:  # the old command was an argument of the old entrypoint
        config.pop("Cmd", None)
    return config


def _split(change: str) -> tuple[str, str]:
    name, _, rest = change.strip().partition(" ")
    return name.upper(), rest.strip()


def _one(config: dict[str, Any], name: str, rest: str) -> None:
    if not rest:
        raise ValueError("it has no value")
    if name in _EXPANDED:
        known = dict(variable.partition("=")[::2] for variable in config.get("Env") or ())
        rest = variables.expand(rest, known, words=name not in _TEXTS)
    if name in _LISTS:
        config[_LISTS[name]] = _words(rest)
    elif name in _TEXTS:
        config[_TEXTS[name]] = rest
    elif name == "ENV":
        config["Env"] = with_variables(config.get("Env") or (), [f"{key}={value}" for key, value in _pairs(rest)])
    elif name == "LABEL":
        config.setdefault("Labels", {}).update(_pairs(rest))
    elif name == "EXPOSE":
        config.setdefault("ExposedPorts", {}).update({_port(port): {} for port in rest.split()})
    elif name == "VOLUME":
        paths = _words(rest) if rest.startswith("[") else shlex.split(rest)
        config.setdefault("Volumes", {}).update({path: {} for path in paths})
    elif name == "ONBUILD":
        config.setdefault("OnBuild", []).append(rest)
    elif name == "HEALTHCHECK":
        config["Healthcheck"] = _healthcheck(rest)
    else:
        raise ValueError(f"{name.lower()} is not a valid change command")


def with_variables(old: Iterable[str], new: Iterable[str]) -> list[str]:
    """Variables, with others in the place of those of the same name or behind them."""
    named = {one.partition("=")[0]: one for one in old}
    named.update((one.partition("=")[0], one) for one in new)
    return list(named.values())


def _healthcheck(rest: str) -> dict[str, Any]:
    """``[--interval=…] CMD …`` or ``NONE``."""
    check: dict[str, Any] = {}
    while rest.startswith("--"):
        option, _, rest = rest.partition(" ")
        name, _, value = option[2:].partition("=")
        if name == "retries":
            check["Retries"] = int(value)
        elif name in _PERIODS:
            check[_PERIODS[name]] = _nanoseconds(value)
        else:
            raise ValueError(f"unknown flag: {name}")
        rest = rest.strip()
    kind, _, command = rest.partition(" ")
    if kind.upper() == "NONE":
        return {"Test": ["NONE"]}
    if kind.upper() != "CMD" or not command.strip():
        raise ValueError(f"unknown type {kind!r} in HEALTHCHECK (try CMD)")
    words = _words(command.strip())
    shell = not command.strip().startswith("[")
    return {"Test": ["CMD-SHELL", words[-1]] if shell else ["CMD", *words], **check}


def _nanoseconds(text: str) -> int:
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"invalid duration {text!r}")
    return sum(int(float(number) * _UNITS[unit]) for number, unit in parts)


def _words(rest: str) -> list[str]:
    """The exec form, or a command line for the shell."""
    if not rest.startswith("["):
        return ["/bin/sh", "-c", rest]
    words = json.loads(rest)
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("not a JSON array of strings")
    return words


def _pairs(rest: str) -> list[tuple[str, str]]:
    words = shlex.split(rest)
    if words and "=" not in words[0]:
        key, _, value = rest.partition(" ")
        return [(key, value.strip())]
    pairs = [word.partition("=") for word in words]
    if any(not equals for _, equals, _ in pairs):
        raise ValueError("expected KEY=VALUE")
    return [(key, value) for key, _, value in pairs]


def _port(text: str) -> str:
    number, _, protocol = text.partition("/")
    if not number.isdigit() or not 0 < int(number) < 65536:
        raise ValueError(f"invalid port {text}")
    return f"{number}/{protocol or 'tcp'}"
