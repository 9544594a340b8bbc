"""Which ids an ordinary user may use: its own, and the ranges of /etc/subuid and /etc/subgid (subuid(5))."""

from __future__ import annotations

import dataclasses
import os
import pwd
from collections.abc import Iterable, Iterator

from corten.sys.standing import Range

_HELPERS = ("/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/local/bin", "/run/wrappers/bin")
"""Where set-user-ID helpers are; what the caller's PATH says is the caller's."""
_MOST = 300
"""The kernel takes 340 ranges a map (user_namespaces(7)); what is far beyond any use is left out."""


@dataclasses.dataclass(frozen=True, slots=True)
class Helpers:
    """newuidmap(1) and newgidmap(1): they alone may give a user the ids that its administrator granted it."""

    uids: str
    gids: str


@dataclasses.dataclass(frozen=True, slots=True)
class Ids:
    """The maps of a namespace. Without ``helpers`` it is the one id that a user can map itself, and ``why`` says what
    is missing for more."""

    uids: tuple[Range, ...]
    gids: tuple[Range, ...]
    helpers: Helpers | None = None
    why: str = ""


def single(why: str) -> Ids:
    """This user is root inside, and nobody else is there."""
    return Ids(((0, os.geteuid(), 1),), ((0, os.getegid(), 1),), None, why)


def of_user(subuid: str = "/etc/subuid", subgid: str = "/etc/subgid", search: Iterable[str] = _HELPERS) -> Ids:
    """The ids of this user."""
    directories = tuple(search)
    missing = [name for name in ("newuidmap", "newgidmap") if not _find(name, directories)]
    if missing:
        return single(f"{' and '.join(missing)} not found: the package uidmap has them")
    names = _names()
    uids, gids = (tuple(_ranges(_lines(path), names)) for path in (subuid, subgid))
    if not uids or not gids:
        lacking = " and ".join(path for path, found in ((subuid, uids), (subgid, gids)) if not found)
        return single(
            f"no ids for this user in {lacking}; an administrator grants some, which no other user may have, with "
            f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {names[0]}"
        )
    helpers = Helpers(_find("newuidmap", directories), _find("newgidmap", directories))
    return Ids(_map(os.geteuid(), uids), _map(os.getegid(), gids), helpers)


def _find(name: str, directories: Iterable[str]) -> str:
    return next((path for one in directories if os.access(path := f"{one}/{name}", os.X_OK)), "")


def _names() -> tuple[str, ...]:
    """What the files may call this user: by name, or by number."""
    number = os.geteuid()
    try:
        return pwd.getpwuid(number).pw_name, str(number)
    except KeyError:
        return (str(number),)


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:  # no such file grants nothing
        return []


def _ranges(lines: Iterable[str], names: Iterable[str]) -> Iterator[tuple[int, int]]:
    """(first, count) of the lines that are this user's; what is no such line is nobody's, as for shadow."""
    for line in lines:
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in names and all(one.isascii() and one.isdigit() for one in fields[1:]):
            first, count = int(fields[1]), int(fields[2])
            if count and first + count < 2**32:
                yield first, count


def _map(own: int, granted: tuple[tuple[int, int], ...]) -> tuple[Range, ...]:
    """The user is root inside; what it was granted follows, without a hole."""
    ranges, next_inside = [(0, own, 1)], 1
    for first, count in granted[:_MOST]:
        ranges.append((next_inside, first, count))
        next_inside += count
    return tuple(ranges)
