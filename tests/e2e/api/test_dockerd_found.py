"""More ways of dockerd's that moby's tests by the command line ask for (``make interop ARGS=moby-cli``)."""

from __future__ import annotations

import json
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corten.api.router import MINIMUM
from tests.support import http
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture
def sleeper(shared_engine: Engine) -> Iterator[str]:
    """A container with a terminal that runs, without a network; removed whatever happens."""
    made = _run(shared_engine, "sleep", "600", Tty=True)
    yield made
    shared_engine.api("DELETE", f"/containers/{made}?force=1")


def _run(engine: Engine, *command: str, host: dict[str, Any] | None = None, **config: Any) -> str:
    host = {"NetworkMode": "none", **(host or {})}
    body = {"Image": "busybox", "Cmd": command, "StopSignal": "SIGKILL", "HostConfig": host, **config}
    id: str = engine.api("POST", "/containers/create", body).check().json["Id"]
    engine.api("POST", f"/containers/{id}/start").check()
    return id


def _refused(engine: Engine, host: dict[str, Any], **config: Any) -> str:
    answer = engine.api("POST", "/containers/create", {"Image": "busybox", "HostConfig": host, **config})
    assert answer.status == 400
    message: str = answer.json["message"]
    return message


def _events(engine: Engine, filters: dict[str, list[str]]) -> list[dict[str, Any]]:
    wanted = urllib.parse.quote(json.dumps(filters))
    said = engine.api("GET", f"/events?until={time.time():.9f}&filters={wanted}").check().body
    return [json.loads(line) for line in said.splitlines()]


@pytest.mark.parametrize("version", ["1.23", "1.10", "1"])
def test_who_is_too_old_for_json(shared_engine: Engine, version: str) -> None:
    answer = http.request(shared_engine.socket, "GET", f"/v{version}/info")  # not judged: it is of no known version
    assert (answer.status, answer.headers["content-type"]) == (400, "text/plain; charset=utf-8")
    assert answer.body.decode() == (
        f"client version {version} is too old. Minimum supported API version is 1.{MINIMUM[1]}, please upgrade your "
        "client to a newer version\n"
    )


def test_options_of_a_network_that_are_nobodys(shared_engine: Engine) -> None:
    body = {"Name": "marked", "Options": {"foo": "bar"}}
    told = shared_engine.api("POST", "/networks/create", body).check().json
    kept = shared_engine.api("GET", "/networks/marked").check().json["Options"]
    shared_engine.api("DELETE", "/networks/marked").check()
    assert (kept, "without effect" in told["Warning"], "foo" in told["Warning"]) == ({"foo": "bar"}, True, True)


@pytest.mark.parametrize("field", ["VolumeOptions", "TmpfsOptions"])
def test_options_of_another_type_of_mount(shared_engine: Engine, field: str) -> None:
    """Also where they say nothing."""
    kinds = {"VolumeOptions": ("bind", "/tmp"), "TmpfsOptions": ("image", "busybox")}
    kind, source = kinds[field]
    mount = {"Type": kind, "Source": source, "Target": "/d", field: {}}
    assert f"field {field} must not be specified" in _refused(shared_engine, {"Mounts": [mount]})


def test_an_exec_ends_with_its_container(shared_engine: Engine) -> None:
    """One that was not started when the container ended is gone, also after its next start."""
    id = _run(shared_engine, "sleep", "600")
    try:
        exec = shared_engine.api("POST", f"/containers/{id}/exec", {"Cmd": ["true"]}).check().json["Id"]
        for after in ("stop", "start"):
            shared_engine.api("POST", f"/containers/{id}/{after}").check()
            assert shared_engine.api("POST", f"/exec/{exec}/start", {"Detach": True}).status == 404
        exec = shared_engine.api("POST", f"/containers/{id}/exec", {"Cmd": ["true"]}).check().json["Id"]
        shared_engine.api("POST", f"/containers/{id}/pause").check()
        said = shared_engine.api("POST", f"/containers/{id[:12]}/exec", {"Cmd": ["true"]})
        assert (said.status, f"ontainer {id[:12]} is paused" in said.json["message"]) == (409, True)
        said = shared_engine.api("POST", f"/exec/{exec}/start", {"Detach": True})
        assert (said.status, f"ontainer {id} is paused" in said.json["message"]) == (409, True)
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1")


def test_events_of_a_size_and_of_a_saved_image(shared_engine: Engine, sleeper: str) -> None:
    shared_engine.api("POST", f"/containers/{sleeper}/resize?h=10&w=20").check()
    (resized,) = _events(shared_engine, {"container": [sleeper], "event": ["resize"]})
    assert {"height": "10", "width": "20"}.items() <= resized["Actor"]["Attributes"].items()
    assert resized in _events(shared_engine, {"container": [""]})
    shared_engine.api("GET", "/images/busybox/get").check()
    id = shared_engine.api("GET", "/images/busybox/json").check().json["Id"]
    assert [one["Actor"]["ID"] for one in _events(shared_engine, {"event": ["save"]})] == [id]


