"""Reading a container's log."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a log a client wants; ``since`` and ``until`` are nanoseconds since the epoch."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    since: int | None = None
    until: int | None = None
    timestamps: bool = False
    details: bool = False
    tail: int | None = None
    """How many of the last lines; None is all."""
