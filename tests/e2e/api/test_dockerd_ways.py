"""Ways of dockerd's that other projects' suites rely on, each found by one of them (``make interop``)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import http
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture
def sleeper(shared_engine: Engine) -> Iterator[str]:
    """A container that runs, without a network; removed whatever happens."""
    made = _run(shared_engine, "sleep", "600")
    yield made
    shared_engine.api("DELETE", f"/containers/{made}?force=1")


def _run(engine: Engine, *command: str, host: dict[str, Any] | None = None, **config: Any) -> str:
    """The ID of a new container, started."""
    host = {"NetworkMode": "none", **(host or {})}
    body = {"Image": "busybox", "Cmd": command, "StopSignal": "SIGKILL", "HostConfig": host, **config}
    id: str = engine.api("POST", "/containers/create", body).check().json["Id"]
    engine.api("POST", f"/containers/{id}/start").check()
    return id


def _exec(engine: Engine, container: str, start: dict[str, Any], **config: Any) -> http.Response:
    id = engine.api("POST", f"/containers/{container}/exec", config).check().json["Id"]
    return engine.api("POST", f"/exec/{id}/start", start)


def test_an_exec_is_framed_as_its_start_says(shared_engine: Engine, sleeper: str) -> None:
    """docker-py's ``exec_create(tty=True)`` and ``exec_start()``."""
    config = {"Cmd": ["echo", "hi"], "AttachStdout": True, "Tty": True}
    framed = _exec(shared_engine, sleeper, {"Detach": False}, **config)
    assert framed.body == b"\x01\0\0\0\0\0\0\x04hi\r\n"
    assert framed.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    raw = _exec(shared_engine, sleeper, {"Detach": False, "Tty": True}, **config)
    assert raw.body == b"hi\r\n"
    assert raw.headers["content-type"] == "application/vnd.docker.raw-stream"


def test_names_of_members_match_in_any_case(shared_engine: Engine, sleeper: str) -> None:
    """docker-py sends ``detachKeys``; Go's decoder does not mind."""
    body = {"cmd": ["true"], "detachKeys": "ctrl-x", "ATTACHSTDOUT": True}
    id = shared_engine.api("POST", f"/containers/{sleeper}/exec", body).check().json["Id"]
    shared_engine.api("POST", f"/exec/{id}/start", {"detach": False}).check()
    told = shared_engine.api("GET", f"/exec/{id}/json").check().json
    assert (told["DetachKeys"], told["OpenStdout"]) == ("ctrl-x", True)
    body = {"image": "busybox", "hostConfig": {"networkmode": "none", "RestartPolicy": {"name": "always"}}}
    id = shared_engine.api("POST", "/containers/create", body).check().json["Id"]
    host = shared_engine.inspect(id)["HostConfig"]
    shared_engine.api("DELETE", f"/containers/{id}").check()
    assert (host["NetworkMode"], host["RestartPolicy"]["Name"]) == ("none", "always")


def test_wait_is_told_of_an_end_though_a_start_follows(shared_engine: Engine) -> None:
    id = _run(shared_engine, "sh", "-c", "exit 3", host={"RestartPolicy": {"Name": "always"}})
    try:
        assert shared_engine.api("POST", f"/containers/{id}/wait").check().json["StatusCode"] == 3
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1").check()


def test_a_running_container_is_not_removed(shared_engine: Engine, sleeper: str) -> None:
    said = shared_engine.api("DELETE", f"/containers/{sleeper}")
    assert said.status == 409
    assert said.json["message"] == (
        f"You cannot remove a running container {sleeper}: container is running: "
        "stop the container before removal or force remove"
    )
    shared_engine.api("POST", f"/containers/{sleeper}/pause").check()
    said = shared_engine.api("DELETE", f"/containers/{sleeper}")
    assert "a paused container" in said.json["message"]
    assert "unpause and then stop the container before" in said.json["message"]


def test_a_bad_archive_is_told_in_the_stream(shared_engine: Engine) -> None:
    """docker-py raises its ImageLoadError for what stands in the stream, and another for a status."""
    answer = shared_engine.api("POST", "/images/load", b"abc")
    assert answer.status == 200
    assert "not an archive of images" in answer.json["error"]
    assert answer.json["errorDetail"]["message"] == answer.json["error"]


@pytest.mark.parametrize("name", ["runc", "io.containerd.runc.v2"])
def test_the_usual_runtime_has_dockerds_names(shared_engine: Engine, name: str) -> None:
    body = {"Image": "busybox", "HostConfig": {"Runtime": name, "NetworkMode": "none"}}
    id = shared_engine.api("POST", "/containers/create", body).check().json["Id"]
    told = shared_engine.inspect(id)["HostConfig"]["Runtime"]
    shared_engine.api("DELETE", f"/containers/{id}").check()
    assert told == name


def test_commit_of_a_container_that_just_ends(shared_engine: Engine) -> None:
    """Between the end of its last process and the engine's word of it, a container cannot be frozen."""
    for _ in range(8):
        id = _run(shared_engine, "true")
        image = shared_engine.api("POST", f"/commit?container={id}", {}).check().json["Id"]
        shared_engine.api("DELETE", f"/containers/{id}?force=1").check()
        shared_engine.api("DELETE", f"/images/{image}").check()
