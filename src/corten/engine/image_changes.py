"""``--change`` of import: Dockerfile instructions that alter an image's configuration."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from typing import Any

from corten.errors import InvalidInput

_LISTS = {"CMD": "Cmd", "ENTRYPOINT": "Entrypoint"}
_TEXTS = {"USER": "User", "WORKDIR": "WorkingDir", "STOPSIGNAL": "StopSignal"}


def apply(changes: Iterable[str]) -> dict[str, Any]:
    """The ``config`` object that the instructions make. Raises InvalidInput naming the instruction."""
    config: dict[str, Any] = {}
    for change in changes:
        name, _, rest = change.strip().partition(" ")
        try:
            _one(config, name.upper(), rest.strip())
        except ValueError as error:
            raise InvalidInput(f"change {change!r}: {error}") from error
    return config


def _one(config: dict[str, Any], name: str, rest: str) -> None:
    if not rest:
        raise ValueError("it has no value")
    if name in _LISTS:
        config[_LISTS[name]] = _words(rest)
    elif name in _TEXTS:
        config[_TEXTS[name]] = rest
    elif name == "ENV":
        config.setdefault("Env", []).extend(f"{key}={value}" for key, value in _pairs(rest))
    elif name == "LABEL":
        config.setdefault("Labels", {}).update(_pairs(rest))
    elif name == "EXPOSE":
        config.setdefault("ExposedPorts", {}).update({_port(port): {} for port in rest.split()})
    elif name == "VOLUME":
        paths = _words(rest) if rest.startswith("[") else shlex.split(rest)
        config.setdefault("Volumes", {}).update({path: {} for path in paths})
    else:
        raise ValueError(f"{name} is not a valid change command")


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
