"""The figures of ``stats`` beside the kernel's own, of a container that has worked and is frozen, so that all stand."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import Engine
from tests.support.http import UnixConnection
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network]

MIB = 1 << 20
WORK = (
    "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; "
    "dd if=/dev/zero of=/data/f bs=1M count=8; dd if=/dev/zero of=/data/direct bs=1M count=4 oflag=direct; "
    "sleep 1000 & sleep 1001 & "
    "ping -c 3 -i 0.1 $(ip route | awk '/default/ {print $3}') >/dev/null; echo worked; sleep 1002"
)


@pytest.fixture(scope="module")
def worker(shared_engine: Engine) -> Iterator[str]:
    """A container whose work is done, paused."""
    docker = shared_engine.docker
    limits = ["-m", "256m", "--pids-limit", "77"]
    if device := disk(shared_engine.root):
        limits += ["--device-write-bps", f"{device}:1gb"]  # the kernel counts where there is a limit
    id = docker("run", "-d", *limits, "-v", "/data", "busybox", "sh", "-c", WORK).check().out.strip()
    try:
        wait_until(lambda: "worked" in docker("logs", id).check().out, "the end of its work")
        docker("pause", id).check()
        yield id
    finally:
        docker("rm", "-f", "-v", id)


def disk(path: Path) -> str:
    """The device that a file system is on; '' where it is on none."""
    number = os.stat(path).st_dev
    known = f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"
    return f"/dev/{os.path.basename(os.path.realpath(known))}" if os.path.exists(known) else ""


def stats(engine: Engine, id: str, query: str = "stream=0&one-shot=1") -> dict[str, Any]:
    told: dict[str, Any] = engine.api("GET", f"/containers/{id}/stats?{query}").check().json
    return told


def kernel(engine: Engine, id: str, file: str) -> str:
    """A file of the container's control group (version 1 has a directory a controller)."""
    for above in ("/sys/fs/cgroup/*", "/sys/fs/cgroup"):
        if found := glob.glob(f"{above}/{engine.names.cgroup}/{id}/{file}"):
            return Path(found[0]).read_text()
    pytest.skip(f"no {file} in control groups of this version")


def pairs(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in (line.split() for line in text.splitlines())}


def test_processor_time(shared_engine: Engine, worker: str) -> None:
    usage = stats(shared_engine, worker)["cpu_stats"]["cpu_usage"]
    assert usage["total_usage"] == int(kernel(shared_engine, worker, "cpuacct.usage"))
    assert usage["usage_in_usermode"] == int(kernel(shared_engine, worker, "cpuacct.usage_user"))
    assert usage["usage_in_kernelmode"] == int(kernel(shared_engine, worker, "cpuacct.usage_sys"))
    assert sum(usage["percpu_usage"]) == usage["total_usage"] > 0


def test_the_machines_time_goes_on(shared_engine: Engine, worker: str) -> None:
    def ticks() -> int:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:8]
        return sum(map(int, fields)) * 10_000_000

    before = ticks()
    told = stats(shared_engine, worker)["cpu_stats"]["system_cpu_usage"]
    assert before <= told <= ticks()


def test_memory(shared_engine: Engine, worker: str) -> None:
    # The kernel still writes pages back: it is asked before and after.
    before = int(kernel(shared_engine, worker, "memory.usage_in_bytes")), kernel(shared_engine, worker, "memory.stat")
    memory = stats(shared_engine, worker)["memory_stats"]
    after = int(kernel(shared_engine, worker, "memory.usage_in_bytes")), kernel(shared_engine, worker, "memory.stat")
    assert memory["limit"] == 256 * MIB
    assert min(before[0], after[0]) <= memory["usage"] <= max(before[0], after[0])
    known = [pairs(text) for _, text in (before, after)]
    assert all(min(one[name] for one in known) <= memory["stats"][name] <= max(one[name] for one in known)
               for name in ("total_inactive_file", "total_rss", "cache"))  # fmt: skip
    assert memory["stats"]["total_inactive_file"] >= 8 * MIB


