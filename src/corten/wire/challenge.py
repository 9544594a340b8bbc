"""``WWW-Authenticate``: the challenges of RFC 9110, section 11, as registries send them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = re.compile(rf'[\s,]*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')
_SCHEME = re.compile(rf"[\s,]*({_TOKEN})(?:\s+[A-Za-z0-9._~+/-]+=*(?=\s*(?:,|$)))?")
_ESCAPED = re.compile(r"\\(.)")


@dataclasses.dataclass(frozen=True, slots=True)
class Challenge:
    """One way to authenticate; scheme and names of parameters are in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse(values: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges of all header fields, in order. What cannot be understood ends its field, as a client may."""
    found: list[Challenge] = []
    for value in values:
        found += _field(value)
    return tuple(found)


def _field(value: str) -> list[Challenge]:
    found: list[Challenge] = []
    position = 0
    while position < len(value):
        if found and (parameter := _PARAMETER.match(value, position)):
            name, quoted, plain = parameter.groups()
            found[-1].parameters[name.lower()] = _ESCAPED.sub(r"\1", quoted) if quoted is not None else plain
            position = parameter.end()
        elif scheme := _SCHEME.match(value, position):
            found.append(Challenge(scheme[1].lower(), {}))
            position = scheme.end()
        else:
            break
    return found
