"""What differs between the versions of the API, as the published version history names it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture(autouse=True)
def _clean(shared_engine: Engine) -> Iterator[None]:
    yield
    for one in shared_engine.api("GET", "/containers/json?all=1").json:
        shared_engine.api("DELETE", f"/containers/{one['Id']}?force=1&v=1").check()


def _get(engine: Engine, version: str, target: str) -> Any:
    return engine.api("GET", f"/v{version}{target}").check().json


@pytest.mark.parametrize(
    ("target", "path", "with_", "without"),
    [
        ("/images/busybox/json", ("VirtualSize",), "1.43", "1.44"),
        ("/images/busybox/json", ("ContainerConfig",), "1.44", "1.45"),
        ("/images/busybox/json", ("Config", "Hostname"), "1.49", "1.50"),
        ("/images/busybox/json", ("Config", "OnBuild"), "1.51", "1.52"),
        ("/images/busybox/json", ("DockerVersion",), "1.51", "1.52"),
        ("/images/busybox/json", ("Descriptor",), "1.48", "1.47"),
        ("/images/busybox/json?manifests=1", ("Manifests",), "1.48", "1.47"),
        ("/info", ("BridgeNfIptables",), "1.49", "1.50"),
        ("/info", ("FirewallBackend",), "1.49", "1.48"),
        ("/info", ("DiscoveredDevices",), "1.50", "1.49"),
        ("/info", ("CDISpecDirs",), "1.44", "1.43"),
        ("/info", ("CgroupVersion",), "1.41", "1.40"),
        ("/info", ("RuncCommit", "Expected"), "1.48", "1.49"),
        ("/info", ("Runtimes", "corten", "status"), "1.44", "1.43"),
        ("/system/df", ("LayersSize",), "1.52", "1.53"),
        ("/system/df", ("ImageUsage",), "1.52", "1.51"),
        ("/system/df?verbose=1", ("ImageUsage", "Items"), "1.52", "1.51"),
        ("/system/df", ("BuilderSize",), "1.41", "1.42"),
        ("/networks/bridge", ("Status",), "1.52", "1.51"),
    ],
)
def test_members_come_and_go(
    shared_engine: Engine, target: str, path: tuple[str, ...], with_: str, without: str
) -> None:
    def has(version: str) -> bool:
        value = _get(shared_engine, version, target)
        for name in path[:-1]:
            value = value.get(name, {})
        return path[-1] in value

    assert (has(with_), has(without)) == (True, False)


def test_a_container_from_version_to_version(shared_engine: Engine) -> None:
    body = {"Image": "busybox", "Cmd": ["sleep", "600"], "HostConfig": {"Annotations": {"a": "b"}}}
    shared_engine.api("POST", "/containers/create?name=one", body).check()
    shared_engine.api("POST", "/containers/one/start").check()
    old, new = (_get(shared_engine, version, "/containers/one/json") for version in ("1.51", "1.52"))
    (place,) = new["NetworkSettings"]["Networks"].values()
    assert old["NetworkSettings"]["IPAddress"] == place["IPAddress"] != ""
    assert sorted(new["NetworkSettings"]) == ["Networks", "Ports", "SandboxID", "SandboxKey"]
    assert ("OnBuild" in old["Config"], "OnBuild" in new["Config"]) == (True, False)
    for version, annotated in (("1.45", False), ("1.46", True)):
        (row,) = _get(shared_engine, version, "/containers/json")
        assert ("Annotations" in row["HostConfig"]) == annotated
    (found,) = _get(shared_engine, "1.56", '/containers/json?filters={"annotation":["a=b"]}')
    assert found["Names"] == ["/one"]
    assert _get(shared_engine, "1.56", '/containers/json?filters={"annotation":["a=c"]}') == []


def test_untagged_images_had_words_for_names(shared_engine: Engine) -> None:
    shared_engine.docker("run", "--name", "work", "busybox", "touch", "/x").check()
    made = shared_engine.api("POST", "/commit?container=work").check().json["Id"]
    try:
        for version, tags, digests in (("1.42", ["<none>:<none>"], ["<none>@<none>"]), ("1.43", [], [])):
            row = next(one for one in _get(shared_engine, version, "/images/json") if one["Id"] == made)
            assert (row["RepoTags"], row["RepoDigests"]) == (tags, digests)
        for version, users in (("1.50", -1), ("1.51", 0)):
            row = next(one for one in _get(shared_engine, version, "/images/json") if one["Id"] == made)
            assert row["Containers"] == users
    finally:
        shared_engine.api("DELETE", f"/images/{made}").check()


def test_events_in_each_form(shared_engine: Engine) -> None:
    shared_engine.api("POST", "/containers/create?name=told", {"Image": "busybox"}).check()
    target = '/events?since=1&until=' + _get(shared_engine, "1.51", "/info")["SystemTime"]
    target += '&filters={"container":["told"]}'
    for version, accept, kind, start in (
        ("1.51", "application/x-ndjson", "application/json", b"{"),
        ("1.52", "application/x-ndjson", "application/x-ndjson", b"{"),
        ("1.52", "application/jsonl", "application/json", b"{"),
        ("1.53", "application/jsonl", "application/jsonl", b"{"),
        ("1.52", "application/json-seq", "application/json-seq", b"\x1e{"),
        ("1.56", "*/*", "application/json", b"{"),
    ):
        answer = shared_engine.api("GET", f"/v{version}{target}", headers={"Accept": accept}).check()
        assert (answer.headers["content-type"], answer.body.startswith(start)) == (kind, True)
        event = json.loads(answer.body.splitlines()[0].lstrip(b"\x1e"))
        assert ("status" in event) == (version == "1.51")


def test_a_prune_tells_as_it_goes(shared_engine: Engine) -> None:
    ids = [shared_engine.api("POST", "/containers/create", {"Image": "busybox"}).check().json["Id"] for _ in range(2)]
    shared_engine.api("POST", "/volumes/create", {"Name": "going"}).check()
    whole = shared_engine.api("POST", "/v1.55/networks/prune?stream=1").check()
    assert (whole.headers["content-type"], whole.json) == ("application/json", {"NetworksDeleted": None})
    answer = shared_engine.api("POST", "/v1.56/containers/prune?stream=1").check()
    assert answer.headers["content-type"] == "application/jsonl"
    *gone, last = [json.loads(line) for line in answer.body.splitlines()]
    assert sorted(one["id"] for one in gone) == sorted(ids)
    assert {one["status"] for one in gone} == {"deleted"}
    assert sorted(last["aux"]["ContainersDeleted"]) == sorted(ids)
    answer = shared_engine.api("POST", '/v1.56/volumes/prune?stream=1&filters={"all":["1"]}').check()
    assert json.loads(answer.body.splitlines()[0]) == {"id": "going", "status": "deleted"}


def test_a_mac_address_of_the_whole_container(shared_engine: Engine) -> None:
    body = {"Image": "busybox", "MacAddress": "02:42:ac:11:00:99"}
    for version, warned in (("1.43", False), ("1.44", True)):
        made = shared_engine.api("POST", f"/v{version}/containers/create", body).check().json
        assert any("MacAddress field is now deprecated" in one for one in made["Warnings"]) == warned
    refused = shared_engine.api("POST", "/v1.52/containers/create", body)
    assert (refused.status, "use endpoint-specific MAC address" in refused.json["message"]) == (400, True)


def test_device_limits_of_a_running_container(shared_engine: Engine) -> None:
    import os

    device = next(f"/dev/{name}" for name in sorted(os.listdir("/sys/block")) if os.path.exists(f"/dev/{name}"))
    shared_engine.api("POST", "/containers/create?name=disk", {"Image": "busybox", "Cmd": ["sleep", "600"]}).check()
    shared_engine.api("POST", "/containers/disk/start").check()
    for rules in ([{"Path": device, "Rate": 1 << 20}], []):
        shared_engine.api("POST", "/containers/disk/update", {"BlkioDeviceReadBps": rules}).check()
        assert shared_engine.inspect("disk")["HostConfig"]["BlkioDeviceReadBps"] == rules
        shared_engine.api("POST", "/containers/disk/update", {"CpuShares": 512}).check()  # leaves them as they are
        assert shared_engine.inspect("disk")["HostConfig"]["BlkioDeviceReadBps"] == rules


def test_an_image_for_one_platform(shared_engine: Engine) -> None:
    image = shared_engine.api("GET", "/images/busybox/json").check().json
    own = json.dumps({"os": "linux", "architecture": image["Architecture"]}, separators=(",", ":"))
    other = '{"os":"linux","architecture":"s390x"}'
    for target in ("json", "history", "get"):
        shared_engine.api("GET", f"/images/busybox/{target}?platform={own}").check()
        refused = shared_engine.api("GET", f"/images/busybox/{target}?platform={other}")
        assert (refused.status, "does not provide the specified platform" in refused.json["message"]) == (404, True)
    assert shared_engine.api("GET", "/v1.48/images/busybox/json?platform=" + other).status == 200
    assert shared_engine.api("GET", "/images/busybox/json?platform=x").status == 400
    assert shared_engine.api("GET", f"/images/busybox/json?manifests=1&platform={own}").status == 400
    assert shared_engine.api("GET", "/images/busybox/attestations").status == 501


_BIND = {"Type": "bind", "Source": "/tmp", "Target": "/t"}
_TWO = {"NetworkingConfig": {"EndpointsConfig": {"bridge": {}, "other": {}}}}


def _made(engine: Engine, version: str, body: dict[str, Any]) -> Any:
    answer = engine.api("POST", f"/v{version}/containers/create", {"Image": "busybox", **body}).check().json
    return {**engine.api("GET", f"/containers/{answer['Id']}/json").check().json, "Warnings": answer["Warnings"]}


@pytest.mark.parametrize(
    ("body", "path", "older", "newer"),
    [
        ({"HostConfig": {"AutoRemove": True}}, ("HostConfig", "AutoRemove"), ("1.24", False), ("1.25", True)),
        ({"HostConfig": {"IpcMode": ""}}, ("HostConfig", "IpcMode"), ("1.39", "shareable"), ("1.40", "private")),
        ({"HostConfig": {"PidsLimit": 9}}, ("HostConfig", "PidsLimit"), ("1.39", None), ("1.40", 9)),
        ({"HostConfig": {}}, ("HostConfig", "CgroupnsMode"), ("1.40", "host"), ("1.41", "private")),
        ({"HostConfig": {"ConsoleSize": [9, 9]}}, ("HostConfig", "ConsoleSize"), ("1.41", [0, 0]), ("1.42", [9, 9])),
        ({"HostConfig": {"Mounts": [{**_BIND, "BindOptions": {"NonRecursive": True}}]}},
         ("HostConfig", "Mounts", 0, "BindOptions"), ("1.39", {}), ("1.40", {"NonRecursive": True})),
        ({"HostConfig": {"Annotations": {"a": "b"}}}, ("HostConfig", "Annotations"),
         ("1.42", None), ("1.43", {"a": "b"})),
        ({"Healthcheck": {"Test": ["CMD", "x"], "StartInterval": 10**9}}, ("Config", "Healthcheck", "StartInterval"),
         ("1.43", None), ("1.44", 10**9)),
        ({"NetworkingConfig": {"EndpointsConfig": {"bridge": {"MacAddress": "02:42:ac:11:00:99"}}}},
         ("NetworkSettings", "Networks", "bridge", "MacAddress"), ("1.43", ""), ("1.44", "02:42:ac:11:00:99")),
        ({"MacAddress": "02:42:ac:11:00:99"}, ("NetworkSettings", "Networks", "bridge", "MacAddress"),
         ("1.43", "02:42:ac:11:00:99"), ("1.51", "02:42:ac:11:00:99")),
        ({"NetworkingConfig": {"EndpointsConfig": {"bridge": {"MacAddress": "02:42:ac:11:00:99"}}}},
         ("Config", "MacAddress"), ("1.43", None), ("1.44", "02:42:ac:11:00:99")),
        ({"NetworkingConfig": {"EndpointsConfig": {"bridge": {"GwPriority": 7}}}},
         ("NetworkSettings", "Networks", "bridge", "GwPriority"), ("1.47", 0), ("1.48", 7)),
        ({"HostConfig": {"PortBindings": {"80/tcp": []}}}, ("HostConfig", "PortBindings"),
         ("1.52", {"80/tcp": []}), ("1.53", {})),
    ],
)  # fmt: skip
def test_what_a_version_has_of_a_request(
    shared_engine: Engine, body: dict[str, Any], path: tuple[Any, ...], older: tuple[str, Any], newer: tuple[str, Any]
) -> None:
    for version, expected in (older, newer):
        value = _made(shared_engine, version, body)
        for name in path:
            value = value.get(name) if isinstance(value, dict) else value[name]
        assert value == expected, version


@pytest.mark.parametrize(
    ("body", "refused", "taken", "sentence"),
    [
        (_TWO, "1.43", "1.44", "Container cannot be created with multiple network endpoints: bridge, other"),
        ({"HostConfig": {"Mounts": [{"Type": "tmpfs", "Target": "/t", "VolumeOptions": {}}]}}, "1.42", "1.41",
         "field VolumeOptions must not"),
        ({"HostConfig": {"Mounts": [{**_BIND, "TmpfsOptions": {}}]}}, "1.42", "1.41", "field TmpfsOptions must not"),
        ({"HostConfig": {"Mounts": [{**_BIND, "ReadOnly": True, "BindOptions": {"ReadOnlyForceRecursive": True}}]}},
         "1.43", "1.44", "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer"),
        ({"HostConfig": {"Mounts": [{"Type": "image", "Source": "busybox", "Target": "/t"}]}}, "1.47", "1.48",
         'Mount type "Image" needs API v1.48 or newer'),
        ({"MacAddress": "02:42:ac:11:00:99", "NetworkingConfig": {"EndpointsConfig": {"other": {}}}}, "1.44", "1.43",
         "HostConfig.NetworkMode must match the identity of a network in NetworkSettings.Networks"),
    ],
)  # fmt: skip
def test_what_a_version_refuses(
    shared_engine: Engine, body: dict[str, Any], refused: str, taken: str, sentence: str
) -> None:
    body = {"Image": "busybox", **body}
    answer = shared_engine.api("POST", f"/v{refused}/containers/create", body)
    assert (answer.status, sentence in answer.json["message"]) == (400, True), answer.json
    shared_engine.api("POST", f"/v{taken}/containers/create", body).check()


@pytest.mark.parametrize("version", ["1.24", "1.41", "1.42"])
def test_a_bind_with_options_of_a_volume_is_refused_by_all(shared_engine: Engine, version: str) -> None:
    body = {"Image": "busybox", "HostConfig": {"Mounts": [{**_BIND, "VolumeOptions": {}}]}}
    answer = shared_engine.api("POST", f"/v{version}/containers/create", body)
    assert (answer.status, "field VolumeOptions must not" in answer.json["message"]) == (400, True), answer.json


def test_volumes_and_networks_of_a_swarm_are_refused(shared_engine: Engine) -> None:
    answer = shared_engine.api("POST", "/volumes/create", {"Name": "v", "ClusterVolumeSpec": {"Group": "g"}})
    assert (answer.status, "This node is not a swarm manager" in answer.json["message"]) == (503, True)
    answer = shared_engine.api("POST", "/networks/create", {"Name": "n", "ConfigFrom": {"Network": "m"}})
    assert (answer.status, "of configuration are not supported" in answer.json["message"]) == (501, True)
