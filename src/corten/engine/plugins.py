"""What a plugin of a registry would be allowed on the machine. None is ever installed: they are only looked at."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterator, Mapping

from corten.engine.pull import credentials_of
from corten.engine.registries import config_of
from corten.errors import InvalidInput, Unavailable
from corten.registry.client import Repository
from corten.spec import descriptor as descriptors
from corten.spec import reference as references
from corten.spec.descriptor import Manifest
from corten.spec.document import Document
from corten.spec.reference import Reference

_log = logging.getLogger(__name__)
_CONFIG = "application/vnd.docker.plugin.v1+json"
_OWN_NETWORKS = ("", "null", "bridge")


@dataclasses.dataclass(frozen=True, slots=True)
class Privilege:
    """Something of the host's that a plugin asks for."""

    name: str
    description: str
    value: tuple[str, ...]


async def privileges(name: str, auth: Mapping[str, str] | None) -> tuple[Privilege, ...]:
    """What the plugin of that name asks for; nothing is known where its registry does not answer, as with dockerd,
    whose clients are told why when they install it. Raises NotFound, AccessDenied, DataCorrupt, InvalidInput."""
    try:
        return await asyncio.to_thread(_privileges, references.parse(name).tagged(), auth)
    except Unavailable as error:
        _log.warning("privileges of plugin %s: %s", name, error)
        return ()


def _privileges(reference: Reference, auth: Mapping[str, str] | None) -> tuple[Privilege, ...]:
    with Repository(reference, credentials_of(auth), kind="repository(plugin)") as repository:
        repository.ping()
        found = repository.manifest(str(reference.digest or reference.tag))
        value = descriptors.decode_any(found.content, found.media_type)
        if not isinstance(value, Manifest) or value.config.media_type != _CONFIG:
            raise InvalidInput(f"did not find plugin config for specified reference {reference}")
        content = config_of(repository, value.config)
    return tuple(asked_for(Document.parse(content, f"plugin config {value.config.digest}")))


def asked_for(config: Document) -> Iterator[Privilege]:
    """The privileges in a plugin's configuration, in dockerd's words and order. Raises DataCorrupt."""
    config = _folded(config)
    linux = _folded(config.child("linux"))
    network = _folded(config.child("network")).text("type")
    if network not in _OWN_NETWORKS:
        yield Privilege("network", "permissions to access a network", (network,))
    if config.flag("ipchost"):
        yield Privilege("host ipc namespace", "allow access to host ipc namespace", ("true",))
    if config.flag("pidhost"):
        yield Privilege("host pid namespace", "allow access to host pid namespace", ("true",))
    yield from _paths(config, "mounts", "source", "mount", "host path to mount")
    yield from _paths(linux, "devices", "path", "device", "host device to access")
    if linux.flag("allowalldevices"):
        yield Privilege("allow-all-devices", "allow 'rwm' access to all devices", ("true",))
    if capabilities := linux.texts("capabilities"):
        yield Privilege("capabilities", "list of additional capabilities required", capabilities)


def _paths(document: Document, members: str, member: str, name: str, description: str) -> Iterator[Privilege]:
    """Of each that has a path: one without waits for its user to set it, and asks for nothing yet."""
    for one in map(_folded, document.children(members)):
        if one.members.get(member) is not None:
            yield Privilege(name, description, (one.text(member),))


def _folded(document: Document) -> Document:
    """With names of members in lower case: dockerd writes them capital, whoever else makes plugins as documented."""
    return Document({name.lower(): value for name, value in document.members.items()}, document.what)
