"""Every member of HostConfig in the specification: what becomes of it, seen in the kernel, an answer, or a refusal.

A member that a newer specification has and this table has not fails the first test.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

MIB = 1 << 20
SPECIFICATION = Path(__file__).resolve().parents[2] / "specification/docker-engine-api-v1.56.yaml"

SEEN = (
    "Annotations", "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps", "BlkioDeviceWriteIOps", "CapAdd",
    "CapDrop", "CgroupnsMode", "ContainerIDFile", "CpuPeriod", "CpuQuota", "CpuShares", "CpusetCpus", "CpusetMems",
    "DeviceCgroupRules", "Devices", "Dns", "DnsOptions", "DnsSearch", "ExtraHosts", "GroupAdd", "Init", "IpcMode",
    "MaskedPaths", "Memory", "MemoryReservation", "MemorySwap", "NanoCpus", "OomScoreAdj", "PidMode", "PidsLimit",
    "ReadonlyPaths", "ReadonlyRootfs", "SecurityOpt", "ShmSize", "Sysctls", "Tmpfs", "UTSMode", "Ulimits", "Privileged",
    "MemorySwappiness", "OomKillDisable", "ConsoleSize", "CgroupParent",
    "CpuRealtimePeriod", "CpuRealtimeRuntime",
)  # fmt: skip
"""Looked at in this file, where the kernel or an answer shows them."""
ELSEWHERE = {
    "AutoRemove": "test_course", "Binds": "test_mounts", "LogConfig": "test_log_drivers", "Mounts": "test_volumes",
    "NetworkMode": "test_course", "PortBindings": "test_course", "PublishAllPorts": "test_course",
    "RestartPolicy": "test_course", "VolumesFrom": "test_mounts",
}  # fmt: skip
WARNED = {
    "BlkioWeight": ({"BlkioWeight": 300}, "Block I/O weight"),
    "BlkioWeightDevice": ({"BlkioWeightDevice": [{"Path": "/dev/null", "Weight": 300}]}, "Block I/O weight_device"),
}
REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "DeviceRequests": ({"DeviceRequests": [{"Count": 1, "Capabilities": [["gpu"]]}]}, 400, "could not select device"),
    "Isolation": ({"Isolation": "hyperv"}, 400, 'invalid isolation "hyperv" on linux'),
    "Runtime": ({"Runtime": "other"}, 400, "unknown or invalid runtime name: other"),
    "StorageOpt": ({"StorageOpt": {"size": "1g"}}, 400, "--storage-opt is supported only for"),
    "UsernsMode": ({"UsernsMode": "private"}, 400, "invalid USER mode: private"),
    "VolumeDriver": ({"VolumeDriver": "other", "Binds": ["v:/v"]}, 404, "error looking up volume plugin other"),
}
WINDOWS = ("CpuCount", "CpuPercent", "IOMaximumBandwidth", "IOMaximumIOps")
"""Of no meaning on Linux: refused, or a warning, in test_config."""
OTHERS_WORK = ("Links", "Cgroup")
"""Links are networks' matter; ``Cgroup`` is a warning in test_config."""

LIMITS: dict[str, Any] = {
    "CpuPeriod": 50000, "CpuQuota": 25000, "CpuShares": 512, "CpusetCpus": "0", "CpusetMems": "0",
    "Memory": 64 * MIB, "MemoryReservation": 32 * MIB, "MemorySwap": 96 * MIB, "MemorySwappiness": 10, "PidsLimit": 50,
    "OomScoreAdj": 321, "Ulimits": [{"Name": "nofile", "Soft": 77, "Hard": 88}], "GroupAdd": ["1234"],
    "CapDrop": ["ALL"], "CapAdd": ["NET_BIND_SERVICE"], "SecurityOpt": ["no-new-privileges"], "ReadonlyRootfs": True,
    "ShmSize": 3 * MIB, "Sysctls": {"net.ipv4.ip_forward": "1"}, "Tmpfs": {"/t": "size=2m"}, "Init": True,
    "Dns": ["192.0.2.53"], "DnsOptions": ["ndots:3"], "DnsSearch": ["example.org"], "ExtraHosts": ["far:192.0.2.1"],
    "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/mine", "CgroupPermissions": "rw"}],
    "DeviceCgroupRules": ["c 42:* rwm"], "MaskedPaths": ["/proc/version"], "ReadonlyPaths": ["/proc/sys"],
    "Annotations": {"a": "b"}, "ConsoleSize": [24, 80], "ContainerIDFile": "/run/id",
    "CgroupnsMode": "private", "IpcMode": "private",
}  # fmt: skip


