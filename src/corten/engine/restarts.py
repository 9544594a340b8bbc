"""When an ended container starts again, and after how long."""

from __future__ import annotations

from corten.engine.model import HostConfig, RestartPolicy
from corten.errors import InvalidInput

_FIRST, _LONGEST = 0.1, 60.0
_STEADY = 10.0
"""Seconds after which a run counts as good and the delay begins anew."""


def validate(host: HostConfig) -> None:
    """Raises InvalidInput in Docker's words."""
    policy = host.restart_policy
    if policy.name not in ("", "no", "always", "unless-stopped", "on-failure"):
        raise InvalidInput(
            f"invalid restart policy: unknown policy '{policy.name}'; use one of 'no', 'always', 'on-failure', "
            "or 'unless-stopped'"
        )
    if policy.maximum_retry_count and policy.name != "on-failure":
        raise InvalidInput("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if policy.maximum_retry_count < 0:
        raise InvalidInput("invalid restart policy: maximum retry count cannot be negative")
    if host.auto_remove and policy.name not in ("", "no"):
        raise InvalidInput("can't create 'AutoRemove' container with restart policy")


def wants_restart(policy: RestartPolicy, *, exit_code: int, restarts: int, stopped_by_user: bool) -> bool:
    """Whether a container that ended is started again."""
    if stopped_by_user:
        return False
    if policy.name == "on-failure":
        return exit_code != 0 and (not policy.maximum_retry_count or restarts < policy.maximum_retry_count)
    return policy.name in ("always", "unless-stopped")


def wants_start(policy: RestartPolicy, *, exit_code: int, stopped_by_user: bool) -> bool:
    """Whether an engine that starts, starts a container that it finds ended."""
    if policy.name == "always":
        return True
    if policy.name == "unless-stopped":
        return not stopped_by_user
    return policy.name == "on-failure" and not stopped_by_user and exit_code != 0


def delay(previous: float, ran: float) -> float:
    """Seconds before the next start, doubling from 0.1 to 60; ``ran`` is how long the last run was."""
    if ran >= _STEADY or not previous:
        return _FIRST
    return min(previous * 2, _LONGEST)
