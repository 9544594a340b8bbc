"""What results of health checks make of a container's health, and what a check executes."""

from __future__ import annotations

import pytest

from corten.engine import health
from corten.engine.clock import format_time
from corten.engine.model import ContainerConfig, Health, HealthConfig, HealthResult
from corten.errors import InvalidInput

_STARTED = 1_700_000_000_000_000_000
_SECOND = 10**9


def _result(code: int, seconds: int = 0) -> HealthResult:
    moment = format_time(_STARTED + seconds * _SECOND)
    return HealthResult(moment, moment, code, "")


def _after(*codes: int, start: Health, retries: int = 3, grace: int = 0) -> Health:
    for seconds, code in enumerate(codes):
        start = health.judged(start, _result(code, seconds), retries=retries, grace=_STARTED + grace * _SECOND)
    return start


@pytest.mark.parametrize(
    ("codes", "status", "streak"),
    [
        ((), "starting", 0),
        ((0,), "healthy", 0),
        ((1, 1), "starting", 2),
        ((1, 1, 1), "unhealthy", 3),
        ((1, 1, 0), "healthy", 0),
        ((0, 1, 1), "healthy", 2),
        ((0, 1, 1, 1), "unhealthy", 3),
        ((1, 1, 1, 0), "healthy", 0),
        ((-1, 2, 137), "unhealthy", 3),
    ],
)
def test_a_streak_of_failures_and_one_success(codes: tuple[int, ...], status: str, streak: int) -> None:
    found = _after(*codes, start=Health("starting"))
    assert (found.status, found.failing_streak) == (status, streak)


def test_failures_within_the_start_period_do_not_count_until_it_was_healthy() -> None:
    early = _after(1, 1, 1, 1, start=Health("starting"), grace=10)
    assert (early.status, early.failing_streak, len(early.log)) == ("starting", 0, 4)
    late = _after(1, 1, 1, 1, start=Health("starting"), grace=2)
    assert (late.status, late.failing_streak) == ("starting", 2)
    once = _after(0, 1, 1, 1, start=Health("starting"), grace=10)
    assert once.status == "unhealthy"


def test_five_results_are_remembered() -> None:
    found = _after(*range(9), start=Health("starting"))
    assert [one.exit_code for one in found.log] == [4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("test", "shell", "argv"),
    [
        (None, None, []),
        ([], None, []),
        (["NONE"], None, []),
        (["CMD", "a", "b"], None, ["a", "b"]),
        (["CMD-SHELL", "a && b"], None, ["/bin/sh", "-c", "a && b"]),
        (["CMD-SHELL", "a"], ["/bin/bash", "-ec"], ["/bin/bash", "-ec", "a"]),
        (["ODD", "a"], None, []),
    ],
)
def test_what_is_executed(test: list[str] | None, shell: list[str] | None, argv: list[str]) -> None:
    assert health.command(ContainerConfig(healthcheck=HealthConfig(test), shell=shell)) == argv


def test_a_millisecond_is_the_least() -> None:
    health.validate(HealthConfig(interval=10**6, timeout=10**6, start_period=10**6, start_interval=10**6))
    with pytest.raises(InvalidInput, match="StartInterval in Healthcheck cannot be less than 1ms"):
        health.validate(HealthConfig(start_interval=10**6 - 1))
