"""Interleaved samples: A B C A B C …, so that a machine that drifts drifts for all."""

from __future__ import annotations

import dataclasses
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Samples:
    """Wall times in milliseconds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one, in milliseconds."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        return f"{self.median:.1f} ({min(self.values):.1f}-{max(self.values):.1f})"


def interleave(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Samples]:
    """Time each action ``rounds`` times, in turn, after one turn that is not counted."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for number in range(rounds + 1):
        for name, action in actions.items():
            elapsed = timed(action)
            if number:
                times[name].append(elapsed)
    return {name: Samples(tuple(values)) for name, values in times.items()}


def timed(action: Callable[[], object]) -> float:
    """How long one call takes, in milliseconds."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def faults(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """The page faults of a process from its start to its exit. Raises CalledProcessError when that is not 0.

    They are the same at every run, within a few, however busy the machine is.
    """
    process = subprocess.Popen(
        argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(argv))
    return usage.ru_minflt + usage.ru_majflt


def command(argv: Sequence[str], environment: Mapping[str, str]) -> Callable[[], None]:
    """An action: a process, from its start to its exit. It raises CalledProcessError when that is not 0."""

    def act() -> None:
        subprocess.run(
            argv, env=environment, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    return act
