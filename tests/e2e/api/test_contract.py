"""The API held against its specification: whatever is answered is of the specified shape, and what is inspected has
every member. The judge itself looks at every answer of every other test, too (tests/support/contract.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from corten.api.router import MINIMUM, NEWEST
from tests.support.engine import SPECIFICATION, Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

_CONTAINER = {
    "Image": "busybox",
    "Cmd": ["sleep", "600"],
    "ExposedPorts": {"80/tcp": {}},
    "StopSignal": "SIGKILL",
    "StopTimeout": 1,
    "Healthcheck": {"Test": ["CMD", "true"], "Interval": 3600 * 10**9},
    "Labels": {"a": "b"},
    "HostConfig": {"Annotations": {"a": "b"}, "Tmpfs": {"/t": ""}, "Mounts": [{"Type": "tmpfs", "Target": "/u"}]},
}

_WHERE_SET = {
    # Left out by dockerd, and so here, while nothing sets it.
    "Config.OnBuild", "Config.ArgsEscaped", "Config.NetworkDisabled", "Config.Shell", "HostConfig.Init",
    "HostConfig.StorageOpt", "HostConfig.Sysctls", "SizeRw", "SizeRootFs",
    # Only of a store that is containerd's, of the OCI's optional members, and of options that were not given.
    "Storage",
}  # fmt: skip


@pytest.fixture(scope="module")
def running(shared_engine: Engine) -> Iterator[str]:
    created = shared_engine.api("POST", "/containers/create?name=whole", _CONTAINER).check().json
    shared_engine.api("POST", "/containers/whole/start").check()
    yield created["Id"]
    shared_engine.api("DELETE", "/containers/whole?force=1").check()


def _missing(name: str, value: Any, *fine: str) -> list[str]:
    inner = ("ImageManifestDescriptor.", "Descriptor.", "HostConfig.Mounts", "Mounts[]", "Config.Healthcheck.",
             "HostConfig.LogConfig", "State.Health.", "NetworkSettings.Networks", "Ports[]",
             "IPAM.Config[]")  # fmt: skip
    return [one for one in SPECIFICATION.missing(name, value) if one not in fine and not one.startswith(inner)]


def test_inspect_of_a_container_has_every_member(shared_engine: Engine, running: str) -> None:
    value = shared_engine.api("GET", f"/v1.56/containers/{running}/json").check().json
    assert _missing("ContainerInspectResponse", value, *_WHERE_SET) == []
    (place,) = value["NetworkSettings"]["Networks"].values()
    assert SPECIFICATION.missing("EndpointSettings", place) == []
    sized = shared_engine.api("GET", f"/containers/{running}/json?size=1").check().json
    assert (sized["SizeRw"], sized["SizeRootFs"] > 1_000_000) == (0, True)


def test_a_row_of_ps_has_every_member(shared_engine: Engine, running: str) -> None:
    (row,) = shared_engine.api("GET", "/v1.56/containers/json").check().json
    assert _missing("ContainerSummary", row, "SizeRw", "SizeRootFs") == []


def test_inspect_of_an_image_has_every_member(shared_engine: Engine) -> None:
    value = shared_engine.api("GET", "/v1.56/images/busybox/json?manifests=1").check().json
    fine = {f"Config.{name}" for name in (
        "ExposedPorts", "Healthcheck", "ArgsEscaped", "StopSignal", "Shell", "User", "Volumes", "WorkingDir",
        "Entrypoint", "OnBuild", "Labels",
    )}  # fmt: skip
    fine |= {"Comment", "Author"}
    fine |= {"Identity", "Variant", "OsVersion"}  # what the image does not say, and what nobody signed
    assert [one for one in _missing("ImageInspect", value, *fine) if not one.startswith("Manifests[]")] == []


def test_a_row_of_images_has_every_member(shared_engine: Engine) -> None:
    (row,) = shared_engine.api("GET", "/images/json?manifests=1&shared-size=1").check().json
    assert [one for one in _missing("ImageSummary", row) if "Descriptor" not in one and "Data" not in one] == []
    assert (row["SharedSize"], row["Containers"] >= 0) == (0, True)


def test_info_and_version_have_every_member(shared_engine: Engine) -> None:
    info = shared_engine.api("GET", "/v1.56/info").check().json
    # There is no containerd and no node resource interface; a swarm has more than an engine that is in none.
    fine = [one for one in _missing("SystemInfo", info) if one.startswith(("Swarm.", "Runtimes"))]
    fine += ["Containerd", "NRI", "FirewallBackend.Info"]
    assert _missing("SystemInfo", info, *fine) == []
    assert _missing("SystemVersion", shared_engine.api("GET", "/version").check().json) == []


def test_a_network_and_a_volume_have_every_member(shared_engine: Engine, running: str) -> None:
    network = shared_engine.api("GET", "/v1.56/networks/bridge").check().json
    assert list(network["Containers"]) == [running]
    assert _missing("NetworkInspect", network, "Peers", "Services") == []  # a swarm's
    ((subnet, status),) = network["Status"]["IPAM"]["Subnets"].items()
    assert (subnet, status["IPsInUse"]) == (network["IPAM"]["Config"][0]["Subnet"], 4)
    assert status["DynamicIPsAvailable"] > 2
    volume = shared_engine.api("POST", "/volumes/create", {"Labels": {"a": "b"}}).check().json
    assert _missing("Volume", volume, "Status", "ClusterVolume", "UsageData") == []


_ASKED = (
    "/info", "/version", "/containers/json?all=1&size=1", "/containers/whole/json", "/containers/whole/top",
    "/containers/whole/changes", "/containers/whole/stats?stream=0&one-shot=1", "/containers/whole/logs?stdout=1",
    "/images/json", "/images/busybox/json", "/images/busybox/history", "/networks", "/networks/bridge", "/volumes",
    "/system/df", "/system/df?verbose=1", "/plugins", "/events?since=1&until=2",
)  # fmt: skip


@pytest.mark.parametrize("minor", range(MINIMUM[1], NEWEST[1] + 1))
def test_each_version_of_the_api_answers_in_its_own_shape(shared_engine: Engine, running: str, minor: int) -> None:
    for target in _ASKED:
        shared_engine.api("GET", f"/v1.{minor}{target}").check()
    shared_engine.keep_contract()


def test_an_operation_of_the_specification_is_never_an_unknown_page(shared_engine: Engine) -> None:
    for one in SPECIFICATION.operations():
        if one.path == "/events":  # endless
            continue
        target = one.path.replace("{id}", "nothing").replace("{name}", "nothing")
        answer = shared_engine.api(one.method.upper(), target)
        assert b"page not found" not in answer.body, one
        assert answer.status != 500, (one, answer.body)
