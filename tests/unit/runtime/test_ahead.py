"""What of a start can be done before its container is known."""

from __future__ import annotations

import json

from corten.network.link import Address, DefaultRoute, Loopback, NoIpv6, VethPair
from corten.runtime.ahead import Done, Forecast, Order, Ready, as_json
from corten.runtime.operations.cgroups import CgroupCreate, CgroupJoin, CgroupWrite
from corten.runtime.operations.files import BindMount, DeviceLinks, DeviceNodes, MaskPaths, Mount, ReadOnlyPaths
from corten.runtime.operations.identity import Session
from corten.runtime.operations.namespaces import (
    CgroupNamespace,
    EnterContainer,
    Hostname,
    JoinNamespace,
    NewNamespaces,
    UserMap,
)
from corten.runtime.operations.root import OverlayMount, PivotRoot, PrivateMounts
from corten.spec.operation import Operation
from corten.spec.plan import Plan

CLONE = NewNamespaces(("mount", "pid", "network"))
ROOT = OverlayMount("/data", ("l",), "c/7/upper", "c/7/work", "c/7/merged")
PROC = Mount("proc", "proc", "/proc", ("nosuid",))
DEV = Mount("tmpfs", "tmpfs", "/dev", ("mode=755",))
NODES = DeviceNodes((("/dev/null", "c", 1, 3, 0o666, 0, 0),))


def kinds(*steps: Operation) -> list[str]:
    plan = Plan((CLONE, *steps))
    return [steps[place].kind for place in Forecast.of(plan).places.inside]


def foreseen(*steps: Operation) -> list[str]:
    """What is done ahead for one container besides, by what it acts on."""
    plan = Plan((CLONE, *steps))
    return [steps[place].what() for place in Forecast.of(plan).places.foreseen]


def test_what_no_container_has_a_say_in() -> None:
    steps = (
        Hostname("c"), PrivateMounts(), ROOT, PROC, DEV, NODES, DeviceLinks(), Mount("tmpfs", "shm", "/dev/shm"),
        Loopback(), Address("eth0", "10.0.0.2", 24), ReadOnlyPaths(("/proc/sys",)), MaskPaths(("/proc/kcore",)),
        PivotRoot(), Session(),
    )  # fmt: skip
    left = {"uts.hostname", "root.overlay", "network.address", "root.pivot"}
    assert kinds(*steps) == [step.kind for step in steps if step.kind not in left]


def test_a_terminal_belongs_to_its_container() -> None:
    assert kinds(Session(terminal=True)) == []


def test_nothing_is_put_under_what_comes_before_it() -> None:
    """A bind of the host's /dev comes first in the plan: what the plan mounts in it must not lie hidden below it."""
    host_dev = BindMount("/dev", "/dev", ("rbind",))
    assert kinds(ROOT, PROC, host_dev, Mount("tmpfs", "shm", "/dev/shm"), NODES) == ["mount"]


def test_what_is_masked_may_have_been_mounted_over_by_then() -> None:
    assert kinds(ROOT, PROC, BindMount("/x", "/proc/uptime"), MaskPaths(("/proc/uptime",))) == []


def test_a_path_that_only_begins_alike_is_another_one() -> None:
    assert kinds(ROOT, BindMount("/x", "/device"), DEV) == ["mount"]


def test_what_works_in_the_image_waits_for_it() -> None:
    assert kinds(ROOT, PROC, ReadOnlyPaths(("/etc",))) == ["mount"]
    assert kinds(ROOT, DeviceLinks()) == []
    assert kinds(ROOT, Mount("tmpfs", "tmpfs", "/run", ("mode=755",))) == []


def test_who_needs_the_host_or_its_namespaces_is_not_waited_for() -> None:
    assert kinds(JoinNamespace("network", "/proc/7/ns/net"), ROOT, PROC) == []
    plan = Plan((CLONE, UserMap(((0, 1000, 1),), ((0, 1000, 1),)), ROOT, PROC))
    assert Forecast.of(plan).places == Ready()


