"""Links on the default bridge (``--link``): lines of /etc/hosts and variables that tell of another container."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Sequence

import msgspec

from corten.engine import hosts_edit
from corten.engine.container_network import DEFAULT, decoded_endpoints, parsed_link
from corten.engine.events import Event
from corten.engine.model import Container, HostConfig
from corten.engine.paths import Paths
from corten.engine.records import Records
from corten.engine.runtime_config import shared_container
from corten.errors import Conflict, CortenError, InvalidInput, NotFound
from corten.network.ports import container_port

_log = logging.getLogger(__name__)
_NOT_PASSED = ("HOME", "PATH")


@dataclasses.dataclass(frozen=True, slots=True)
class Linked:
    """A container that another one links to, by a name."""

    alias: str
    container: Container
    ip: str


def settled(host: HostConfig, name: str, find: Callable[[str], Container]) -> HostConfig:
    """A new container's links as dockerd's inspect has them, ``/other:/container/alias``. Raises InvalidInput for a
    container that is not there, and where a network is shared."""
    mode = host.network_mode
    if not host.links:
        return host
    if mode == "host" or mode.startswith("container:"):
        raise _conflict("host type networking" if mode == "host" else "container type network")
    if mode not in ("", "default", DEFAULT):
        return host
    found = []
    for text in host.links:
        ref, alias = parsed_link(text)
        try:
            other = find(ref)
            while shared := shared_container(other.host.network_mode):  # who has the network is linked to
                other = find(shared)
        except CortenError as error:
            raise InvalidInput(f"could not get container for {ref}: {error.message}") from None
        if other.host.network_mode == "host":
            raise _conflict("host type networking")
        found.append(f"/{other.name}:/{name}/{alias}")
    return msgspec.structs.replace(host, links=found)


def _conflict(kind: str) -> InvalidInput:
    return InvalidInput(
        f"conflicting options: {kind} can't be used with links. This would result in undefined behavior"
    )


def aliases(containers: Iterable[Container]) -> dict[str, list[str]]:
    """By its name, what those that link to a container call it: ``/container/alias``."""
    found: dict[str, list[str]] = {}
    for text in (text for one in containers for text in one.host.links or () if text.startswith("/")):
        name, _, alias = text.partition(":")
        found.setdefault(name[1:], []).append(alias)
    return found


def target(container: Container, alias: str, find: Callable[[str], Container]) -> Container:
    """Whom a container calls by an alias. Raises NotFound."""
    for text in container.host.links or ():
        if text.startswith("/") and text.endswith(f":/{container.name}/{alias}"):
            return find(parsed_link(text)[0])
    raise NotFound(f"No such container: {container.name}/{alias}")


def renamed(container: Container, old: str, new: str) -> HostConfig:
    """What a container asks for when a name in its links, its own or another's, has become another one."""
    links = container.host.links
    if not links or container.host.network_mode not in ("", "default", DEFAULT):
        return container.host
    return msgspec.structs.replace(container.host, links=[_renamed(text, old, new) for text in links])


def _renamed(text: str, old: str, new: str) -> str:
    other, _, place = text.partition(":")
    other = f"/{new}" if other == f"/{old}" else other
    return f"{other}:/{new}/{place[len(old) + 2:]}" if place.startswith(f"/{old}/") else f"{other}:{place}"


def without(container: Container, alias: str) -> HostConfig:
    """What a container asks for without one of its links on the default bridge. Raises NotFound."""
    links = container.host.links or []
    rest = [text for text in links if not text.endswith(f":/{container.name}/{alias}")]
    if len(rest) == len(links):
        raise NotFound(f"No such container: {container.name}/{alias}")
    return msgspec.structs.replace(container.host, links=rest or None)


def resolve(container: Container, find: Callable[[str], Container]) -> list[Linked]:
    """The containers that one on the default bridge links to, with their addresses there. Raises NotFound, Conflict."""
    if container.host.network_mode not in ("", "default", DEFAULT):
        return []
    found = []
    for text in container.host.links or ():
        ref, alias = parsed_link(text)
        other = find(ref)
        if not other.state.running:
            raise Conflict(f"Cannot link to a non running container: /{other.name} AS /{container.name}/{alias}")
        ip = next((one.ip for one in decoded_endpoints(other) if one.network == DEFAULT), "")
        if not ip:
            raise Conflict(f"Cannot link to /{other.name}, as it does not belong to the default network")
        found.append(Linked(alias, other, ip))
    return found


def lines(linked: Sequence[Linked]) -> list[str]:
    """The lines of /etc/hosts."""
    found = []
    for one in linked:
        names = dict.fromkeys((one.alias, one.container.config.hostname, one.container.name))
        found.append(f"{one.ip}\t{' '.join(filter(None, names))}\n")
    return found


def environment(container: Container, linked: Sequence[Linked]) -> tuple[str, ...]:
    """The variables: what each other container is called, its exposed ports, and its own variables."""
    found: list[str] = []
    for one in linked:
        prefix = one.alias.replace("-", "_").upper()
        found.append(f"{prefix}_NAME=/{container.name}/{one.alias}")
        found += _port_variables(prefix, one)
        for variable in one.container.config.env or ():
            name, equals, value = variable.partition("=")
            if equals and name not in _NOT_PASSED:
                found.append(f"{prefix}_ENV_{name}={value}")
    return tuple(found)


def _port_variables(prefix: str, linked: Linked) -> list[str]:
    ports = sorted(container_port(text) for text in linked.container.config.exposed_ports or {})
    found = []
    for number, protocol in ports:
        name = f"{prefix}_PORT_{number}_{protocol.upper()}"
        url = f"{protocol}://{linked.ip}:{number}"
        if (number, protocol) == ports[0]:
            found.append(f"{prefix}_PORT={url}")
        parts = (("ADDR", linked.ip), ("PORT", number), ("PROTO", protocol))
        found += [f"{name}={url}", *(f"{name}_{part}={value}" for part, value in parts)]
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class LinkedHosts:
    """Keeps the /etc/hosts of those that run right when a container that they link to starts again, with another
    address."""

    records: Records
    paths: Paths

    def heard(self, event: Event) -> None:
        """An event of the engine's."""
        if event.type != "container" or event.action != "start":
            return
        for container in self.records:
            if container.state.running and container.host.links:
                self._renew(container, self.records.get(event.actor))

    def _renew(self, container: Container, other: Container) -> None:
        ip = next((one.ip for one in decoded_endpoints(other) if one.network == DEFAULT), "")
        aliases = [alias for ref, alias in map(parsed_link, container.host.links or ()) if ref == other.name]
        if not ip or not aliases or container.host.network_mode != DEFAULT:
            return
        new = lines([Linked(alias, other, ip) for alias in aliases])
        names = {line.partition("\t")[2] for line in new}
        path = self.paths.container(container.id) / "hosts"
        try:
            hosts_edit.edit(path, drop=lambda line: line.partition("\t")[2] in names, add="".join(new))
        except CortenError as error:
            _log.warning("container %s: %s", container.id[:12], error.message)
