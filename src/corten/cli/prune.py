"""``container prune``, ``image prune``, ``volume prune``, ``network prune``, ``system prune``."""

from __future__ import annotations

import sys

from .context import Context
from .options import FLAG, Command, Option
from .table import filters
from .units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .options import Values


class _Kind:
    """What is pruned: the API's path, the headings of what was deleted, and the warning before."""

    def __init__(self, path: str, title: str, warning: str, shown: Callable[[dict[str, Any]], list[str]]) -> None:
        self.path = path
        self.title = title
        self.warning = warning
        self.shown = shown

    def prune(self, context: Context, wanted: dict[str, list[str]] | None) -> int:
        """Delete, tell what was deleted; the bytes reclaimed."""
        answer = context.client.post(f"/{self.path}/prune", {"filters": wanted})
        if lines := self.shown(answer):
            context.out("\n".join([self.title, *lines, ""]))
        return int(answer.get("SpaceReclaimed") or 0)


def _names(key: str) -> Callable[[dict[str, Any]], list[str]]:
    return lambda answer: answer.get(key) or []


def _images(answer: dict[str, Any]) -> list[str]:
    deleted = answer.get("ImagesDeleted") or []
    return [f"{verb.lower()}: {name}" for item in deleted for verb, name in item.items()]


_CONTAINERS = _Kind(
    "containers",
    "Deleted Containers:",
    "WARNING! This will remove all stopped containers.",
    _names("ContainersDeleted"),
)
_IMAGES = _Kind("images", "Deleted Images:", "WARNING! This will remove all dangling images.", _images)
_ALL_IMAGES = "WARNING! This will remove all images without at least one container associated to them."
_VOLUMES = _Kind(
    "volumes",
    "Deleted Volumes:",
    "WARNING! This will remove anonymous local volumes not used by at least one container.",
    _names("VolumesDeleted"),
)
_ALL_VOLUMES = "WARNING! This will remove all local volumes not used by at least one container."
_NETWORKS = _Kind(
    "networks",
    "Deleted Networks:",
    "WARNING! This will remove all custom networks not used by at least one container.",
    _names("NetworksDeleted"),
)

_CACHE = _Kind(
    "build",
    "Deleted build cache objects:",
    "WARNING! This will remove all build cache that no build uses.",
    _names("CachesDeleted"),
)


def _confirmed(context: Context, values: Values, warning: str) -> bool:
    """Whether the user agrees, who need not be asked with ``--force``."""
    if values.force:
        return True
    sys.stdout.write(f"{warning}\nAre you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


def _one(context: Context, values: Values, kind: _Kind, warning: str, wanted: dict[str, list[str]]) -> int:
    if not _confirmed(context, values, warning):
        return 0
    reclaimed = kind.prune(context, wanted or None)
    if kind is not _NETWORKS:
        context.out(f"Total reclaimed space: {human_size(reclaimed)}")
    return 0


def containers(context: Context, values: Values, arguments: list[str]) -> int:
    """``container prune``."""
    return _one(context, values, _CONTAINERS, _CONTAINERS.warning, filters(values.filter) or {})


def images(context: Context, values: Values, arguments: list[str]) -> int:
    """``image prune``."""
    wanted = {**(filters(values.filter) or {}), "dangling": ["false" if values.all else "true"]}
    return _one(context, values, _IMAGES, _ALL_IMAGES if values.all else _IMAGES.warning, wanted)


def volumes(context: Context, values: Values, arguments: list[str]) -> int:
    """``volume prune``."""
    wanted = {**(filters(values.filter) or {}), **({"all": ["true"]} if values.all else {})}
    return _one(context, values, _VOLUMES, _ALL_VOLUMES if values.all else _VOLUMES.warning, wanted)


def networks(context: Context, values: Values, arguments: list[str]) -> int:
    """``network prune``."""
    return _one(context, values, _NETWORKS, _NETWORKS.warning, filters(values.filter) or {})


def cache(context: Context, values: Values, arguments: list[str]) -> int:
    """``builder prune``: what of the cache no build uses; with ``--keep-storage`` the latest of it stays."""
    if not _confirmed(context, values, _CACHE.warning):
        return 0
    from .notation import size

    query = {"filters": filters(values.filter), "keep-storage": values.keep_storage and size(values.keep_storage)}
    answer = context.client.post("/build/prune", query)
    if lines := _CACHE.shown(answer):
        context.out("\n".join([_CACHE.title, *lines, ""]))
    context.out(f"Total reclaimed space: {human_size(int(answer.get('SpaceReclaimed') or 0))}")
    return 0


def system(context: Context, values: Values, arguments: list[str]) -> int:
    """``system prune``."""
    removed = [
        "  - all stopped containers",
        "  - all networks not used by at least one container",
        *(["  - all anonymous volumes not used by at least one container"] if values.volumes else []),
        "  - all images without at least one container associated to them" if values.all else "  - all dangling images",
        "  - unused build cache",
    ]
    if not _confirmed(context, values, "\n".join(["WARNING! This will remove:", *removed, ""])):
        return 0
    wanted = filters(values.filter) or {}
    reclaimed = _CONTAINERS.prune(context, wanted or None)
    _NETWORKS.prune(context, wanted or None)
    if values.volumes:
        reclaimed += _VOLUMES.prune(context, wanted or None)
    reclaimed += _IMAGES.prune(context, {**wanted, "dangling": ["false" if values.all else "true"]})
    if not any(name.startswith("label") for name in wanted):  # a step of a build has none
        reclaimed += _CACHE.prune(context, wanted or None)
    context.out(f"Total reclaimed space: {human_size(reclaimed)}")
    return 0


_FORCE = Option("-f, --force", FLAG, "Do not prompt for confirmation")
_FILTER = Option("--filter", "filter", 'Provide filter values (e.g. "until=<timestamp>")')
CONTAINERS = Command(containers, "Remove all stopped containers", "[OPTIONS]", (_FILTER, _FORCE))
IMAGES = Command(
    images,
    "Remove unused images",
    "[OPTIONS]",
    (Option("-a, --all", FLAG, "Remove all unused images, not just dangling ones"), _FILTER, _FORCE),
)
VOLUMES = Command(
    volumes,
    "Remove unused local volumes",
    "[OPTIONS]",
    (Option("-a, --all", FLAG, "Remove all unused volumes, not just anonymous ones"), _FILTER, _FORCE),
)
NETWORKS = Command(networks, "Remove all unused networks", "[OPTIONS]", (_FILTER, _FORCE))
CACHE = Command(
    cache,
    "Remove build cache",
    "[OPTIONS]",
    (
        Option("-a, --all", FLAG, "Accepted for compatibility: all that no build uses goes"),
        _FILTER,
        _FORCE,
        Option("--keep-storage", "bytes", "Amount of disk space to keep for cache"),
    ),
)
SYSTEM = Command(
    system,
    "Remove unused data",
    "[OPTIONS]",
    (
        Option("-a, --all", FLAG, "Remove all unused images not just dangling ones"),
        _FILTER,
        _FORCE,
        Option("--volumes", FLAG, "Prune anonymous volumes"),
    ),
)
