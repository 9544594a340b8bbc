"""Images as ``images``, ``inspect`` and ``history`` show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from corten.api.shapes.configs import Version
from corten.api.shapes.descriptors import descriptor_shape, platform_shape
from corten.api.times import unix_seconds
from corten.engine.clock import ZERO
from corten.spec.image import Image

if TYPE_CHECKING:
    from corten.api.services import Services

_UNKNOWN = -1
"""What is not counted unless a client asks for it."""


def image_summary(
    image: Image, services: Services, version: Version, *, shared: int = _UNKNOWN, manifests: bool = False,
    counted: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """``ImageSummary``: one row of ``images``. ``shared`` is what it shares with others, in bytes; containers are
    ``counted`` for the disk's usage in every version, for a listing since 1.51."""
    users = [one.id for one in services.containers.list(all=True) if one.image == image.id]
    tags, by_digest = image.repo_tags, image.repo_digests
    if version < (1, 43):
        tags, by_digest = tags or ["<none>:<none>"], by_digest or ["<none>@<none>"]
    shape: dict[str, Any] = {
        "Id": image.id,
        "ParentId": image.parent,
        "RepoTags": tags,
        "RepoDigests": by_digest,
        "Created": image.created_unix,
        "Size": image.size,
        "SharedSize": shared,
        "Labels": image.config.labels or None,
        "Containers": len(users) if counted or version >= (1, 51) else _UNKNOWN,
    }
    if version < (1, 44):
        shape["VirtualSize"] = image.size
    if version >= (1, 48):
        shape["Descriptor"] = descriptor_shape(image)
    if manifests:
        shape["Manifests"] = [manifest_summary(image, users)]
    return shape


def manifest_summary(image: Image, users: list[str]) -> dict[str, Any]:
    """``ImageManifestSummary``: of the manifests of an image, the one for this machine is here."""
    content = image.manifest.size + len(image.raw) + sum(layer.size for layer in image.layers)
    return {
        "ID": image.manifest.digest,
        "Descriptor": descriptor_shape(image),
        "Available": True,
        "Size": {"Content": content, "Total": content + image.size},
        "Kind": "image",
        "ImageData": {
            "Platform": platform_shape(image.platform),
            "Containers": users,
            "Size": {"Unpacked": image.size},
        },
    }


def image_inspect(
    image: Image, services: Services, version: Version, *, manifests: bool = False
) -> dict[str, Any]:
    """``ImageInspect``; ``Config`` stands as the image has it."""
    raw = msgspec.json.decode(image.raw)
    return {
        "Id": image.id,
        "RepoTags": image.repo_tags,
        "RepoDigests": image.repo_digests,
        **_origin(image, raw, version),
        "Config": _config(raw.get("config") or {}, version),
        "Architecture": image.architecture,
        **({"Variant": image.variant} if image.variant else {}),
        "Os": image.os,
        **({"OsVersion": image.platform.os_version} if image.platform.os_version else {}),
        "Size": image.size,
        **({"VirtualSize": image.size} if version < (1, 44) else {}),
        "GraphDriver": _graph_driver(image, services),
        "RootFS": {"Type": "layers", "Layers": list(image.diff_ids)},
        "Metadata": {"LastTagTime": image.tagged_at or ZERO},
        **({"Descriptor": descriptor_shape(image)} if version >= (1, 48) else {}),
        **({"Manifests": [manifest_summary(image, _users(image, services))]} if manifests else {}),
    }


def _users(image: Image, services: Services) -> list[str]:
    return [one.id for one in services.containers.list(all=True) if one.image == image.id]


def _origin(image: Image, raw: dict[str, Any], version: Version) -> dict[str, Any]:
    """By whom, when and from what it was made: each version of the API has its own way to say "not known"."""
    shape = {
        "Parent": image.parent,
        "Comment": image.document.comment,
        "Created": image.created,
        "DockerVersion": raw.get("docker_version", ""),
        "Author": image.document.author,
    }
    if version < (1, 44):
        shape["Created"] = image.created or ZERO
    if version >= (1, 44) and not image.created:
        del shape["Created"]
    if version >= (1, 52):
        shape = {name: value for name, value in shape.items() if value}
    if version < (1, 45):
        empty, found = {**_CONTAINER_DEFAULTS, **_IMAGE_DEFAULTS}, raw.get("container_config")
        found = found if isinstance(found, dict) else {}  # nothing vouches for what an image says there
        config = {name: found.get(name, value) for name, value in empty.items()}
        return {**shape, "Container": raw.get("container", ""), "ContainerConfig": config}
    return shape


_IMAGE_DEFAULTS: dict[str, Any] = {
    "User": "", "Env": None, "Cmd": None, "Volumes": None, "WorkingDir": "", "Entrypoint": None, "OnBuild": None,
    "Labels": None,
}  # fmt: skip
_CONTAINER_DEFAULTS: dict[str, Any] = {
    "Hostname": "", "Domainname": "", "AttachStdin": False, "AttachStdout": False, "AttachStderr": False, "Tty": False,
    "OpenStdin": False, "StdinOnce": False, "Image": "",
}  # fmt: skip
_IMAGE_MEMBERS = frozenset(
    {*_IMAGE_DEFAULTS, "ExposedPorts", "Healthcheck", "ArgsEscaped", "StopSignal", "Shell"}
)  # fmt: skip


def _config(raw: dict[str, Any], version: Version) -> dict[str, Any]:
    """``ImageConfig``: what builders wrote beside it, a container's configuration, is of no meaning."""
    own = {name: value for name, value in raw.items() if name in _IMAGE_MEMBERS}
    if version >= (1, 52):
        return {name: value for name, value in own.items() if value}
    if version >= (1, 50):
        return {**_IMAGE_DEFAULTS, **own}
    return {**_CONTAINER_DEFAULTS, **_IMAGE_DEFAULTS, **own}


def _graph_driver(image: Image, services: Services) -> dict[str, Any]:
    driver, lowers = services.images.layer_paths(image)
    data = {"LowerDir": ":".join(lowers[1:]), "UpperDir": lowers[0]} if lowers and driver != "vfs" else {}
    return {"Name": driver, "Data": data or None}


def history_shape(image: Image, services: Services) -> list[dict[str, Any]]:
    """``history``, newest first: the last step has the image's ID, and the last of its parent's the parent's."""
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
    _name_steps(rows, image, services)
    return rows


def _name_steps(rows: list[dict[str, Any]], image: Image, services: Services) -> None:
    place = 0
    current: Image | None = image
    while current is not None and place < len(rows):
        rows[place] |= {"Id": current.id, "Tags": current.repo_tags or None}
        parent = services.images.find(current.parent)
        place = len(rows) - (len(parent.document.history) if parent else 0)
        current = parent
