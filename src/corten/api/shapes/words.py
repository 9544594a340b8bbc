"""States in words, as ``ps`` has them."""

from __future__ import annotations

import time

from corten.api.times import unix_seconds
from corten.engine.model import Health, State

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (
    (_MINUTE, 1, "seconds"), (2 * _MINUTE, 0, "About a minute"), (_HOUR, _MINUTE, "minutes"),
    (2 * _HOUR, 0, "About an hour"), (2 * _DAY, _HOUR, "hours"), (14 * _DAY, _DAY, "days"),
    (60 * _DAY, 7 * _DAY, "weeks"), (730 * _DAY, 30 * _DAY, "months"),
)  # fmt: skip


def duration(seconds: int) -> str:
    """A length of time as people say it: ``3 minutes``."""
    if seconds < 1:
        return "Less than a second"
    if seconds == 1:
        return "1 second"
    for bound, unit, words in _STEPS:
        if seconds < bound:
            return f"{seconds // unit} {words}" if unit else words
    return f"{seconds // (365 * _DAY)} years"


def status_line(state: State, health: Health | None = None) -> str:
    """``Up 3 minutes (healthy)``, ``Exited (0) 2 hours ago``."""
    now = int(time.time())
    if state.running:
        up = duration(now - unix_seconds(state.started_at))
        if state.paused:
            return f"Up {up} (Paused)"
        if state.restarting:
            return f"Restarting ({state.exit_code}) {duration(now - unix_seconds(state.finished_at))} ago"
        return f"Up {up}{_health_words(health)}"
    if state.restarting:
        return f"Restarting ({state.exit_code}) {duration(now - unix_seconds(state.finished_at))} ago"
    if state.status == "removing":
        return "Removal In Progress"
    if state.dead:
        return "Dead"
    if state.started_at.startswith("0001"):
        return "Created"
    if state.finished_at.startswith("0001"):
        return ""
    return f"Exited ({state.exit_code}) {duration(now - unix_seconds(state.finished_at))} ago"


def _health_words(health: Health | None) -> str:
    if health is None or health.status == "none":
        return ""
    return " (health: starting)" if health.status == "starting" else f" ({health.status})"