def test_an_exec_has_what_links_tell(shared_engine: Engine) -> None:
    other = _run(shared_engine, "sleep", "600", host={"NetworkMode": "bridge"}, Env=["A=b"])
    linking = _run(shared_engine, "sleep", "600", host={"NetworkMode": "bridge", "Links": [f"{other}:db"]})
    try:
        listed = shared_engine.docker("exec", linking, "env").check().lines
        shared_engine.api("DELETE", f"/containers/{other}?force=1").check()
        after = shared_engine.docker("exec", linking, "env").check().lines
        assert ("DB_ENV_A=b" in listed, "DB_ENV_A=b" in after) == (True, False)
    finally:
        for id in (other, linking):
            shared_engine.api("DELETE", f"/containers/{id}?force=1")


def test_conflicts_in_dockerds_words(shared_engine: Engine) -> None:
    host = _run(shared_engine, "sleep", "600", host={"NetworkMode": "host"})
    said = _refused(shared_engine, {"Links": [f"{host}:x"]})
    shared_engine.api("DELETE", f"/containers/{host}?force=1").check()
    assert "conflicting options: host type networking can't be used with links" in said
    assert "invalid container format container:<name|id>" in _refused(shared_engine, {"NetworkMode": "container"})
    assert "Minimum memory limit" in _refused(shared_engine, {"Memory": 1000}, Image="not-here")


@pytest.mark.parametrize(("version", "with_id"), [("1.44", True), ("1.45", False)])
def test_the_short_id_and_the_host_name_among_the_aliases(shared_engine: Engine, version: str, with_id: bool) -> None:
    network = shared_engine.api("POST", "/networks/create", {"Name": "aliased"}).check().json["Id"]
    config = {"EndpointsConfig": {"aliased": {"Aliases": ["a"]}}}
    host = {"NetworkMode": "aliased"}
    body = {"Image": "busybox", "Hostname": "web", "HostConfig": host, "NetworkingConfig": config}
    id = shared_engine.api("POST", "/containers/create", body).check().json["Id"]
    told = shared_engine.api("GET", f"/v{version}/containers/{id}/json").check().json["NetworkSettings"]["Networks"]
    shared_engine.api("DELETE", f"/containers/{id}").check()
    shared_engine.api("DELETE", f"/networks/{network}").check()
    assert told["aliased"]["Aliases"] == (["a", id[:12], "web"] if with_id else ["a"])


def test_files_of_a_container_that_was_not_started(shared_engine: Engine) -> None:
    """Its working directory is there, as its start would make it."""
    body = {"Image": "busybox", "WorkingDir": "/home/foo/bar", "HostConfig": {"NetworkMode": "none"}}
    id = shared_engine.api("POST", "/containers/create", body).check().json["Id"]
    answer = shared_engine.api("HEAD", f"/containers/{id}/archive?path=/home/foo/bar")
    shared_engine.api("DELETE", f"/containers/{id}").check()
    assert answer.status == 200


def test_files_of_a_container_that_just_ends(shared_engine: Engine) -> None:
    """Between its end and the engine's word of it there is nothing to enter."""
    for _ in range(8):
        id = _run(shared_engine, "true")
        answer = shared_engine.api("GET", f"/containers/{id}/archive?path=/etc")
        shared_engine.api("DELETE", f"/containers/{id}?force=1").check()
        assert answer.status == 200, answer.body


def test_info_is_true_of_this_machine(shared_engine: Engine) -> None:
    told = shared_engine.api("GET", "/v1.41/info").check().json
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    assert told["BridgeNfIptables"] == (switch.exists() and switch.read_text().strip() == "1")
    switch = Path("/sys/module/apparmor/parameters/enabled")
    has = switch.exists() and switch.read_text().startswith("Y")
    told_why = any("No AppArmor profile by default" in text for text in told["Warnings"] or ())
    assert ("name=apparmor" in told["SecurityOptions"]) + told_why == has
    for driver in set(told["Plugins"]["Network"]) - {"host", "null"}:
        body = {"Name": "of-driver", "Driver": driver, "Internal": driver == "bridge", "Options": {"parent": "lo"}}
        answer = shared_engine.api("POST", "/networks/create", body)  # known, whether or not this kernel has it
        assert "plugin" not in answer.json.get("message", "")
        shared_engine.api("DELETE", "/networks/of-driver")


