"""Platforms, ``os/architecture[/variant]``, and the choice of one among those that an index offers."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from corten.errors import InvalidInput

_COMPONENT = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_SYSTEMS = ("linux", "windows", "darwin", "freebsd")
_KNOWN = frozenset(
    "386 amd64 arm arm64 loong64 mips mips64 mips64le mipsle ppc64 ppc64le riscv64 s390x wasm".split()
)
_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armv7l": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv6l": ("arm", "v6"),
    "i386": ("386", ""),
    "i686": ("386", ""),
}
# What each variant can also run, best first (containerd/platforms).
_ALSO_RUNS = {"arm64": (("arm", "v8"), ("arm", "v7"), ("arm", "v6"), ("arm", "v5")), "amd64": (("386", ""),)}
_ARM = ("v8", "v7", "v6", "v5")


@dataclasses.dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on, in Go's names; ``str()`` is the form that users write."""

    os: str = "linux"
    architecture: str = ""
    variant: str = ""
    os_version: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)

    def normalized(self) -> Platform:
        """The same platform with canonical names: arm64/v8 is arm64, arm without a variant is v7."""
        architecture, implied = _ARCHITECTURES.get(self.architecture.lower(), (self.architecture.lower(), ""))
        variant = self.variant.lower() or implied
        if variant and variant[0].isdigit():
            variant = f"v{variant}"
        if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
            variant = ""
        if (architecture, variant) == ("arm", ""):
            variant = "v7"
        return Platform(self.os.lower() or "linux", architecture, variant, self.os_version)


def parse(text: str, default: Platform) -> Platform:
    """Read ``os[/arch[/variant]]`` or a sole architecture; ``default`` has the rest. Raises InvalidInput."""
    parts = text.split("/")
    for part in parts:
        if not _COMPONENT.fullmatch(part):
            raise InvalidInput(f'"{part}" is an invalid component of "{text}": invalid platform specifier')
    if len(parts) == 1:
        sole = parts[0].lower()
        if sole in _SYSTEMS:
            return Platform(sole, default.architecture, default.variant)
        if sole not in _ARCHITECTURES and sole not in _KNOWN:
            raise InvalidInput(f'"{text}": unknown operating system or architecture: invalid argument')
        return Platform(default.os, sole).normalized()
    if len(parts) > 3:
        raise InvalidInput(f'"{text}": cannot parse platform specifier: invalid argument')
    return Platform(*parts).normalized()


def of_machine(machine: str) -> Platform:
    """The platform of a Linux machine by uname(2)'s name of it."""
    return Platform("linux", machine).normalized()


def acceptable(wanted: Platform) -> tuple[Platform, ...]:
    """What runs where ``wanted`` is asked for, best first."""
    wanted = wanted.normalized()
    found = [wanted]
    if wanted.architecture == "arm" and wanted.variant in _ARM:
        lesser = _ARM[_ARM.index(wanted.variant) + 1 :]
        found += [Platform(wanted.os, "arm", variant) for variant in lesser]
    elif wanted.variant:
        found.append(Platform(wanted.os, wanted.architecture))
    found += [Platform(wanted.os, *other) for other in _ALSO_RUNS.get(wanted.architecture, ())]
    return tuple(found)


def choose(offered: Sequence[Platform | None], wanted: Platform) -> int | None:
    """The index of the best match among ``offered`` (None: for no platform); None when nothing matches."""
    plain = [one and dataclasses.replace(one.normalized(), os_version="") for one in offered]
    for candidate in acceptable(wanted):
        if candidate in plain:
            return plain.index(candidate)
    return None