@pytest.fixture(scope="module")
def limited(shared_engine: Engine) -> Iterator[str]:
    """A container with everything that can be had together."""
    host = {**LIMITS, **throttles(shared_engine)}
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "User": "1000", "HostConfig": host}
    created = shared_engine.api("POST", "/containers/create", body).check().json
    try:
        assert created["Warnings"] == []
        shared_engine.api("POST", f"/containers/{created['Id']}/start").check()
        yield created["Id"]
    finally:
        shared_engine.api("DELETE", f"/containers/{created['Id']}?force=1")


def throttles(engine: Engine) -> dict[str, Any]:
    """Limits of the disk that the data root is on; none where it is on no disk."""
    number = os.stat(engine.root).st_dev
    known = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    if not os.path.exists(known):
        return {}
    device = f"/dev/{os.path.basename(os.path.realpath(known))}"
    rates = {"ReadBps": 10 * MIB, "WriteBps": 11 * MIB, "ReadIOps": 1200, "WriteIOps": 1300}
    return {f"BlkioDevice{name}": [{"Path": device, "Rate": rate}] for name, rate in rates.items()}


def group(engine: Engine, id: str, file: str) -> str:
    found = glob.glob(f"/sys/fs/cgroup/*/{engine.names.cgroup}/{id}/{file}")
    if not found:
        pytest.skip(f"no {file}: control groups of version 2 are looked at by make test-vm")
    return Path(found[0]).read_text().strip()


def inside(engine: Engine, id: str, script: str) -> str:
    return engine.docker("exec", id, "sh", "-c", script).check().out.strip()


def test_no_member_of_the_specification_is_forgotten() -> None:
    definitions = yaml.safe_load(SPECIFICATION.read_text())["definitions"]
    members = {name for part in definitions["HostConfig"]["allOf"] for name in part.get("properties", {})}
    members |= set(definitions["Resources"]["properties"])
    assert members == {*SEEN, *ELSEWHERE, *WARNED, *REFUSED, *WINDOWS, *OTHERS_WORK}


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("cpu.shares", "512"), ("cpu.cfs_period_us", "50000"), ("cpu.cfs_quota_us", "25000"), ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"), ("memory.limit_in_bytes", str(64 * MIB)), ("pids.max", "50"),
        ("memory.soft_limit_in_bytes", str(32 * MIB)), ("memory.memsw.limit_in_bytes", str(96 * MIB)),
        ("memory.swappiness", "10"),
    ],
)  # fmt: skip
def test_the_kernel_has_the_limits(shared_engine: Engine, limited: str, file: str, value: str) -> None:
    assert group(shared_engine, limited, file) == value


def test_the_kernel_has_the_limits_of_a_disk(shared_engine: Engine, limited: str) -> None:
    if not throttles(shared_engine):
        pytest.skip("the data root is on no disk")
    found = {name: group(shared_engine, limited, f"blkio.throttle.{name}_device").split()[1]
             for name in ("read_bps", "write_bps", "read_iops", "write_iops")}  # fmt: skip
    assert found == {
        "read_bps": str(10 * MIB), "write_bps": str(11 * MIB), "read_iops": "1200", "write_iops": "1300",
    }  # fmt: skip


def test_the_process_is_as_asked_for(shared_engine: Engine, limited: str) -> None:
    pid = shared_engine.init(limited)
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["CapBnd"] == f"{1 << 10:016x}"
    assert status["NoNewPrivs"] == "1"
    assert "1234" in status["Groups"].split()
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "321\n"
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max open files")).split()[3:5] == ["77", "88"]
    assert "sleep" not in Path(f"/proc/{pid}/comm").read_text()  # the reaper is the first process


def test_the_container_sees_what_was_asked_for(shared_engine: Engine, limited: str) -> None:
    script = (
        "cat /etc/resolv.conf; grep far /etc/hosts; df -k /dev/shm /t | awk 'NR>1{print $2}'; "
        "cat /proc/version | wc -c; cat /proc/sys/net/ipv4/ip_forward; echo x > /dev/mine && echo writes; "
        "touch /x 2>&1; true"
    )
    lines = inside(shared_engine, limited, script).splitlines()
    assert {"nameserver 192.0.2.53", "search example.org", "options ndots:3"} <= set(lines)
    assert any(line.split() == ["192.0.2.1", "far"] for line in lines)
    assert lines[-6:] == ["3072", "2048", "0", "1", "writes", "touch: /x: Read-only file system"]