def test_what_a_commit_was_made_of(shared_engine: Engine) -> None:
    """Older versions of the API tell of the container's configuration, beside the image's."""
    id = _run(shared_engine, "true", Env=["A=b"])
    image = shared_engine.api("POST", f"/commit?container={id}&changes=CMD+date", {}).check().json["Id"]
    told = shared_engine.api("GET", f"/v1.44/images/{image}/json").check().json
    for target in (f"/containers/{id}?force=1", f"/images/{image}"):
        shared_engine.api("DELETE", target).check()
    assert (told["Container"], told["ContainerConfig"]["Image"]) == (id, "busybox")
    assert (told["ContainerConfig"]["Cmd"], told["Config"]["Cmd"]) == (["true"], ["/bin/sh", "-c", "date"])


def test_a_rule_of_an_old_seccomp_profile(shared_engine: Engine) -> None:
    """One name, not several; it must not be passed over."""
    rules = [{"name": name, "action": "SCMP_ACT_ERRNO"} for name in ("chmod", "fchmod", "fchmodat", "fchmodat2")]
    profile = json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
    host = {"SecurityOpt": [f"seccomp={profile}"]}
    id = _run(shared_engine, "sh", "-c", "touch /x; chmod 700 /x", host=host)
    code = shared_engine.api("POST", f"/containers/{id}/wait").check().json["StatusCode"]
    shared_engine.api("DELETE", f"/containers/{id}?force=1").check()
    assert code == 1


@pytest.mark.parametrize(
    ("config", "host", "said"),
    [
        ({"User": "-1"}, {}, "uids and gids must be in range 0-2147483647"),
        ({}, {"Devices": [{"PathOnHost": "/etc"}]}, '"/etc": not a device node'),
        ({}, {"NetworkMode": "container:itself"}, "cannot join own network"),
    ],
)
def test_starts_that_are_refused(
    shared_engine: Engine, config: dict[str, Any], host: dict[str, Any], said: str
) -> None:
    body = {"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none", **host}, **config}
    answer = shared_engine.api("POST", "/containers/create?name=itself", body)
    if answer.status == 201:
        answer = shared_engine.api("POST", "/containers/itself/start")
        shared_engine.api("DELETE", "/containers/itself?force=1").check()
    assert (answer.status >= 400, said in answer.json["message"]) == (True, True)


def test_memory_nodes_that_are_not_there(shared_engine: Engine) -> None:
    assert "Requested memory nodes are not available - requested 999" in _refused(shared_engine, {"CpusetMems": "999"})
    said = _refused(shared_engine, {"Binds": ["named:/d:shared"]})
    assert 'invalid mount config for type "volume"' in said


def test_a_control_group_beside_the_mounts(shared_engine: Engine) -> None:
    """``..`` ends at the top of the hierarchy."""
    parent = f"../../../../{shared_engine.names.cgroup}/beside"
    id = _run(shared_engine, "sleep", "600", host={"CgroupParent": parent, "CgroupnsMode": "host"})
    try:
        shown = Path(f"/proc/{shared_engine.init(id)}/cgroup").read_text()
        assert f"/{shared_engine.names.cgroup}/beside/{id}\n" in shown
        assert "/.." not in shown
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1")


def test_a_link_to_who_shares_a_network(shared_engine: Engine) -> None:
    """It leads to who has it; a host name with a domain is also known without."""
    owner = _run(shared_engine, "sleep", "600", host={"NetworkMode": "bridge"}, Hostname="a.example.org")
    sharing = _run(shared_engine, "sleep", "600", host={"NetworkMode": f"container:{owner}"})
    linking = _run(shared_engine, "sleep", "600", host={"NetworkMode": "bridge", "Links": [f"{sharing}:o"]})
    try:
        ip = shared_engine.inspect(owner)["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        assert f"{ip}\to " in shared_engine.docker("exec", linking, "cat", "/etc/hosts").check().out
        assert f"{ip}\ta.example.org a\n" in shared_engine.docker("exec", owner, "cat", "/etc/hosts").check().out
    finally:
        for id in (linking, sharing, owner):
            shared_engine.api("DELETE", f"/containers/{id}?force=1")


def test_an_update_leaves_the_restart_policy(shared_engine: Engine) -> None:
    """The docker command line sends an empty one with every update."""
    id = _run(shared_engine, "sleep", "600", host={"RestartPolicy": {"Name": "always"}, "NanoCpus": 500_000_000})
    try:
        shared_engine.docker("update", "--cpu-shares", "512", id).check()
        told = shared_engine.inspect(id)["HostConfig"]
        assert (told["RestartPolicy"]["Name"], told["CpuShares"]) == ("always", 512)
        refused = shared_engine.docker("update", "--cpu-quota", "80000", id)
        assert "CPU Quota cannot be updated as NanoCPUs has already been set" in refused.err
        shared_engine.docker("update", "--restart", "no", id).check()
        assert shared_engine.inspect(id)["HostConfig"]["RestartPolicy"]["Name"] == "no"
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1")
