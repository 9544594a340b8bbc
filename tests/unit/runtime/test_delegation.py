"""Which manager of control groups a process gets, by what it may write to."""

from __future__ import annotations

from pathlib import Path

import pytest

from corten.errors import Unsupported
from corten.runtime.cgroups import detect
from corten.runtime.cgroups.absent import NoControlGroups
from corten.runtime.cgroups.v1 import CgroupV1
from corten.runtime.cgroups.v2 import CgroupV2
from corten.spec.runtime import Resources


class Machine:
    """Directories that look like a machine's; ``own`` is the group that the process is in."""

    def __init__(self, tmp_path: Path, own: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.top, self.own = tmp_path / "cgroup", own
        self.mountinfo = tmp_path / "mountinfo"
        self.membership = tmp_path / "membership"
        self.membership.write_text(f"3:memory:/x\n0::{own}\n")
        self.writable: set[str] = set()
        monkeypatch.setattr("corten.runtime.cgroups.mounts.writable", self._writable)

    def _writable(self, path: str) -> bool:
        return any(path == one or path.startswith(f"{one}/cgroup.") for one in self.writable)

    def mount(self, kind: str, name: str, options: str) -> str:
        place = self.top / name
        (place / self.own.strip("/")).mkdir(parents=True, exist_ok=True)
        with self.mountinfo.open("a") as file:
            file.write(f"1 2 0:3 / {place} rw - {kind} {kind} rw{options}\n")
        return str(place)

    def detect(self) -> object:
        return detect.__wrapped__(str(self.mountinfo), str(self.membership))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, "/user.slice/session", monkeypatch)


def test_root_has_the_whole_tree(machine: Machine) -> None:
    machine.writable = {machine.mount("cgroup2", "", "")}
    found = machine.detect()
    assert isinstance(found, CgroupV2)
    assert found.join_files("corten/x") == (f"{machine.top}/corten/x/cgroup.procs",)


def test_a_user_has_what_was_delegated(machine: Machine) -> None:
    top = machine.mount("cgroup2", "", "")
    machine.writable = {f"{top}/user.slice", f"{top}/user.slice/session"}
    (machine.top / "user.slice/cgroup.controllers").write_text("memory pids\n")
    found = machine.detect()
    assert isinstance(found, CgroupV2)
    assert found.controllers == {"memory", "pids"}
    assert found.join_files("corten/x") == (f"{top}/user.slice/corten/x/cgroup.procs",)
    assert found.leave_files() == (f"{top}/user.slice/session/cgroup.procs",)


def test_a_user_whose_part_is_elsewhere_has_none(machine: Machine) -> None:
    top = machine.mount("cgroup2", "", "")
    machine.writable = {f"{top}/user.slice/other"}
    found = machine.detect()
    assert isinstance(found, NoControlGroups)
    assert found.version == 2


def test_version_1_is_roots(machine: Machine) -> None:
    places = [machine.mount("cgroup", name, f",{name}") for name in ("memory", "pids")]
    machine.mount("cgroup2", "unified", "")
    assert isinstance(machine.detect(), NoControlGroups)
    machine.writable = set(places)
    found = machine.detect()
    assert isinstance(found, CgroupV1)
    assert found.controllers == {"memory", "pids"}


def test_nothing_is_mounted(machine: Machine) -> None:
    machine.mountinfo.write_text("")
    assert isinstance(machine.detect(), NoControlGroups)


def test_without_groups_a_container_runs_and_nothing_is_pretended() -> None:
    groups = NoControlGroups(2)
    assert groups.operations("corten/x", Resources()) == ()
    assert groups.join_files("corten/x") == ()
    assert groups.remove("corten/x")
    for refused in (groups.freeze, groups.statistics, groups.processes):
        with pytest.raises(Unsupported, match="no control groups"):
            refused("corten/x")
    with pytest.raises(Unsupported):
        groups.update("corten/x", Resources(memory=1))
