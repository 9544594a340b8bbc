"""Volumes, and what everything together takes of the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corten.api.shapes.configs import Version
from corten.api.shapes.containers import summaries
from corten.api.shapes.images import image_summary
from corten.engine.clock import format_time
from corten.engine.model import Volume

if TYPE_CHECKING:
    from corten.api.services import Services
    from corten.engine.build_mounts import Usage


def volume_shape(volume: Volume) -> dict[str, Any]:
    """``Volume``."""
    return {
        "CreatedAt": volume.created_at,
        "Driver": volume.driver,
        "Labels": volume.labels or None,
        "Mountpoint": volume.mountpoint,
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": volume.scope,
    }


def volume_usage(volume: Volume, size: int, references: int) -> dict[str, Any]:
    """``Volume`` with ``UsageData``."""
    return {**volume_shape(volume), "UsageData": {"Size": size, "RefCount": references}}


def cache_usage(one: Usage, version: Version) -> dict[str, Any]:
    """``BuildCache``."""
    shape = {
        "ID": one.id,
        "Type": one.type,
        "Description": one.about,
        "InUse": one.in_use,
        "Shared": one.shared,
        "Size": one.size,
        "CreatedAt": format_time(int(one.made * 1e9)),
        "LastUsedAt": format_time(int(one.used * 1e9)),
        "UsageCount": one.hits,
    }
    return {**shape, "Parents": None} if version >= (1, 42) else {**shape, "Parent": ""}


def usage_shape(
    services: Services, used: dict[str, Any], version: Version, *, verbose: bool
) -> dict[str, tuple[str, dict[str, Any]]]:
    """By kind of object, the member and its value: counts, sizes, and what would come free."""
    in_use = {container.image for container, _, _ in used["containers"]}
    images = [(image.id in in_use, image.size - shared) for image, _, shared in used["images"]]
    containers = [(container.state.running, rw) for container, rw, _ in used["containers"]]
    volumes = [(bool(references), size) for _, size, references in used["volumes"]]
    shapes = {
        "image": ("ImageUsage", {**_counted(images), "TotalSize": used["layers"]}),
        "container": ("ContainerUsage", _counted(containers)),
        "volume": ("VolumeUsage", _counted(volumes)),
        "build-cache": ("BuildCacheUsage", _counted([(one.in_use or one.shared, one.size) for one in used["builds"]])),
    }
    if verbose:
        items: dict[str, list[dict[str, Any]]] = {
            "image": [image_summary(image, services, version, shared=shared) for image, _, shared in used["images"]],
            "container": summaries(((one, (rw, root)) for one, rw, root in used["containers"]), services, version),
            "volume": [volume_usage(*one) for one in used["volumes"]],
            "build-cache": [cache_usage(one, version) for one in used["builds"]],
        }
        for kind, (_, shape) in shapes.items():
            shape["Items"] = items[kind]
    return shapes


def _counted(objects: list[tuple[bool, int]]) -> dict[str, Any]:
    """Of (whether it is in use, its bytes)."""
    return {
        "ActiveCount": sum(active for active, _ in objects),
        "TotalCount": len(objects),
        "Reclaimable": sum(size for active, size in objects if not active),
        "TotalSize": sum(size for _, size in objects),
    }
