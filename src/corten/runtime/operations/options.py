"""Mount options as mount(8) and the OCI specification name them, turned into flags."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable

from corten.errors import InvalidInput
from corten.sys import mounts as m

_SET = {
    "ro": m.MS_RDONLY, "nosuid": m.MS_NOSUID, "nodev": m.MS_NODEV, "noexec": m.MS_NOEXEC, "sync": m.MS_SYNCHRONOUS,
    "dirsync": m.MS_DIRSYNC, "noatime": m.MS_NOATIME, "nodiratime": m.MS_NODIRATIME, "relatime": m.MS_RELATIME,
    "strictatime": m.MS_STRICTATIME, "mand": m.MS_MANDLOCK, "nosymfollow": m.MS_NOSYMFOLLOW, "silent": m.MS_SILENT,
    "lazytime": m.MS_LAZYTIME,
}  # fmt: skip
_CLEAR = {
    "rw": m.MS_RDONLY, "suid": m.MS_NOSUID, "dev": m.MS_NODEV, "exec": m.MS_NOEXEC, "async": m.MS_SYNCHRONOUS,
    "atime": m.MS_NOATIME, "diratime": m.MS_NODIRATIME, "norelatime": m.MS_RELATIME, "nomand": m.MS_MANDLOCK,
    "nostrictatime": m.MS_STRICTATIME, "loud": m.MS_SILENT, "defaults": 0, "symfollow": m.MS_NOSYMFOLLOW,
}  # fmt: skip
_PROPAGATION = {
    "shared": m.MS_SHARED, "rshared": m.MS_SHARED | m.MS_REC,
    "slave": m.MS_SLAVE, "rslave": m.MS_SLAVE | m.MS_REC,
    "private": m.MS_PRIVATE, "rprivate": m.MS_PRIVATE | m.MS_REC,
    "unbindable": m.MS_UNBINDABLE, "runbindable": m.MS_UNBINDABLE | m.MS_REC,
}  # fmt: skip
_ATTRIBUTES = {
    m.MS_RDONLY: m.MOUNT_ATTR_RDONLY, m.MS_NOSUID: m.MOUNT_ATTR_NOSUID, m.MS_NODEV: m.MOUNT_ATTR_NODEV,
    m.MS_NOEXEC: m.MOUNT_ATTR_NOEXEC, m.MS_NOATIME: m.MOUNT_ATTR_NOATIME, m.MS_STRICTATIME: m.MOUNT_ATTR_STRICTATIME,
    m.MS_NODIRATIME: m.MOUNT_ATTR_NODIRATIME, m.MS_NOSYMFOLLOW: m.MOUNT_ATTR_NOSYMFOLLOW,
}  # fmt: skip
_RECURSIVE = ("rro", "rnosuid", "rnodev", "rnoexec", "rnoatime", "rstrictatime", "rnodiratime", "rnosymfollow")
KNOWN = frozenset({*_SET, *_CLEAR, *_PROPAGATION, *_RECURSIVE, "bind", "rbind"})
"""Every option that is not the file system's own."""


@dataclasses.dataclass(frozen=True, slots=True)
class MountOptions:
    """``flags`` for mount(2), ``propagation`` for a second call (0: none), ``data`` for the file system."""

    flags: int
    propagation: int
    data: str
    bind: bool
    recursive: bool
    recursive_attributes: int

    @property
    def shared(self) -> bool:
        """Whether mounts made in the container are to appear outside."""
        return bool(self.propagation & m.MS_SHARED)

    def attributes(self) -> int:
        """The flags as MOUNT_ATTR_… bits."""
        return sum(attribute for flag, attribute in _ATTRIBUTES.items() if self.flags & flag)


def parse(options: Iterable[str], kind: str = "") -> MountOptions:
    """The meaning of a list of options. Raises InvalidInput for nonsense."""
    return _parse(tuple(options), kind)


@functools.lru_cache(maxsize=256)  # most mounts are the same in every container
def _parse(options: tuple[str, ...], kind: str) -> MountOptions:
    flags = propagation = recursive_attributes = 0
    bind, recursive, data = kind == "bind", False, []
    for option in options:
        if option in _RECURSIVE:
            recursive_attributes |= _ATTRIBUTES[_SET[option[1:]]]
        elif option in ("bind", "rbind"):
            bind, recursive = True, option == "rbind"
        elif option in _PROPAGATION:
            propagation = _PROPAGATION[option]
        elif option in _SET:
            flags |= _SET[option]
        elif option in _CLEAR:
            flags &= ~_CLEAR[option]
        elif "," in option or "\0" in option:
            raise InvalidInput(f"mount option {option!r}: not one option")
        else:
            data.append(option)
    return MountOptions(flags, propagation, ",".join(data), bind, recursive, recursive_attributes)
