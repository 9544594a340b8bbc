"""Processor time of the real-time classes (cgroup v1, Documentation/scheduler/sched-rt-group.rst).

A new group has none, and what the groups below one have must fit into what it has itself: before a container is given
its share, those above it are given as much more. The kernel's root keeps what the machine allows.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from fractions import Fraction

from corten.runtime.operations.cgroups import write

_PERIOD, _RUNTIME = "cpu.rt_period_us", "cpu.rt_runtime_us"


def give(mount: str, path: str, period: int | None, runtime: int | None) -> None:
    """Give a group ``runtime`` of each ``period``, both in microseconds; None leaves one as it is. Raises OSError: the
    kernel takes no more than the machine has left."""
    group = f"{mount}/{path}"
    period = period or _read(group, _PERIOD)
    wanted = Fraction(_read(group, _RUNTIME) if runtime is None else runtime, period)
    with _locked(mount):
        more = wanted - _share(group)
        if more > 0:
            _widen(mount, os.path.dirname(path), more)
        _set(group, period, int(wanted * period))


def _widen(mount: str, path: str, more: Fraction) -> None:
    """From the top, since nobody may have more than who is above."""
    at = mount
    for name in filter(None, path.split("/")):
        at = f"{at}/{name}"
        below = sum((_share(entry.path) for entry in os.scandir(at) if entry.is_dir()), Fraction(0))
        needed = below + more
        if needed > _share(at):
            period = _read(at, _PERIOD)
            write(f"{at}/{_RUNTIME}", str(-(-needed.numerator * period // needed.denominator)))


def _set(group: str, period: int, runtime: int) -> None:
    """In the order in which the share is at no moment more than it was or will be."""
    files = [(_PERIOD, period), (_RUNTIME, runtime)]
    for name, value in files if _read(group, _RUNTIME) <= runtime else reversed(files):
        write(f"{group}/{name}", str(value))


def _share(group: str) -> Fraction:
    try:
        return Fraction(_read(group, _RUNTIME), _read(group, _PERIOD))
    except FileNotFoundError:  # it ended meanwhile
        return Fraction(0)


def _read(group: str, name: str) -> int:
    with open(f"{group}/{name}") as file:
        return int(file.read())


@contextlib.contextmanager
def _locked(mount: str) -> Iterator[None]:
    """Against other starts, also of other engines: what is there is read before it is changed."""
    descriptor = os.open(mount, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
