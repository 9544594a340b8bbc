"""What the API says when it cannot: dockerd's statuses and sentences, which tools look into."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from corten.api.router import DEFAULT, MINIMUM, NEWEST
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

_NOT_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)


@pytest.fixture(scope="module")
def id(shared_engine: Engine) -> Iterator[str]:
    """A running container called ``there``, and one that ended, ``ended``."""
    for name, command in (("there", ["sleep", "600"]), ("ended", ["true"])):
        body = {"Image": "busybox", "Cmd": command, "StopSignal": "SIGKILL"}
        shared_engine.api("POST", f"/containers/create?name={name}", body).check()
        shared_engine.api("POST", f"/containers/{name}/start").check()
    shared_engine.api("POST", "/containers/ended/wait").check()
    yield shared_engine.inspect("there")["Id"]
    for name in ("there", "ended"):
        shared_engine.api("DELETE", f"/containers/{name}?force=1").check()


def _says(engine: Engine, method: str, target: str, body: Any = None) -> tuple[int, str]:
    answer = engine.api(method, target, body)
    return answer.status, answer.json["message"] if answer.body else ""


@pytest.mark.parametrize(
    ("method", "target", "status", "said"),
    [
        ("GET", "/nothing", 404, "page not found"),
        ("PUT", "/info", 404, "page not found"),
        ("GET", "/vabc/info", 404, "page not found"),
        ("GET", "/v1.99/info", 400,
         f"client version 1.99 is too new. Maximum supported API version is 1.{NEWEST[1]}"),
        ("GET", "/containers/nope/json", 404, "No such container: nope"),
        ("POST", "/containers/nope/start", 404, "No such container: nope"),
        ("POST", "/containers/there/start", 304, ""),
        ("POST", "/containers/ended/stop", 304, ""),
        ("POST", "/containers/there/kill?signal=FOO", 400, "invalid signal: FOO"),
        ("POST", "/containers/ended/kill", 409, "cannot kill container: ended: container {ended} is not running"),
        ("POST", "/containers/there/rename?name=", 400, "Neither old nor new names may be empty"),
        ("POST", "/containers/there/rename?name=there", 400,
         "Renaming a container with the same name as its current name"),
        ("POST", "/containers/there/rename?name=a", 400,
         "Invalid container name (a), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        ("POST", "/containers/there/wait?condition=foo", 400, 'invalid condition: "foo"'),
        ("GET", "/containers/there/logs", 400, "Bad parameters: you must choose at least one stream"),
        ("GET", "/containers/there/archive?path=/nope", 404, "Could not find the file /nope in container {there}"),
        ("GET", "/containers/json?filters={%22foo%22:[%22a%22]}", 400, "invalid filter 'foo'"),
        ("GET", "/containers/ended/top", 409, "container {ended} is not running"),
        ("POST", "/containers/there/unpause", 409, "container {there} is not paused"),
        ("GET", "/images/nope/json", 404, "No such image: nope:latest"),
        ("DELETE", "/images/nope", 404, "No such image: nope:latest"),
        ("POST", "/images/busybox/tag?repo=A:b", 400,
         "invalid reference format: repository name (library/A) must be lowercase"),
        ("GET", "/volumes/nope", 404, "get nope: no such volume"),
        ("DELETE", "/volumes/nope?force=1", 204, ""),
        ("GET", "/networks/nope", 404, "network nope not found"),
        ("DELETE", "/networks/bridge", 403, "bridge is a pre-defined network and cannot be removed"),
        ("GET", "/exec/nope/json", 404, "No such exec instance: nope"),
        ("POST", "/swarm/leave", 503, "This node is not part of a swarm"),
        ("POST", "/session", 400, "no upgrade proto in request"),
        ("POST", "/commit", 400, 'invalid name or ID supplied: ""'),
        ("GET", "/plugins/x/json", 404, 'plugin "x" not found'),
        *((method, f"/{noun}{rest}", 503, _NOT_MANAGER)
          for noun in ("nodes", "services", "tasks", "secrets", "configs")
          for method, rest in (("GET", ""), ("GET", "/x"))),
        *((method, target, 503, _NOT_MANAGER) for method, target in (
            ("GET", "/swarm"), ("POST", "/services/create"), ("DELETE", "/services/x"), ("POST", "/secrets/create"),
            ("POST", "/nodes/x/update"), ("GET", "/services/x/logs"), ("PUT", "/volumes/x"),
        )),
    ],
)  # fmt: skip
def test_it_says_what_dockerd_says(
    shared_engine: Engine, id: str, method: str, target: str, status: int, said: str
) -> None:
    ids = {name: shared_engine.inspect(name)["Id"] for name in ("there", "ended") if f"{{{name}}}" in said}
    assert _says(shared_engine, method, target) == (status, said.format(**ids) if ids else said)


def test_a_build_of_nothing(shared_engine: Engine) -> None:
    answer = shared_engine.api("POST", "/build", b"")
    assert (answer.status, answer.json["message"]) == (400, "Cannot locate specified Dockerfile: Dockerfile")
    assert shared_engine.api("POST", "/build?version=2", b"").status == 501


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 400, "got EOF"),
        (b"{", 400, "invalid JSON"),
        (b"[]", 400, "invalid JSON"),
        ({"Image": "nope"}, 404, "No such image: nope:latest"),
        ({"Image": "Busy:box"}, 400, "must be lowercase"),
        ({"Image": "busybox", "Cmd": 5}, 400, "invalid JSON"),
        ({"Image": "busybox@sha256:" + "0" * 64}, 404, "No such image: busybox@sha256:"),
        ({"Image": ""}, 400, "invalid reference format"),
    ],
)
def test_create_refuses_what_is_malformed(shared_engine: Engine, body: Any, status: int, said: str) -> None:
    told = _says(shared_engine, "POST", "/containers/create", body)
    assert (told[0], said in told[1]) == (status, True), told


def test_a_name_that_is_taken(shared_engine: Engine, id: str) -> None:
    for name in ("there", "/there"):
        told = _says(shared_engine, "POST", f"/containers/create?name={name}", {"Image": "busybox"})
        assert told == (
            409,
            f'Conflict. The container name "/there" is already in use by container "{id}". You have to remove (or '
            "rename) that container to be able to reuse that name.",
        )


def test_ids_in_part_names_with_the_slash_and_what_is_ambiguous(shared_engine: Engine, id: str) -> None:
    for ref in (id, id[:12], id[:4], "there", "/there", "%2Fthere"):
        assert shared_engine.api("GET", f"/containers/{ref}/json").check().json["Id"] == id
    made: list[str] = []
    try:
        while len({one[0] for one in made}) == len(made):  # until two begin with the same digit
            made.append(shared_engine.api("POST", "/containers/create", {"Image": "busybox"}).check().json["Id"])
        told = _says(shared_engine, "GET", f"/containers/{made[-1][0]}/json")
        assert told == (400, f"Multiple IDs found with provided prefix: {made[-1][0]}")
    finally:
        for one in made:
            shared_engine.api("DELETE", f"/containers/{one}").check()


def test_images_are_found_by_all_their_names(shared_engine: Engine) -> None:
    image = shared_engine.api("GET", "/images/busybox/json").check().json["Id"]
    short = image.removeprefix("sha256:")
    for ref in (image, short, short[:12], "busybox", "busybox:latest", "docker.io/library/busybox",
                f"busybox@{image}", f"busybox:latest@{image}"):  # fmt: skip
        assert shared_engine.api("GET", f"/images/{ref}/json").check().json["Id"] == image, ref


def test_ping_has_its_headers_for_get_and_head(shared_engine: Engine) -> None:
    got, head = (shared_engine.api(method, "/_ping") for method in ("GET", "HEAD"))
    assert (got.body, head.body) == (b"OK", b"")
    for answer in (got, head):
        said = {name: answer.headers[name] for name in ("api-version", "docker-experimental", "ostype", "swarm",
                                                         "builder-version", "cache-control", "pragma")}  # fmt: skip
        assert said == {
            "api-version": f"1.{DEFAULT[1]}", "docker-experimental": "false", "ostype": "linux", "swarm": "inactive",
            "builder-version": "1", "cache-control": "no-cache, no-store, must-revalidate", "pragma": "no-cache",
        }  # fmt: skip
        assert answer.headers["server"].startswith("Corten/")


def test_the_versions_of_the_api_are_told_alike(shared_engine: Engine) -> None:
    version = shared_engine.api("GET", "/version").json
    engine = next(one for one in version["Components"] if one["Name"] == "Engine")["Details"]
    for told in (version, engine):
        assert (told["ApiVersion"], told["MinAPIVersion"]) == (f"1.{DEFAULT[1]}", f"1.{MINIMUM[1]}")


@pytest.mark.parametrize(
    ("host", "status", "said"),
    [
        ({"CpuRealtimeRuntime": 1000, "CpuRealtimePeriod": 500}, 400, "real-time"),
        ({"StorageOpt": {"size": "10G"}}, 400, "--storage-opt is supported only for overlay over xfs"),
        ({"UsernsMode": "odd"}, 400, "invalid USER mode: odd"),
        ({"Runtime": "kata"}, 400, "unknown or invalid runtime name: kata"),
        ({"Isolation": "hyperv"}, 400, 'invalid isolation "hyperv" on linux'),
        ({"DeviceRequests": [{"Driver": "nvidia", "Capabilities": [["gpu"]]}]}, 400,
         'could not select device driver "nvidia" with capabilities: [[gpu]]'),
        ({"VolumeDriver": "odd", "Binds": ["v:/v"]}, 404, 'plugin "odd" not found'),
        ({"LogConfig": {"Type": "odd"}}, 400, "no log driver named 'odd' is registered"),
        ({"Mounts": [{"Type": "npipe", "Target": "/x"}]}, 400, "mount type unknown"),
        ({"SecurityOpt": ["odd"]}, 400, "invalid --security-opt"),
        ({"RestartPolicy": {"Name": "odd"}}, 400, "odd"),
        ({"PidMode": "odd"}, 400, "invalid PID mode: odd"),
        ({"Ulimits": [{"Name": "odd"}]}, 400, "invalid ulimit type: odd"),
        ({"CapAdd": ["ODD"]}, 400, 'invalid capability: "CAP_ODD"'),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused(
    shared_engine: Engine, id: str, host: dict[str, Any], status: int, said: str
) -> None:
    told = _says(shared_engine, "POST", "/containers/create", {"Image": "busybox", "HostConfig": host})
    assert (told[0], said in told[1]) == (status, True), told


@pytest.mark.parametrize(
    ("networks", "status", "said"),
    [
        ({"bridge": {}, "host": {}}, 400, "container cannot be connected to multiple networks"),
        ({"bridge": {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}}, 400, "supported on user defined networks only"),
        ({"bridge": {"Aliases": ["a"]}}, 400, "only for containers in user defined networks"),
        ({"mine": {"IPAMConfig": {"IPv6Address": "172.17.0.9"}}}, 400, "invalid IPv6 address: 172.17.0.9"),
        ({"mine": {"IPAMConfig": {"LinkLocalIPs": ["fe80::2", "10.0.0.1"]}}}, 400,
         "invalid link-local IP address: 10.0.0.1"),
        ({"mine": {"DriverOpts": {"com.docker.network.endpoint.ifname": "a/b"}}}, 400, "invalid interface name 'a/b'"),
        ({"mine": {"DriverOpts": {"com.docker.network.endpoint.sysctls": "net.ipv4.conf.all.forwarding=1"}}}, 400,
         "unrecognised network interface sysctl"),
        ({"bridge": {"DriverOpts": {"com.docker.network.a": "b"}}}, 501, "driver options"),
    ],
)  # fmt: skip
def test_networks_that_cannot_be_joined_are_refused(
    shared_engine: Engine, networks: dict[str, Any], status: int, said: str
) -> None:
    body = {"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": networks}}
    told = _says(shared_engine, "POST", "/containers/create", body)
    assert (told[0], said in told[1]) == (status, True), told


def test_what_is_discarded_is_warned_of(shared_engine: Engine) -> None:
    host = {"BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 100}], "OomKillDisable": True,
            "VolumeDriver": "local", "Mounts": [{"Type": "volume", "Target": "/v"}]}  # fmt: skip
    made = shared_engine.api("POST", "/containers/create", {"Image": "busybox", "HostConfig": host}).check().json
    warnings = json.dumps(made["Warnings"])
    try:
        assert "Weight-device discarded" in warnings
        assert "volume-driver configuration is ignored" in warnings
        # Version 2 of control groups cannot; version 1 can, and is told that it is dangerous.
        assert "OomKillDisable discarded" in warnings or "no memory limit is set" in warnings
        assert shared_engine.inspect(made["Id"])["HostConfig"]["BlkioWeightDevice"] is None
    finally:
        shared_engine.api("DELETE", f"/containers/{made['Id']}?v=1").check()