def test_inspect_tells_it_again(shared_engine: Engine, limited: str) -> None:
    told = shared_engine.inspect(limited)["HostConfig"]
    asked = {**LIMITS, **throttles(shared_engine)}
    assert {name: told[name] for name in asked} == asked


def test_namespaces_of_the_host(shared_engine: Engine) -> None:
    host = {"PidMode": "host", "UTSMode": "host", "IpcMode": "host", "CgroupnsMode": "host", "NanoCpus": 500_000_000,
            "Privileged": True, "OomKillDisable": True, "Memory": 64 * MIB}  # fmt: skip
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {**host, "NetworkMode": "host"}}
    created = shared_engine.api("POST", "/containers/create", body).check().json
    id = created["Id"]
    try:
        shared_engine.api("POST", f"/containers/{id}/start").check()
        pid = shared_engine.init(id)
        for kind in ("pid", "uts", "ipc", "cgroup", "net"):
            assert os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/self/ns/{kind}"), kind
        status = Path(f"/proc/{pid}/status").read_text()
        own = Path("/proc/self/status").read_text()
        assert next(line for line in status.splitlines() if line.startswith("CapBnd")) in own
        quota, period = (int(group(shared_engine, id, f"cpu.cfs_{name}_us")) for name in ("quota", "period"))
        assert quota * 2 == period
        assert "oom_kill_disable 1" in group(shared_engine, id, "memory.oom_control")
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1")


def test_real_time_processes(shared_engine: Engine) -> None:
    """On a kernel that gives their time to groups; one that does not says so at create."""
    host = {"CpuRealtimePeriod": 100_000, "CpuRealtimeRuntime": 1000, "NetworkMode": "none"}
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "StopSignal": "SIGKILL", "HostConfig": host}
    answer = shared_engine.api("POST", "/containers/create", body)
    if not glob.glob("/sys/fs/cgroup/cpu*/cpu.rt_runtime_us"):
        assert answer.status == 400
        assert "does not support CPU real-time scheduler" in answer.json["message"]
        return
    id = answer.check().json["Id"]
    try:
        shared_engine.api("POST", f"/containers/{id}/start").check()
        told = [group(shared_engine, id, f"cpu.rt_{name}_us") for name in ("period", "runtime")]
        assert told == ["100000", "1000"]
        os.sched_setscheduler(shared_engine.init(id), os.SCHED_FIFO, os.sched_param(10))  # EPERM in one without time
        os.sched_setscheduler(shared_engine.init(id), os.SCHED_OTHER, os.sched_param(0))
        more = {"CpuRealtimePeriod": 50_000, "CpuRealtimeRuntime": 2000}
        shared_engine.api("POST", f"/containers/{id}/update", more).check()
        told = [group(shared_engine, id, f"cpu.rt_{name}_us") for name in ("period", "runtime")]
        assert told == ["50000", "2000"]
        too_much = {"CpuRealtimePeriod": 50_000, "CpuRealtimeRuntime": 50_000}
        assert shared_engine.api("POST", f"/containers/{id}/update", too_much).status == 400
        assert group(shared_engine, id, "cpu.rt_runtime_us") == "2000"
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1")


def test_a_group_of_the_users_choice(shared_engine: Engine) -> None:
    parent = f"{shared_engine.names.cgroup}/chosen"
    body = {"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"CgroupParent": f"/{parent}"}}
    id = shared_engine.api("POST", "/containers/create", body).check().json["Id"]
    try:
        shared_engine.api("POST", f"/containers/{id}/start").check()
        assert f"/{parent}/{id}" in Path(f"/proc/{shared_engine.init(id)}/cgroup").read_text()
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1")


@pytest.mark.parametrize("member", WARNED)
def test_what_this_kernel_has_not_is_a_warning(shared_engine: Engine, member: str) -> None:
    if glob.glob("/sys/fs/cgroup/blkio*/blkio.*weight") or glob.glob("/sys/fs/cgroup/*/io.*weight"):
        pytest.skip("this kernel weighs block I/O")
    host, sentence = WARNED[member]
    created = shared_engine.api("POST", "/containers/create", {"Image": "busybox", "HostConfig": host}).check().json
    shared_engine.api("DELETE", f"/containers/{created['Id']}")
    assert any(sentence in warning for warning in created["Warnings"])


@pytest.mark.parametrize("member", REFUSED)
def test_what_cannot_be_had_is_refused(shared_engine: Engine, member: str) -> None:
    host, status, sentence = REFUSED[member]
    answer = shared_engine.api("POST", "/containers/create", {"Image": "busybox", "HostConfig": host})
    assert answer.status == status
    assert sentence in json.loads(answer.body)["message"]