@pytest.mark.parametrize("program", ["cli", "docker"])
def test_clients_leave_the_page_cache_out(shared_engine: Engine, worker: str, program: str) -> None:
    def shown() -> float:
        cli = getattr(shared_engine, program)
        text = cli("stats", "--no-stream", "--format", "{{.MemUsage}}", worker).check().out.partition(" / ")[0]
        return float(text[:-3]) * (MIB if text.endswith("MiB") else MIB >> 10)

    def own() -> int:
        memory = stats(shared_engine, worker)["memory_stats"]
        used: int = memory["usage"] - memory["stats"]["total_inactive_file"]
        return used

    wait_until(lambda: abs(shown() - own()) < MIB / 16, "the same figure")


def test_processes(shared_engine: Engine, worker: str) -> None:
    told = stats(shared_engine, worker)["pids_stats"]
    assert told == {"current": int(kernel(shared_engine, worker, "pids.current")), "limit": 77}
    assert told["current"] == 3  # two sleepers, and the shell, which has become the last


def test_network(shared_engine: Engine, worker: str) -> None:
    told = stats(shared_engine, worker)["networks"]["eth0"]
    line = next(line for line in Path(f"/proc/{shared_engine.init(worker)}/net/dev").read_text().splitlines()
                if line.strip().startswith("eth0:"))  # fmt: skip
    numbers = [int(field) for field in line.partition(":")[2].split()]
    assert told["tx_bytes"] == numbers[8] >= 3 * 98
    assert told["tx_packets"] == numbers[9] >= 3
    assert told["rx_packets"] >= 3  # neighbours may say more
    assert (told["rx_errors"], told["rx_dropped"], told["tx_errors"], told["tx_dropped"]) == (
        numbers[2], numbers[3], numbers[10], numbers[11],
    )  # fmt: skip


def test_block_io(shared_engine: Engine, worker: str) -> None:
    told = stats(shared_engine, worker)["blkio_stats"]["io_service_bytes_recursive"] or []
    counted = {
        (fields[0], fields[1].lower()): int(fields[2])
        for fields in (line.split() for line in kernel(
            shared_engine, worker, "blkio.throttle.io_service_bytes_recursive").splitlines())
        if len(fields) == 3 and fields[1] in ("Read", "Write")
    }  # fmt: skip
    assert {(f"{one['major']}:{one['minor']}", one["op"]): one["value"] for one in told} == counted
    if not counted:
        pytest.skip("the data root is on no block device")
    assert sum(size for (_, direction), size in counted.items() if direction == "write") >= 4 * MIB


def test_each_sample_has_the_one_before_it(shared_engine: Engine, worker: str) -> None:
    once = stats(shared_engine, worker)
    assert once["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert once["preread"] == "0001-01-01T00:00:00Z"
    two = stats(shared_engine, worker, "stream=0")
    assert two["preread"] < two["read"]
    assert two["precpu_stats"]["system_cpu_usage"] < two["cpu_stats"]["system_cpu_usage"]
    connection = UnixConnection(shared_engine.socket)
    try:
        connection.request("GET", f"/containers/{worker}/stats")
        answer = connection.getresponse()
        first, second = (json.loads(answer.readline()) for _ in range(2))
    finally:
        connection.close()
    assert second["precpu_stats"] == first["cpu_stats"]
    assert second["preread"] == first["read"]


def test_one_that_does_not_run_has_none(shared_engine: Engine) -> None:
    id = shared_engine.docker("create", "busybox", "true").check().out.strip()
    try:
        told = stats(shared_engine, id)
        assert (told["pids_stats"], told["memory_stats"]) == ({}, {})
        assert told["cpu_stats"]["cpu_usage"]["total_usage"] == 0
    finally:
        shared_engine.docker("rm", id)
