"""Every member of a container's Config and of its places in networks: what becomes of it, seen in the container, in an
answer, or in a warning. HostConfig's are in test_host_config.

A member that a newer specification has and these tables have not fails the first test.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.engine import Engine
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network]

SPECIFICATION = Path(__file__).resolve().parents[2] / "specification/docker-engine-api-v1.56.yaml"

SEEN = ("Hostname", "Domainname", "User", "ExposedPorts", "Tty", "Env", "Cmd", "Healthcheck", "Image", "Volumes",
        "WorkingDir", "Entrypoint", "NetworkDisabled", "OnBuild", "Labels", "StopSignal", "Shell")  # fmt: skip
"""Looked at in this file, where the container or an answer shows them."""
ELSEWHERE = {"OpenStdin": "test_streams", "StdinOnce": "test_streams", "StopTimeout": "test_stop"}
CLIENTS = ("AttachStdin", "AttachStdout", "AttachStderr")
"""What the client that created it attached to: told again, and of no other meaning."""
WINDOWS = ("ArgsEscaped",)
"""How a Windows shell reads Cmd: told again."""
PLACE = ("IPAMConfig", "MacAddress", "Aliases", "DriverOpts", "GwPriority")
LINKS = ("Links",)
"""Seen in test_networks."""
TOLD = ("NetworkID", "EndpointID", "Gateway", "IPAddress", "IPPrefixLen", "IPv6Gateway", "GlobalIPv6Address",
        "GlobalIPv6PrefixLen", "DNSNames")  # fmt: skip
"""What the engine tells of a place; in a request they mean nothing, as for dockerd."""

CONFIG: dict[str, Any] = {
    "Hostname": "web", "Domainname": "example.org", "User": "1000:1234", "Tty": True, "OpenStdin": True,
    "StdinOnce": True, "AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Env": ["A=b c", "TERM=vt100"],
    "Cmd": ["trap 'echo HUP; exit 7' HUP; echo up; while :; do sleep 1000 & wait; done"],
    "Entrypoint": ["/bin/sh", "-c"], "WorkingDir": "/opt/here", "Labels": {"l": "m"}, "Volumes": {"/v": {}},
    "ExposedPorts": {"81/tcp": {}, "82/udp": {}}, "StopSignal": "SIGHUP", "StopTimeout": 600,
    "Shell": ["/bin/ash", "-c"], "OnBuild": ["RUN true"], "ArgsEscaped": True,
    "Healthcheck": {"Test": ["CMD-SHELL", "test -d /v -a $0 = /bin/ash"], "Interval": 10**8, "Timeout": 6 * 10**10,
                    "StartPeriod": 10**9, "StartInterval": 10**8, "Retries": 4},
}  # fmt: skip
SIX = "fd00:c0:ffee::"
ASKED: dict[str, Any] = {
    "IPAMConfig": {"IPv4Address": "10.217.3.77", "IPv6Address": f"{SIX}77", "LinkLocalIPs": ["169.254.7.7"]},
    "MacAddress": "02:42:0a:d9:03:4d", "Aliases": ["alpha", "beta"], "GwPriority": 9,
    "DriverOpts": {"com.docker.network.endpoint.ifname": "wan7"},
}  # fmt: skip


@contextlib.contextmanager
def container(engine: Engine, *, start: bool = True, **body: Any) -> Iterator[dict[str, Any]]:
    """What *create* answered."""
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], **body}
    created = engine.api("POST", "/containers/create", body).check().json
    try:
        if start:
            engine.api("POST", f"/containers/{created['Id']}/start").check()
        yield created
    finally:
        engine.api("DELETE", f"/containers/{created['Id']}?force=1&v=1")


@contextlib.contextmanager
def network(engine: Engine, name: str, **more: Any) -> Iterator[None]:
    engine.api("POST", "/networks/create", {"Name": name, **more}).check()
    try:
        yield
    finally:
        engine.api("DELETE", f"/networks/{name}")


@pytest.fixture(scope="module")
def configured(shared_engine: Engine) -> Iterator[str]:
    """A container with everything that can be had together."""
    with container(shared_engine, **CONFIG) as created:
        assert created["Warnings"] == []
        yield created["Id"]


def inside(engine: Engine, id: str, script: str) -> list[str]:
    return engine.docker("exec", id, "sh", "-c", script).check().out.splitlines()


def test_no_member_of_the_specification_is_forgotten() -> None:
    definitions = yaml.safe_load(SPECIFICATION.read_text())["definitions"]

    def members(name: str) -> set[str]:
        return set(definitions[name]["properties"])

    assert members("ContainerConfig") == {*SEEN, *ELSEWHERE, *CLIENTS, *WINDOWS}
    assert members("EndpointSettings") == {*PLACE, *LINKS, *TOLD}
    assert members("EndpointIPAMConfig") == set(ASKED["IPAMConfig"])
    assert members("NetworkingConfig") == {"EndpointsConfig"}
    assert members("ContainerConfig") - {"Image", "NetworkDisabled"} == set(CONFIG)
    assert set(ASKED) == set(PLACE)


def test_the_process_is_as_asked_for(shared_engine: Engine, configured: str) -> None:
    pid = shared_engine.init(configured)
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert (status["Uid"].split()[0], status["Gid"].split()[0]) == ("1000", "1234")
    assert Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:2] == [b"/bin/sh", b"-c"]
    environ = Path(f"/proc/{pid}/environ").read_text().split("\0")
    assert {"A=b c", "TERM=vt100", "HOSTNAME=web"} <= set(environ)
    assert os.readlink(f"/proc/{pid}/cwd") == "/opt/here"
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/pts/0"


def test_the_container_sees_what_was_asked_for(shared_engine: Engine, configured: str) -> None:
    script = (
        "hostname; cat /proc/sys/kernel/domainname; cat /etc/hostname; grep -c 'web.example.org web' /etc/hosts; "
        "grep -c ' /v ' /proc/self/mountinfo"
    )
    assert inside(shared_engine, configured, script) == ["web", "example.org", "web", "1", "1"]


def test_inspect_tells_it_again(shared_engine: Engine, configured: str) -> None:
    told = shared_engine.inspect(configured)
    assert {name: told["Config"][name] for name in CONFIG} == {**CONFIG, "Env": told["Config"]["Env"]}
    assert told["Config"]["Env"][:2] == CONFIG["Env"]  # the image's come after
    assert (told["Config"]["Image"], told["Path"], told["Args"]) == ("busybox", "/bin/sh", ["-c", *CONFIG["Cmd"]])
    assert told["NetworkSettings"]["Ports"] == {"81/tcp": None, "82/udp": None}
    (mount,) = told["Mounts"]
    assert (mount["Type"], mount["Destination"]) == ("volume", "/v")


def test_the_check_is_run_by_the_shell_that_was_asked_for(shared_engine: Engine, configured: str) -> None:
    wait_until(
        lambda: shared_engine.inspect(configured)["State"]["Health"]["Status"] == "healthy", "a container in health"
    )


def test_a_commit_keeps_what_an_image_has_of_it(shared_engine: Engine, configured: str) -> None:
    id = shared_engine.api("POST", f"/commit?container={configured}&repo=kept").check().json["Id"]
    try:
        kept = shared_engine.api("GET", f"/images/{id}/json").check().json["Config"]
        names = ("User", "Env", "Entrypoint", "Cmd", "WorkingDir", "Volumes", "ExposedPorts", "StopSignal", "OnBuild",
                 "Labels", "Shell", "Healthcheck")  # fmt: skip
        told = shared_engine.inspect(configured)["Config"]
        assert {name: kept[name] for name in names} == {name: told[name] for name in names}
    finally:
        shared_engine.api("DELETE", f"/images/{id}?force=1").check()


def test_it_is_stopped_by_its_signal(shared_engine: Engine) -> None:
    with container(shared_engine, **{**CONFIG, "Healthcheck": {"Test": ["NONE"]}}) as created:
        id = created["Id"]
        wait_until(lambda: "up" in shared_engine.docker("logs", id).out, "a shell with its trap set")
        shared_engine.api("POST", f"/containers/{id}/stop").check()
        told = shared_engine.inspect(id)
        assert (told["State"]["ExitCode"], "Health" in told["State"]) == (7, False)


def test_a_timeout_of_nothing_is_told(shared_engine: Engine) -> None:
    with container(shared_engine, start=False, StopTimeout=0) as created:
        assert shared_engine.inspect(created["Id"])["Config"]["StopTimeout"] == 0


@pytest.mark.parametrize("mode", ["default", "wide", "host"])
def test_networking_that_is_disabled(shared_engine: Engine, mode: str) -> None:
    """Whatever else is said of networks, which is then a warning."""
    wide = network(shared_engine, "wide") if mode == "wide" else contextlib.nullcontext()
    host = {"NetworkMode": mode, "PortBindings": {"80/tcp": [{}]}}
    with wide, container(shared_engine, NetworkDisabled=True, HostConfig=host) as created:
        told, pid = shared_engine.inspect(created["Id"]), shared_engine.init(created["Id"])
        links = [line.split(":")[0].strip() for line in Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]]
        assert (links, told["Config"]["NetworkDisabled"]) == (["lo"], True)
        assert (told["HostConfig"]["NetworkMode"], list(told["NetworkSettings"]["Networks"])) == ("none", ["none"])
    lost = ["Published ports are discarded when using none network mode"]
    assert created["Warnings"] == (
        lost if mode == "default" else [f"Networking is disabled. Networks discarded: {mode}", *lost]
    )


def test_places_in_networks(shared_engine: Engine) -> None:
    ipam = {"Config": [{"Subnet": "10.217.3.0/24"}, {"Subnet": f"{SIX}/64"}]}
    in_vain = {name: 7 if name.endswith("Len") else [] if name == "DNSNames" else "x" for name in TOLD}
    places = {"plain": {}, "asked": {**ASKED, **in_vain}}
    with (
        network(shared_engine, "asked", EnableIPv6=True, IPAM=ipam),
        network(shared_engine, "plain"),
        container(
            shared_engine, HostConfig={"NetworkMode": "plain"}, NetworkingConfig={"EndpointsConfig": places}
        ) as created,
    ):
        id = created["Id"]
        told = shared_engine.inspect(id)["NetworkSettings"]["Networks"]
        assert (created["Warnings"], sorted(told)) == ([], ["asked", "plain"])
        place = told["asked"]
        assert {name: place[name] for name in ASKED} == ASKED
        assert (place["IPAddress"], place["IPPrefixLen"], place["Gateway"]) == ("10.217.3.77", 24, "10.217.3.1")
        assert (place["GlobalIPv6Address"], place["GlobalIPv6PrefixLen"]) == (f"{SIX}77", 64)
        known = shared_engine.api("GET", "/networks/asked").check().json
        assert (place["NetworkID"], place["EndpointID"]) == (known["Id"], known["Containers"][id]["EndpointID"])
        assert {"alpha", "beta", id[:12]} <= set(place["DNSNames"])
        links, way, *names = inside(
            shared_engine, id, "ip addr show wan7 | tr '\\n' ' '; echo; ip route | grep default; "
            "for n in alpha beta; do nslookup $n | grep -c 10.217.3.77; done",
        )  # fmt: skip
        assert all(one in links for one in (ASKED["MacAddress"], "10.217.3.77/24", "169.254.7.7/", f"{SIX}77/64"))
        assert "wan7" in way  # by GwPriority: the other network is the mode's
        assert all(int(one) for one in names)


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"HostConfig": {"SecurityOpt": ["label=type:x"]}}, "SELinux is not supported. Labels discarded: type:x"),
        ({"HostConfig": {"CpuPercent": 5}}, "linux does not support CPU percent. Percent discarded."),
        ({"HostConfig": {"CpuCount": 5}}, "linux does not support CPU count. Count discarded."),
        ({"HostConfig": {"KernelMemory": 1 << 30, "KernelMemoryTCP": 1 << 30}},
         "Your kernel does not support kernel memory limit capabilities or the cgroup is not mounted. Limitation "
         "discarded."),
        ({"HostConfig": {"Cgroup": "x"}}, "Cgroup is not supported. Cgroup discarded."),
        ({"Healthcheck": {"Test": ["curl", "x"]}},
         "Unknown healthcheck type 'curl' (expected 'CMD' or 'CMD-SHELL'). Healthcheck discarded."),
    ],
)  # fmt: skip
def test_what_nothing_comes_of_is_a_warning(shared_engine: Engine, body: dict[str, Any], sentence: str) -> None:
    with container(shared_engine, start=False, **body) as created:
        assert created["Warnings"] == [sentence]


def test_what_an_update_cannot_change_is_a_warning(shared_engine: Engine) -> None:
    asked = {"Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}], "Init": True, "CpuPercent": 5, "CpuShares": 512}
    with container(shared_engine, start=False) as created:
        told = shared_engine.api("POST", f"/containers/{created['Id']}/update", asked).check().json["Warnings"]
        assert sorted(told) == [
            f"{name} of a container cannot be updated. {name} discarded." for name in ("CpuPercent", "Init", "Ulimits")
        ]
        host = shared_engine.inspect(created["Id"])["HostConfig"]
        assert (host["CpuShares"], host["Ulimits"], host.get("Init"), host["CpuPercent"]) == (512, None, None, 0)


def test_a_profile_of_apparmor_is_loaded_or_a_warning(shared_engine: Engine) -> None:
    if os.path.exists("/sys/module/apparmor"):
        pytest.skip("this kernel has AppArmor")
    with container(shared_engine, start=False, HostConfig={"SecurityOpt": ["apparmor=mine"]}) as created:
        assert created["Warnings"] == ["AppArmor is not enabled on this kernel. Profile discarded: mine"]


def _placed(**place: Any) -> dict[str, Any]:
    return {"HostConfig": {"NetworkMode": "n"}, "NetworkingConfig": {"EndpointsConfig": {"n": place}}}


def _mounted(**mount: Any) -> dict[str, Any]:
    return {"HostConfig": {"Mounts": [{"Target": "/t", **mount}]}}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"Hostname": "x" * 65}, "invalid hostname"), ({"Hostname": "x\n127.0.0.1 y"}, "invalid hostname"),
        ({"Domainname": "a b"}, "invalid domain name"),
        ({"HostConfig": {"DnsSearch": ["a\nnameserver 192.0.2.1"]}}, "invalid DNS search domain or option"),
        ({"ExposedPorts": {"abc": {}}}, 'invalid port specification: "abc"'),
        ({"ExposedPorts": {"80-90/tcp": {}}}, 'invalid port specification: "80-90/tcp"'),
        ({"ExposedPorts": {"80/x": {}}}, 'invalid port specification: "80/x"'),
        ({"MacAddress": "02:42:ac:11:00:99", "HostConfig": {"NetworkMode": "none"}}, "mac-address and the"),
        (_placed(MacAddress="zz"), "invalid MAC address: zz"),
        (_placed(IPAMConfig={"IPv4Address": 5}), "Expected `str`, got `int`"),
        (_placed(IPAMConfig={"LinkLocalIPs": "169.254.1.1"}), "got `str`"),
        (_mounted(Type="tmpfs", BindOptions={}), "field BindOptions must not be specified"),
        (_mounted(Type="volume", ImageOptions={}), "field ImageOptions must not be specified"),
        (_mounted(Type="tmpfs", TmpfsOptions={"SizeBytes": "1m,suid"}), "Expected `int`, got `str`"),
        ({"HostConfig": {"BlkioDeviceReadBps": [{"Path": 5}]}}, "Expected `str`, got `int`"),
        ({"HostConfig": {"DeviceRequests": [{"Capabilities": 5}]}}, "got `int`"),
        ({"HostConfig": {"ConsoleSize": [1]}}, "length 2"),
        ({"HostConfig": {"IOMaximumIOps": 5}}, "QoS maximum IOPs configuration is not supported on linux"),
        ({"HostConfig": {"IOMaximumBandwidth": 5}}, "QoS maximum bandwidth configuration is not supported on linux"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(shared_engine: Engine, body: dict[str, Any], sentence: str) -> None:
    answer = shared_engine.api("POST", "/containers/create", {"Image": "busybox", **body})
    assert (answer.status, sentence in answer.json["message"]) == (400, True), answer.json


def test_a_port_of_no_protocol_is_tcps(shared_engine: Engine) -> None:
    with container(shared_engine, ExposedPorts={"80": {}}, HostConfig={"PublishAllPorts": True}) as created:
        told = shared_engine.inspect(created["Id"])
        assert [*told["Config"]["ExposedPorts"], *told["NetworkSettings"]["Ports"]] == ["80/tcp", "80/tcp"]


@pytest.mark.parametrize("version", ["1.47", "1.51"])
def test_a_sysctl_of_an_interface(shared_engine: Engine, version: str) -> None:
    """dockerd moves it to the network's options, and since API 1.48 refuses it."""
    host = {"Sysctls": {"net.ipv4.conf.eth0.log_martians": "1"}}
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": host}
    id = shared_engine.api("POST", f"/v{version}/containers/create", body).check().json["Id"]
    try:
        shared_engine.api("POST", f"/containers/{id}/start").check()
        assert inside(shared_engine, id, "cat /proc/sys/net/ipv4/conf/eth0/log_martians") == ["1"]
        assert shared_engine.inspect(id)["HostConfig"]["Sysctls"] == host["Sysctls"]
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1")


def test_namespaces_of_a_container_that_is_renamed(shared_engine: Engine) -> None:
    """Whose they are is told by its ID: another may have the name when the container starts."""
    with container(shared_engine, HostConfig={"IpcMode": "shareable"}) as donor:
        shared_engine.api("POST", f"/containers/{donor['Id']}/rename?name=donor").check()
        modes = dict.fromkeys(("NetworkMode", "PidMode", "IpcMode"), "container:donor")
        with container(shared_engine, start=False, HostConfig=modes) as created:
            shared_engine.api("POST", f"/containers/{donor['Id']}/rename?name=renamed").check()
            shared_engine.api("POST", f"/containers/{created['Id']}/start").check()
            told = shared_engine.inspect(created["Id"])["HostConfig"]
            assert {told[mode] for mode in modes} == {f"container:{donor['Id']}"}
            theirs, own = shared_engine.init(donor["Id"]), shared_engine.init(created["Id"])
            for kind in ("net", "pid", "ipc"):
                assert os.readlink(f"/proc/{own}/ns/{kind}") == os.readlink(f"/proc/{theirs}/ns/{kind}")
