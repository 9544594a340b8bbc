"""Health checks: what they run, what their results say, and who is told. Waited for by event, never by the clock."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import http, images
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

_MS = 10**6
_QUICK = {"Interval": 20 * _MS, "Timeout": 10_000 * _MS, "Retries": 2}


@pytest.fixture(autouse=True)
def _clean(shared_engine: Engine) -> Iterator[None]:
    yield
    for one in shared_engine.api("GET", "/containers/json?all=1").json:
        shared_engine.api("DELETE", f"/containers/{one['Id']}?force=1").check()


def _run(engine: Engine, name: str, check: dict[str, Any], command: str = "sleep 600") -> None:
    body = {"Image": "busybox", "Cmd": ["sh", "-c", command], "Healthcheck": check, "StopSignal": "SIGKILL"}
    engine.api("POST", f"/containers/create?name={name}", body).check()
    engine.api("POST", f"/containers/{name}/start").check()


def _first_event(engine: Engine, name: str, action: str) -> dict[str, Any]:
    """Replayed or live: the first event of that kind. The connection is closed after it."""
    filters = json.dumps({"container": [name], "event": [action]})
    connection = http.UnixConnection(engine.socket)
    try:
        connection.request("GET", f"/v1.51/events?since=1&filters={urllib.parse.quote(filters)}")
        found: dict[str, Any] = json.loads(connection.getresponse().readline())
    finally:
        connection.close()
    return found


def _health(engine: Engine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.inspect(name)["State"]["Health"]
    return found


def _status(engine: Engine, name: str) -> str:
    (row,) = engine.api("GET", f'/containers/json?filters={{"name":["{name}"]}}').json
    return str(row["Status"])


def test_a_check_that_succeeds_makes_it_healthy(shared_engine: Engine) -> None:
    _run(shared_engine, "well", {"Test": ["CMD-SHELL", "echo fine; echo also >&2"], **_QUICK})
    event = _first_event(shared_engine, "well", "health_status: healthy")
    assert event["Actor"]["Attributes"]["name"] == "well"
    health = _health(shared_engine, "well")
    assert (health["Status"], health["FailingStreak"]) == ("healthy", 0)
    first = health["Log"][0]
    assert (first["ExitCode"], sorted(first["Output"].split()), first["Start"] < first["End"]) == (
        0, ["also", "fine"], True,
    )  # fmt: skip
    assert _status(shared_engine, "well").endswith("(healthy)")


def test_it_is_starting_when_start_returns(shared_engine: Engine) -> None:
    _run(shared_engine, "early", {"Test": ["CMD", "true"], "Interval": 3600 * 1000 * _MS})
    assert _health(shared_engine, "early") == {"Status": "starting", "FailingStreak": 0, "Log": []}
    assert _status(shared_engine, "early").endswith("(health: starting)")


def test_failures_count_up_to_the_retries(shared_engine: Engine) -> None:
    _run(shared_engine, "ill", {"Test": ["CMD", "sh", "-c", "exit 3"], **_QUICK})
    _first_event(shared_engine, "ill", "health_status: unhealthy")
    health = _health(shared_engine, "ill")
    assert (health["Status"], health["FailingStreak"] >= 2, health["Log"][-1]["ExitCode"]) == ("unhealthy", True, 3)
    assert _status(shared_engine, "ill").endswith("(unhealthy)")


def test_it_recovers(shared_engine: Engine) -> None:
    check = {"Test": ["CMD", "sh", "-c", "test -e /recovered"], **_QUICK}
    _run(shared_engine, "again", check)
    _first_event(shared_engine, "again", "health_status: unhealthy")
    shared_engine.cli("exec", "again", "touch", "/recovered").check()
    _first_event(shared_engine, "again", "health_status: healthy")
    assert _health(shared_engine, "again")["FailingStreak"] == 0


def test_failures_of_the_start_period_do_not_count(shared_engine: Engine) -> None:
    """The first probes come at the start interval; their failures are in the log and not in the streak."""
    check = {"Test": ["CMD", "sh", "-c", "test -e /up"], "Interval": 3600 * 1000 * _MS, "Retries": 1,
             "StartPeriod": 3600 * 1000 * _MS, "StartInterval": 20 * _MS}  # fmt: skip
    _run(shared_engine, "slow", check)
    for _ in range(2):
        _first_event(shared_engine, "slow", "exec_die")
    assert _health(shared_engine, "slow")["Status"] == "starting"
    shared_engine.cli("exec", "slow", "touch", "/up").check()
    _first_event(shared_engine, "slow", "health_status: healthy")


def test_a_check_that_takes_too_long_is_killed(shared_engine: Engine) -> None:
    _run(shared_engine, "stuck", {"Test": ["CMD", "sleep", "500"], **_QUICK, "Timeout": 100 * _MS, "Retries": 1})
    _first_event(shared_engine, "stuck", "health_status: unhealthy")
    entry = _health(shared_engine, "stuck")["Log"][0]
    assert (entry["ExitCode"], entry["Output"]) == (-1, "Health check exceeded timeout (100ms)")


def test_a_command_that_is_not_there_is_a_failure(shared_engine: Engine) -> None:
    _run(shared_engine, "typo", {"Test": ["CMD", "/no/such"], **_QUICK, "Retries": 1})
    _first_event(shared_engine, "typo", "health_status: unhealthy")
    assert "/no/such" in _health(shared_engine, "typo")["Log"][0]["Output"]


def test_the_log_keeps_five_and_four_kilobytes_each(shared_engine: Engine) -> None:
    check = {"Test": ["CMD-SHELL", "n=$(cat /n 2>/dev/null || echo 0); n=$((n+1)); echo $n >/n; "
             "yes | head -c 9000; test $n -lt 7"], **_QUICK, "Retries": 1}  # fmt: skip
    _run(shared_engine, "chatty", check)
    _first_event(shared_engine, "chatty", "health_status: unhealthy")
    log = _health(shared_engine, "chatty")["Log"]
    assert (len(log), {len(entry["Output"]) for entry in log}) == (5, {4096})


def test_the_images_check_is_used_merged_and_switched_off(shared_engine: Engine, tmp_path: Path) -> None:
    shared_engine.cli("import", "--change", "HEALTHCHECK --interval=20ms --retries=2 CMD true", "-", "checked",
                      stdin=images.busybox_layer(tmp_path)).check()  # fmt: skip
    for name, options in (("own", []), ("fewer", ["--health-retries", "7"]), ("off", ["--no-healthcheck"])):
        shared_engine.docker("run", "-d", "--name", name, *options, "checked", "sleep", "600").check()
    for name, retries in (("own", 2), ("fewer", 7)):
        _first_event(shared_engine, name, "health_status: healthy")
        asked = shared_engine.inspect(name)["Config"]["Healthcheck"]
        assert asked == {"Test": ["CMD-SHELL", "true"], "Interval": 20 * _MS, "Retries": retries}
    assert "Health" not in shared_engine.inspect("off")["State"]


def test_ps_filters_by_health(shared_engine: Engine) -> None:
    _run(shared_engine, "good", {"Test": ["CMD", "true"], **_QUICK})
    _run(shared_engine, "bad", {"Test": ["CMD", "false"], **_QUICK, "Retries": 1})
    _run(shared_engine, "young", {"Test": ["CMD", "true"]})
    _run(shared_engine, "plain", {"Test": ["NONE"]})
    _first_event(shared_engine, "good", "health_status: healthy")
    _first_event(shared_engine, "bad", "health_status: unhealthy")
    for health, name in (("healthy", "good"), ("unhealthy", "bad"), ("starting", "young"), ("none", "plain")):
        told = shared_engine.docker("ps", "--filter", f"health={health}", "--format", "{{.Names}}").check().out
        assert told.split() == [name]
    assert shared_engine.docker("ps", "--filter", "health=splendid").code == 1


def test_who_stands_still_or_is_over_is_not_looked_at(shared_engine: Engine) -> None:
    _run(shared_engine, "halting", {"Test": ["CMD", "true"], **_QUICK})
    _first_event(shared_engine, "halting", "health_status: healthy")
    shared_engine.api("POST", "/containers/halting/pause").check()
    shared_engine.api("POST", "/containers/halting/unpause").check()
    shared_engine.api("POST", "/containers/halting/stop").check()
    assert _health(shared_engine, "halting")["Status"] == "unhealthy"
    assert shared_engine.inspect("halting")["ExecIDs"] is None


def test_the_next_engine_goes_on_checking(engine: Engine, busybox: str) -> None:
    _run(engine, "lasting", {"Test": ["CMD", "true"], **_QUICK})
    _first_event(engine, "lasting", "health_status: healthy")
    engine.restart()
    _first_event(engine, "lasting", "health_status: healthy")


@pytest.mark.parametrize(
    ("check", "said"),
    [
        ({"Interval": 5}, "Interval in Healthcheck cannot be less than 1ms"),
        ({"Timeout": -1}, "Timeout in Healthcheck cannot be less than 1ms"),
        ({"StartPeriod": 7}, "StartPeriod in Healthcheck cannot be less than 1ms"),
        ({"StartInterval": 7}, "StartInterval in Healthcheck cannot be less than 1ms"),
        ({"Retries": -1}, "Retries in Healthcheck cannot be negative"),
    ],
)
def test_nonsense_is_refused_in_dockerds_words(shared_engine: Engine, check: dict[str, Any], said: str) -> None:
    body = {"Image": "busybox", "Healthcheck": {"Test": ["CMD", "true"], **check}}
    answer = shared_engine.api("POST", "/containers/create", body)
    assert (answer.status, answer.json["message"]) == (400, said)
