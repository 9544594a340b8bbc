"""What an engine may leave behind: processes, mounts, cgroups, network namespaces, links.

Only what carries the engine's own names, or descends from it, is counted: other engines may be at work on the
machine at the same time.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
from pathlib import Path

from tests.support.names import Names
from tests.support.process import command_line, descendants

_CGROUPS = Path("/sys/fs/cgroup")
STANDBY, _MOST_STANDBYS = "corten-standby", 14
"""Two monitors stand by for a start, with starter and init, and one with a starter for an exec; two more for containers
that were created and not started. They come and go, and so do the control groups that they alone are in."""


@dataclasses.dataclass(frozen=True, slots=True)
class Footprint:
    """What is there at one moment."""

    processes: frozenset[str]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    namespaces: frozenset[str]
    links: frozenset[str]

    def beyond(self, before: Footprint) -> list[str]:
        """What is here and was not there before, one line a thing."""
        fields = [field.name for field in dataclasses.fields(self)]
        return [
            f"{name}: {item}" for name in fields
            for item in sorted(getattr(self, name) - getattr(before, name))
        ]  # fmt: skip


def footprint(root: Path, names: Names, ancestor: int) -> Footprint:
    """What an engine has on the machine now; ``ancestor`` is the process that its orphans fall to."""
    family = descendants(ancestor)
    tree = {pid for pid in family if name_of(pid) != STANDBY}
    standing = {str(pid) for pid in family - tree}
    too_many = {f"{len(standing)} stand by"} if len(standing) > _MOST_STANDBYS else set()
    return Footprint(
        processes=frozenset({*(f"{pid} {command_line(pid)}" for pid in tree), *too_many}),
        mounts=frozenset(_mounts(root, names)),
        cgroups=frozenset(str(path) for path in cgroups(names.cgroup) if not _stands_by(path, standing)),
        namespaces=frozenset().union(*(_network_namespaces(pid) for pid in tree)),
        links=frozenset(_others(names.bridge, standing)),
    )


def name_of(pid: int) -> str:
    """What a process calls itself; '' when it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _mounts(root: Path, names: Names) -> list[str]:
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    ours = (os.path.realpath(root), str(names.run))
    return [point for point in points if any(point == own or point.startswith(own + "/") for own in ours)]


def cgroups(parent: str) -> list[Path]:
    """Every cgroup below those named ``parent``, deepest first, in every hierarchy."""
    tops = [top for top in (*_CGROUPS.glob(parent), *_CGROUPS.glob(f"*/{parent}")) if top.is_dir()]
    return [Path(path) for top in tops for path, _, _ in os.walk(top, topdown=False) if Path(path) != top]


def removed(group: Path) -> bool:
    """Whether a cgroup is gone now. One whose last process was just killed is busy for a moment."""
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _stands_by(group: Path, standing: set[str]) -> bool:
    """Whether only those who stand by are in a group."""
    try:
        members = (group / "cgroup.procs").read_text().split()
    except OSError:
        return False
    return bool(members) and standing.issuperset(members)


def _network_namespaces(pid: int) -> set[str]:
    """Those that a process lives in or holds open."""
    found: set[str] = set()
    try:
        held = [f"/proc/{pid}/fd/{number}" for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return found
    for path in (f"/proc/{pid}/ns/net", *held):
        try:
            target = os.readlink(path)
        except OSError:
            continue
        if target.startswith("net:["):
            found.add(target)
    return found


def _others(bridge: str, standing: set[str]) -> list[str]:
    """The ports of a bridge, but for those at whose other end somebody stands by."""
    ports = links(bridge)
    if not ports or not standing:
        return ports
    peers = frozenset().union(*map(_peers, standing))
    return [port for port in ports if _index(port) not in peers]


def _peers(pid: str) -> set[int]:
    """The numbers, on the host, of the other ends of a process's cables."""
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "-json", "link", "show", "type", "veth"]
    answer = subprocess.run(command, capture_output=True, check=False)  # it may have just left
    found = json.loads(answer.stdout or "[]") if answer.returncode == 0 else []
    return {link["link_index"] for link in found if "link_index" in link}


def _index(link: str) -> int:
    try:
        return int(Path(f"/sys/class/net/{link}/ifindex").read_text())
    except OSError:
        return 0


def links(bridge: str) -> list[str]:
    """The interfaces that are ports of a bridge."""
    try:
        return sorted(os.listdir(f"/sys/class/net/{bridge}/brif"))
    except FileNotFoundError:
        return []
