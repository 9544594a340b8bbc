"""A plan that was made ahead is used for the record and the places that it was made for, and for nothing else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from corten.engine.foresight import Foresight
from corten.engine.model import Container, ContainerConfig, HostConfig, MountPoint, PortBinding
from corten.network.ports import PortRequest
from corten.runtime.operations.namespaces import Hostname, NewNamespaces
from corten.spec.plan import Plan

PLACE: Any = "a place"


class Planner:
    """Counts the plans it makes."""

    def __init__(self) -> None:
        self.made = 0
        self.networks = SimpleNamespace(ports=self)
        self.expected: list[PortRequest] = []

    def expect(self, requests: list[PortRequest]) -> None:
        """In the place of the ports that are held."""
        self.expected += requests

    def plan(self, container: Container, endpoints: object) -> Plan:
        """A plan that tells which container's it is."""
        self.made += 1
        return Plan((NewNamespaces(("mount",)), Hostname(container.name)))


class Reservations:
    """One place for whoever asks."""

    def of(self, container: Container) -> tuple[Any, ...]:
        """The place."""
        return (PLACE,)


def container(name: str = "a", **members: Any) -> Container:
    return Container(
        id="1" * 64, name=name, created="", image="i", config=ContainerConfig(), path="true", args=[], layers=[],
        **{"host": HostConfig(network_mode="bridge"), **members},
    )  # fmt: skip


def foresight() -> tuple[Foresight, Planner]:
    planner: Any = Planner()
    reservations: Any = Reservations()
    return Foresight(planner, reservations), planner


def test_it_is_made_once() -> None:
    ahead, planner = foresight()
    one = container()
    ahead.look(one)
    assert ahead.forecast(one, (PLACE,)).plan.steps[1] == Hostname("a")
    assert planner.made == 1
    ahead.forecast(one, (PLACE,))
    assert planner.made == 2


def test_not_for_another_record_nor_for_other_places() -> None:
    ahead, planner = foresight()
    one = container()
    ahead.look(one)
    changed = msgspec.structs.replace(one, name="b")
    assert ahead.forecast(changed, (PLACE,)).plan.steps[1] == Hostname("b")
    other: Any = "another place"
    ahead.forecast(one, (other,))
    assert planner.made == 3


@pytest.mark.parametrize(
    "members",
    [
        {"host": HostConfig(network_mode="container:x")},
        {"host": HostConfig(network_mode="bridge", links=["x:y"])},
        {"mounts": [MountPoint("bind", "/x", "/y")]},
    ],
)
def test_not_where_others_have_a_say(members: dict[str, Any]) -> None:
    ahead, planner = foresight()
    ahead.look(container(**members))
    assert planner.made == 0


def test_ports_are_expected_where_there_will_be_some() -> None:
    ahead, planner = foresight()
    bindings = {"80/tcp": [PortBinding("", "8080")]}
    ahead.look(container(host=HostConfig(network_mode="bridge", port_bindings=bindings)))
    assert planner.expected == [PortRequest("tcp", 80, "", 8080, 8080)]
    ahead.look(container(host=HostConfig(network_mode="host", port_bindings=bindings)))
    ahead.look(container())
    assert len(planner.expected) == 1
