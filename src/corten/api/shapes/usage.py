"""Volumes, and what everything together takes of the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from corten.api.shapes.configs import Version
from corten.api.shapes.containers import summaries
from corten.api.shapes.images import image_summary
from corten.engine.model import Volume

if TYPE_CHECKING:
    from corten.api.services import Services


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
        "build-cache": ("BuildCacheUsage", _counted([])),
    }
    if verbose:
        items: dict[str, list[dict[str, Any]]] = {
            "image": [image_summary(image, services, version, shared=shared) for image, _, shared in used["images"]],
            "container": summaries(((one, (rw, root)) for one, rw, root in used["containers"]), services, version),
            "volume": [volume_usage(*one) for one in used["volumes"]],
            "build-cache": [],
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
