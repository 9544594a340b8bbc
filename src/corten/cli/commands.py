"""Every command's name and where it lives: ``module:ATTRIBUTE``. A module is imported only when it is called.

The first name of a target is the one that help lists; further names are its aliases.
"""

from __future__ import annotations

from .main import COMMON

_CONTAINER = {
    "attach": "attach:ATTACH",
    "commit": "commit:COMMIT",
    "cp": "cp:CP",
    "create": "run:CREATE",
    "diff": "changes:DIFF",
    "exec": "execute:EXEC",
    "export": "changes:EXPORT",
    "inspect": "inspect:CONTAINER",
    "kill": "lifecycle:KILL",
    "logs": "logs:LOGS",
    "ls": "ps:LIST",
    "list": "ps:LIST",
    "ps": "ps:LIST",
    "pause": "lifecycle:PAUSE",
    "port": "port:PORT",
    "prune": "prune:CONTAINERS",
    "rename": "lifecycle:RENAME",
    "restart": "lifecycle:RESTART",
    "rm": "lifecycle:REMOVE",
    "remove": "lifecycle:REMOVE",
    "run": "run:RUN",
    "start": "start:START",
    "stats": "stats:STATS",
    "stop": "lifecycle:STOP",
    "top": "top:TOP",
    "unpause": "lifecycle:UNPAUSE",
    "update": "update:UPDATE",
    "wait": "lifecycle:WAIT",
}
_IMAGE = {
    "build": "build:BUILD",
    "bootstrap": "bootstrap:BOOTSTRAP",
    "history": "history:HISTORY",
    "import": "transfer:IMPORT",
    "inspect": "inspect:IMAGE",
    "load": "transfer:LOAD",
    "ls": "images:LIST",
    "list": "images:LIST",
    "pin": "pin:PIN",
    "prune": "prune:IMAGES",
    "pull": "pull:PULL",
    "push": "push:PUSH",
    "rm": "images:REMOVE",
    "remove": "images:REMOVE",
    "save": "transfer:SAVE",
    "tag": "images:TAG",
    "unpin": "pin:UNPIN",
}
_MANIFEST = {
    "annotate": "manifest:ANNOTATE",
    "create": "manifest:CREATE",
    "inspect": "manifest:INSPECT",
    "push": "manifest:PUSH",
    "rm": "manifest:REMOVE",
}
_NETWORK = {
    "connect": "network:CONNECT",
    "create": "network:CREATE",
    "disconnect": "network:DISCONNECT",
    "explain": "network:EXPLAIN",
    "inspect": "inspect:NETWORK",
    "ls": "network:LIST_COMMAND",
    "list": "network:LIST_COMMAND",
    "prune": "prune:NETWORKS",
    "rm": "network:REMOVE",
    "remove": "network:REMOVE",
}
_REGISTRY = {"serve": "registry:SERVE"}
_SYSTEM = {
    "df": "df:DF",
    "events": "events:EVENTS",
    "info": "info:INFO",
    "prune": "prune:SYSTEM",
    "stop": "info:STOP",
}
_VOLUME = {
    "create": "volume:CREATE",
    "inspect": "inspect:VOLUME",
    "ls": "volume:LIST_COMMAND",
    "list": "volume:LIST_COMMAND",
    "prune": "prune:VOLUMES",
    "rm": "volume:REMOVE",
    "remove": "volume:REMOVE",
}
_BUILDER = {"build": "build:BUILD", "prune": "prune:CACHE"}
GROUPS = {
    "builder": ("Manage builds", _BUILDER),
    "container": ("Manage containers", _CONTAINER),
    "image": ("Manage images", _IMAGE),
    "manifest": ("Manage manifests and manifest lists of registries", _MANIFEST),
    "network": ("Manage networks", _NETWORK),
    "registry": ("Be a registry", _REGISTRY),
    "system": ("Manage Corten", _SYSTEM),
    "volume": ("Manage volumes", _VOLUME),
}
_UNLISTED = ("ls", "list", "ps", "prune", "remove", "inspect")
_FURTHER = {
    **{name: place for name, place in _CONTAINER.items() if name not in _UNLISTED},
    "completion": "completion:COMPLETION",
    "events": "events:EVENTS",
    "history": "history:HISTORY",
    "import": "transfer:IMPORT",
    "inspect": "inspect:INSPECT",
    "load": "transfer:LOAD",
    "login": "login:LOGIN",
    "logout": "login:LOGOUT",
    "rmi": "images:REMOVE",
    "save": "transfer:SAVE",
    "tag": "images:TAG",
    "unpin": "pin:UNPIN",
}
TOP = {**COMMON, **{name: place for name, place in sorted(_FURTHER.items()) if name not in COMMON}}
"""Commands without a group."""
HIDDEN = {"__complete": "completion:COMPLETE"}


def find(words: list[str]) -> tuple[str, str, list[str]]:
    """The place of the command that a line names, its name, and the rest of the line.

    The place is '' for a group without a command (the name is the group's, or '' for nothing at all).
    Raises KeyError with the name that is not known.
    """
    if not words:
        return "", "", []
    first, *rest = words
    if first in GROUPS:
        return _in_group(first, rest)
    place = TOP.get(first) or HIDDEN.get(first)
    if place is None:
        raise KeyError(first)
    return place, first, rest


def _in_group(group: str, words: list[str]) -> tuple[str, str, list[str]]:
    if not words or words[0].startswith("-"):
        return "", group, words
    name = f"{group} {words[0]}"
    place = GROUPS[group][1].get(words[0])
    if place is None:
        raise KeyError(name)
    return place, name, words[1:]


def aliases(place: str) -> list[str]:
    """Every name of a command, those in groups first."""
    grouped = [
        f"{group} {name}" for group, (_, names) in GROUPS.items() for name, target in names.items() if target == place
    ]
    return grouped + [name for name, target in TOP.items() if target == place]
