"""Where this process stands with the kernel: root of the machine, or of a user namespace with what that is given.

This is what everything asks that works for both: ids that can be owned, devices that can be made, networks that can
be changed. It is read from the kernel, never told by options, so that it is also right for an engine that was started
by root inside somebody's user namespace.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os

_INITIAL = 0xEFFFFFFD
"""PROC_USER_INIT_INO: the inode of the machine's own user namespace (linux/proc_ns.h)."""
_NS_GET_USERNS = 0xB701

Range = tuple[int, int, int]
"""(first inside, first outside, how many): user_namespaces(7)."""


@dataclasses.dataclass(frozen=True, slots=True)
class Standing:
    """``initial``: in the machine's own user namespace; ``network``: the network namespace is this user
    namespace's to change."""

    initial: bool = True
    network: bool = True
    uids: tuple[Range, ...] = ((0, 0, 2**32 - 1),)
    gids: tuple[Range, ...] = ((0, 0, 2**32 - 1),)

    @property
    def is_single(self) -> bool:
        """Whether there is but one user or one group: every file is root's, and nobody else can run."""
        return not (_has(self.uids, 1) and _has(self.gids, 1))

    def has_gid(self, gid: int) -> bool:
        """Whether a group ID stands for one outside."""
        return _has(self.gids, gid)


MACHINE = Standing()
"""The machine's own root."""


def _has(ranges: tuple[Range, ...], id: int) -> bool:
    return any(first <= id < first + count for first, _, count in ranges)


def of_process() -> Standing:
    """Where this process stands now."""
    return Standing(
        initial=os.stat("/proc/self/ns/user").st_ino == _INITIAL,
        network=_owns("/proc/self/ns/net"),
        uids=_map("/proc/self/uid_map"),
        gids=_map("/proc/self/gid_map"),
    )


def _map(path: str) -> tuple[Range, ...]:
    with open(path) as file:
        rows = [[int(word) for word in line.split()] for line in file]
    return tuple((first, outside, count) for first, outside, count in rows)


def _owns(namespace: str) -> bool:
    """Whether a namespace belongs to this process's user namespace: NS_GET_USERNS, ioctl_ns(2). The kernel does not
    even name an owner that is further up."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        owner = fcntl.ioctl(descriptor, _NS_GET_USERNS)
    except PermissionError:
        return False
    finally:
        os.close(descriptor)
    try:
        return os.path.samestat(os.fstat(owner), os.stat("/proc/self/ns/user"))
    finally:
        os.close(owner)
