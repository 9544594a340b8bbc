"""``update``: limits and the restart policy of containers that are there."""

from __future__ import annotations

from corten.errors import InvalidInput

from . import notation
from .container_config import flag_value
from .container_options import CREATE_OPTIONS
from .context import Context
from .lifecycle import each
from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .options import Values

_PLAIN = {
    "blkio-weight": "BlkioWeight",
    "cpu-period": "CpuPeriod",
    "cpu-quota": "CpuQuota",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "cpu-shares": "CpuShares",
    "cpuset-cpus": "CpusetCpus",
    "cpuset-mems": "CpusetMems",
    "pids-limit": "PidsLimit",
}
_SIZES = {"memory": "Memory", "memory-reservation": "MemoryReservation", "memory-swap": "MemorySwap"}
_OTHERS = ("cpus", "restart")


def update(context: Context, values: Values, names: list[str]) -> int:
    """``update``; only what stood on the command line changes."""
    request = _request(values)
    if not request:
        raise InvalidInput("you must provide one or more flags when using this command")

    def post(name: str) -> None:
        answer = context.client.post(f"/containers/{name}/update", None, request)
        for warning in answer.get("Warnings") or []:
            context.error(warning)

    return each(context, names, post)


def _request(values: Values) -> dict[str, Any]:
    request: dict[str, Any] = {key: getattr(values, name) for name, key in _PLAIN.items() if values.given(name)}
    for name, key in _SIZES.items():
        if values.given(name):
            flag = "-m, --memory" if name == "memory" else f"--{name}"
            request[key] = flag_value(flag, notation.size, getattr(values, name))
    if values.given("cpus"):
        request["NanoCpus"] = flag_value("--cpus", notation.nano_cpus, values.cpus)
    if values.given("restart"):
        request["RestartPolicy"] = notation.restart_policy(values.restart)
    return request


_NAMES = {*_PLAIN, *_SIZES, *_OTHERS}
UPDATE = Command(
    update,
    "Update configuration of one or more containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    tuple(option for option in CREATE_OPTIONS if option.name in _NAMES),
    arguments=(1, None),
)
