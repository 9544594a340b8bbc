"""Images as ``images``, ``inspect`` and ``history`` show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from corten.api.times import unix_seconds
from corten.spec.image import Image

if TYPE_CHECKING:
    from corten.api.services import Services


def image_summary(image: Image, services: Services) -> dict[str, Any]:
    """``ImageSummary``: one row of ``images``."""
    users = sum(container.image == image.id for container in services.containers.list(all=True))
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": image.repo_tags or (None if image.repo_digests else []),
        "RepoDigests": image.repo_digests,
        "Created": image.created_unix,
        "Size": image.size,
        "SharedSize": -1,
        "VirtualSize": image.size,
        "Labels": image.config.labels or None,
        "Containers": users,
    }


def image_inspect(image: Image, services: Services) -> dict[str, Any]:
    """``ImageInspect``; ``Config`` stands as the image has it."""
    raw = msgspec.json.decode(image.raw)
    return {
        "Id": image.id,
        "RepoTags": image.repo_tags,
        "RepoDigests": image.repo_digests,
        "Parent": "",
        "Comment": image.document.comment,
        "Created": image.created or "0001-01-01T00:00:00Z",
        "DockerVersion": raw.get("docker_version", ""),
        "Author": image.document.author,
        "Config": _config(raw.get("config") or {}),
        "Architecture": image.architecture,
        **({"Variant": image.variant} if image.variant else {}),
        "Os": image.os,
        "Size": image.size,
        "VirtualSize": image.size,
        "GraphDriver": _graph_driver(image, services),
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": image.tagged_at or "0001-01-01T00:00:00Z"},
        "Descriptor": {
            "mediaType": image.manifest.media_type, "digest": image.manifest.digest, "size": image.manifest.size,
        },
    }  # fmt: skip


def _config(raw: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": False, "AttachStdout": False,
        "AttachStderr": False, "Tty": False, "OpenStdin": False, "StdinOnce": False, "Env": None, "Cmd": None,
        "Image": "", "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None, "Labels": None,
    }  # fmt: skip
    return {**defaults, **raw}


def _graph_driver(image: Image, services: Services) -> dict[str, Any]:
    lowers = services.images.layer_directories(image)
    data = {"LowerDir": ":".join(lowers[1:]), "UpperDir": lowers[0]} if lowers else {}
    return {"Name": "overlay2", "Data": data or None}


def history_shape(image: Image) -> list[dict[str, Any]]:
    """``history``, newest first: only the last step has the image's ID."""
    sizes = iter(image.layer_sizes)
    rows: list[dict[str, Any]] = [
        {
            "Id": "<missing>",
            "Created": unix_seconds(entry.created),
            "CreatedBy": entry.created_by,
            "Tags": None,
            "Size": 0 if entry.empty_layer else next(sizes, 0),
            "Comment": entry.comment,
        }
        for entry in image.document.history
    ]
    rows += [{"Id": "<missing>", "Created": image.created_unix, "CreatedBy": "", "Tags": None, "Size": size,
              "Comment": ""} for size in sizes]  # fmt: skip
    rows.reverse()
    if rows:
        rows[0] |= {"Id": image.id, "Tags": image.repo_tags or None}
    return rows
