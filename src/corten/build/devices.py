"""``RUN --device``: which devices a name means, and whether the build may have them.

As BuildKit matches and allows (its ``solver/llbsolver/cdidevices`` and ``util/entitlements``): by full name; the first
or all of a kind; or those that their description puts into a class. A device is had by who says ``--allow device``, or
names it, or if its description lets everybody have it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

from corten.build.instructions import Device
from corten.errors import InvalidInput
from corten.spec import cdi

RIGHT = "device"
"""All devices; ``device=NAME`` is some, ``device=NAME,alias=OTHER`` those for which the Dockerfile says OTHER."""
CLASS = "org.mobyproject.buildkit.device.class"
AUTO_ALLOW = "org.mobyproject.buildkit.device.autoallow"
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})


@dataclasses.dataclass(frozen=True, slots=True)
class Granted:
    """The full names of the devices that a command has, and those that it could do without, and does."""

    names: tuple[str, ...]
    missing: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Rights:
    everything: bool
    names: tuple[str, ...]
    aliases: Mapping[str, str]


def granted(asked: Sequence[Device], known: Mapping[str, cdi.Device], allowed: Sequence[str]) -> Granted:
    """What is given of what a command asks for; ``known`` by name, in the order of the names. Raises InvalidInput for a
    device that is required and not there, one that is not allowed, and a name that is none."""
    rights = _rights(allowed)
    given = {found for name in rights.names for found in _found(name, known)}
    names: dict[str, None] = {}
    missing, refused = [], []
    for device in asked:
        meant = rights.aliases.get(device.name, device.name)
        found = _found(meant, known)
        if not found and device.required:
            raise InvalidInput(
                f'required device "{device.name}" is not registered', hint="corten info lists those that are"
            )
        if not found:
            missing.append(device.name)
        for name in found:
            names[name] = None
            if not (rights.everything or meant != device.name or name in given or _is_open(known[name])):
                refused.append(name)
    if refused:
        raise _refusal(list(dict.fromkeys(refused)))
    return Granted(tuple(names), tuple(missing))


def _refusal(names: Sequence[str]) -> InvalidInput:
    kind = "device {} is" if len(names) == 1 else "devices {} are"
    flags = " ".join(f"--allow device={name}" for name in names)
    return InvalidInput(
        f"{kind.format(', '.join(names))} requested by the build but not allowed",
        hint=f"build with {flags}, or have the description of the device say {AUTO_ALLOW}",
    )


def _rights(allowed: Sequence[str]) -> _Rights:
    everything, names, aliases = False, [], {}
    for text in allowed:
        right, _, rest = text.partition("=")
        if right != RIGHT:
            continue
        name, *fields = rest.split(",")
        if not rest:
            everything = True
        alias = ""
        for field in fields:
            key, equals, alias = field.partition("=")
            if key != "alias" or not equals or not alias:
                raise InvalidInput(f"--allow {text}: {field!r} is not alias=NAME")
        if alias:
            aliases[alias] = name
        elif rest:
            names.append(name)
    return _Rights(everything, tuple(names), aliases)


def _found(name: str, known: Mapping[str, cdi.Device]) -> list[str]:
    """The devices of a name: ``KIND=NAME``, ``KIND=CLASS``, ``KIND=*``, or ``KIND`` for the first of them."""
    kind, _, rest = name.partition("=")
    if not cdi.is_kind(kind):
        raise InvalidInput(f'invalid device "{name}": it is not VENDOR/CLASS, or VENDOR/CLASS=NAME')
    if name in known:
        return [name]
    own = [device for device in known.values() if device.kind == kind]
    return list(_of(own, rest))


def _of(own: Sequence[cdi.Device], rest: str) -> Iterator[str]:
    if not rest:
        yield from (device.name for device in own[:1])
    elif rest == "*":
        yield from (device.name for device in own)
    else:
        yield from (device.name for device in own if device.annotations.get(CLASS) == rest)


def _is_open(device: cdi.Device) -> bool:
    return device.annotations.get(AUTO_ALLOW) in _TRUE
