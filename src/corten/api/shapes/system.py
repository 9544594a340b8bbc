"""The engine as ``info`` and ``version`` show it, in each version of the API."""

from __future__ import annotations

from typing import Any

from corten.api.router import DEFAULT, MINIMUM, text_of
from corten.api.shapes.configs import Version

_SINCE = {
    "CgroupVersion": (1, 41), "DefaultAddressPools": (1, 41), "PidsLimit": (1, 40), "CDISpecDirs": (1, 44),
    "FirewallBackend": (1, 49), "DiscoveredDevices": (1, 50), "Warnings": (1, 39), "ProductLicense": (1, 39),
}  # fmt: skip


def info_shape(info: dict[str, Any], version: Version) -> dict[str, Any]:
    """``SystemInfo``."""
    shape = {name: value for name, value in info.items() if version >= _SINCE.get(name, (0, 0))}
    if version >= (1, 50):
        shape = {name: value for name, value in shape.items() if not name.startswith("BridgeNf")}
    if version < (1, 49):
        nothing: list[str] | None = [] if version < (1, 48) else None
        artifacts = dict.fromkeys(
            ("AllowNondistributableArtifactsCIDRs", "AllowNondistributableArtifactsHostnames"), nothing
        )
        shape["RegistryConfig"] = {**artifacts, **shape["RegistryConfig"]}
        for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
            shape[name] = {**shape[name], "Expected": shape[name]["ID"]}
    if version < (1, 44):
        shape["Runtimes"] = {name: {"path": one["path"]} for name, one in shape["Runtimes"].items()}
    return shape


def version_shape(version: dict[str, Any]) -> dict[str, Any]:
    """``SystemVersion``: what the engine says of itself, and which versions of the API are spoken."""
    spoken = {"ApiVersion": text_of(DEFAULT), "MinAPIVersion": text_of(MINIMUM)}
    engine, *others = version["Components"]
    engine = {**engine, "Details": {**engine["Details"], **spoken}}
    return {**version, **spoken, "Components": [engine, *others]}
