"""Users and groups of a container, read from its own /etc/passwd and /etc/group.

The files are the image's: hostile. They are read with a bound, and only if they are regular files.
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Iterator

from corten.errors import InvalidInput
from corten.spec.runtime import User

_LARGEST = 4 << 20
_HIGHEST_ID = 2**31 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Account:
    """Who a process is: numbers, and its home directory."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def look_up(user: User, root: str = "") -> Account:
    """The account of ``name[:group]``, or of the numbers where no name is given.

    As Docker does: a number that no line has is taken as it is, with group 0; with a group given, the
    supplementary groups of the user do not apply. Where no name is given, numbers are taken as they are, and only
    the home directory is looked up, as the OCI specification wants it. Raises InvalidInput for a name that is not
    there.
    """
    passwd = list(_lines(f"{root}/etc/passwd", 7))
    name, _, group = user.name.partition(":")
    entry = _find_user(passwd, name or str(user.uid))
    if name and not entry and not _is_id(name):
        raise InvalidInput(f"unable to find user {name}: no matching entries in passwd file")
    uid = int(entry[2]) if entry else _id(name or str(user.uid))
    gid = int(entry[3]) if entry and name else user.gid
    groups = list(_lines(f"{root}/etc/group", 4))
    if group:
        gid = _group(groups, group)
        own: list[int] = []
    else:
        own = [int(line[2]) for line in groups if name and entry and entry[0] in line[3].split(",")]
    own += user.additional_gids
    own += (_group(groups, one) for one in user.additional_groups)
    if user.name:
        # The primary group is among the supplementary ones: a file that denies its group stays denied (CVE-2022-36109).
        own.insert(0, gid)
    return Account(uid, gid, tuple(dict.fromkeys(own)), entry[5] if entry and entry[5] else "/")


def _find_user(passwd: list[list[str]], wanted: str) -> list[str] | None:
    """By name first, then by number: a user may be called 1000."""
    for column in (0, 2):
        for line in passwd:
            if line[column] == wanted:
                return line
    return None


def _group(groups: list[list[str]], wanted: str) -> int:
    for column in (0, 2):
        for line in groups:
            if line[column] == wanted:
                return int(line[2])
    if not _is_id(wanted):
        raise InvalidInput(f"unable to find group {wanted}: no matching entries in group file")
    return _id(wanted)


def _is_id(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.isdigit()


def _id(text: str) -> int:
    if not _is_id(text) or not 0 <= int(text) <= _HIGHEST_ID:
        raise InvalidInput(f"user or group {text}: uids and gids must be in range 0-{_HIGHEST_ID}")
    return int(text)


def _lines(path: str, fields: int) -> Iterator[list[str]]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # an image without users has numbers only
        return
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return
        text = file.read(_LARGEST).decode("utf-8", "surrogateescape")
    for line in text.splitlines():
        parts = line.strip().split(":")
        if len(parts) >= fields and _is_id(parts[2]) and (fields < 7 or _is_id(parts[3])):
            yield parts