def test_a_group_is_made_and_joined_before_it_is_limited() -> None:
    join, limit = CgroupJoin(("/cg/tasks",)), CgroupWrite("/cg/c/memory.max", "1", "")
    plan = Plan((CgroupCreate("/cg", "c"), limit, CLONE, join, CgroupNamespace(), ROOT, PROC))
    assert Forecast.of(plan).places.outside == (0,)
    assert kinds(join, CgroupNamespace(), ROOT, PROC) == ["cgroup.join", "namespace.cgroup", "mount"]
    order = Forecast.of(plan).order(Done(True))
    assert [step["kind"] for step in order.outside] == ["cgroup.write", "namespace.clone"]


def test_one_container_s_own_root_and_files_are_foreseen() -> None:
    own = BindMount("/data/c/7/hosts", "/etc/hosts", ("rbind",))
    steps = (PrivateMounts(), ROOT, PROC, own, BindMount("/x", "/y"), PivotRoot())
    assert foreseen(*steps) == [ROOT.what(), own.what()]
    order = Forecast.of(Plan((CLONE, *steps))).order(Done(True, placed=True))
    assert Plan.decode(json.loads(order.inside)).steps == steps[4:]
    assert order.ready == ()
    assert order.sources == (("/x", False),)


def test_what_hides_a_file_of_its_own_is_not_put_under_it() -> None:
    own = BindMount("/data/c/7/hosts", "/etc/hosts", ("rbind",))
    assert foreseen(ROOT, BindMount("/x", "/etc"), own, PROC) == [ROOT.what()]


def test_a_file_in_another_container_s_directory_is_not_its_own() -> None:
    theirs = BindMount("/data/c/77/hosts", "/etc/hosts", ("rbind",))
    assert foreseen(ROOT, theirs, PROC) == [ROOT.what()]


def test_a_place_in_a_network_is_made_ahead() -> None:
    cable = VethPair("veth1", "br", "eth0", "02:42:0a:00:00:02", 1500)
    inside = (NoIpv6("eth0"), Address("eth0", "10.0.0.2", 24), DefaultRoute("10.0.0.1"))
    forecast = Forecast.of(Plan((CLONE, cable, ROOT, PROC, Loopback(), *inside, PivotRoot())))
    assert forecast.plugged == as_json((cable, *inside))
    order = forecast.order(Done(True, placed=True, plugged=True))
    assert ([step["kind"] for step in order.outside], order.awaits) == (["namespace.clone"], False)
    assert Plan.decode(json.loads(order.inside)).steps == (PivotRoot(),)
    assert forecast.order(Done(True, plugged=True)).ready == (1, 2, 3, 4, 5)
    assert forecast.order(Done(True)).awaits
    assert forecast.done(Done(True, plugged=True)) == {0, 1, 3, 4, 5, 6, 7}
    assert forecast.done(Done()) == frozenset()


def test_what_was_rehearsed_is_named_by_its_place() -> None:
    shown = Forecast.of(Plan((CLONE, Hostname("a"), ROOT, PROC, PivotRoot())))
    forecast = Forecast.of(Plan((CLONE, Hostname("b"), ROOT, PROC, PivotRoot())))
    order = forecast.order(Done(True, known=shown.known()))
    assert json.loads(order.inside) == [{"kind": "uts.hostname", "name": "b", "domain": ""}, 1, 2, 3]
    assert order.plan(shown.order().steps()) == forecast.plan


def test_nothing_is_done_ahead_of_an_exec() -> None:
    assert Forecast.of(Plan((EnterContainer(("mount",)), Session()))).ahead == ""


def test_an_order_has_the_whole_plan() -> None:
    bind = BindMount("/x", "/y", ("rbind",))
    plan = Plan((CLONE, ROOT, PROC, bind, PivotRoot()))
    forecast = Forecast.of(plan)
    assert [step["kind"] for step in json.loads(forecast.ahead)] == ["namespace.clone", "mount"]
    order = forecast.order()
    assert order.plan() == plan
    assert Order.decode(json.loads(json.dumps(order.encode()))).plan() == plan
    standing = forecast.order(Done(True))
    assert standing.inside == order.inside
    assert standing.ready == (1,)
    assert standing.sources == (("/x", True),)
