"""``Config`` and ``HostConfig`` of a container, as inspect has them."""

from __future__ import annotations

from typing import Any

import msgspec

from corten.engine.model import ContainerConfig, HostConfig

Version = tuple[int, int]

_WHERE_SET = ("ExposedPorts", "Healthcheck", "ArgsEscaped", "NetworkDisabled", "MacAddress", "StopSignal",
              "StopTimeout", "Shell")  # fmt: skip
_HOST_WHERE_SET = ("Annotations", "Mounts", "StorageOpt", "Tmpfs", "Sysctls", "Init")
_OPTIONS = ("BindOptions", "VolumeOptions", "TmpfsOptions", "ImageOptions")


def config_shape(config: ContainerConfig, version: Version) -> dict[str, Any]:
    """``ContainerConfig``: what dockerd leaves out when it is not set is left out."""
    shape: dict[str, Any] = msgspec.to_builtins(config)
    _drop_unset(shape, _WHERE_SET)
    if (check := shape.get("Healthcheck")) is not None:
        shape["Healthcheck"] = {name: value for name, value in check.items() if value}
    if version >= (1, 52):
        _drop_unset(shape, ("OnBuild",))
        shape.pop("MacAddress", None)
    return shape


def host_shape(host: HostConfig, version: Version) -> dict[str, Any]:
    """``HostConfig``."""
    shape: dict[str, Any] = msgspec.to_builtins(host)
    _drop_unset(shape, _HOST_WHERE_SET)
    for mount in shape.get("Mounts") or ():
        _drop_unset(mount, ("Source", "ReadOnly", "Consistency"))
        for name in _OPTIONS:
            if mount[name] is None:
                del mount[name]
    shape["ConsoleSize"] = shape["ConsoleSize"] or [0, 0]
    shape["OomKillDisable"] = bool(shape["OomKillDisable"])
    del shape["KernelMemoryTCP"]
    if version >= (1, 42):
        del shape["KernelMemory"]
    return shape


def _drop_unset(shape: dict[str, Any], names: tuple[str, ...]) -> None:
    for name in names:
        if shape.get(name) in (None, "", [], {}):
            shape.pop(name, None)
