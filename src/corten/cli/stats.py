"""``stats``: what containers use, measured twice and told as a rate."""

from __future__ import annotations

import select
import sys

from corten.errors import CortenError, NotFound, Unsupported

from .context import Context
from .options import FLAG, Command, Option
from .ps import FORMAT
from .table import Listing
from .units import bytes_size, human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .options import Values

    Sample = dict[str, Any]

_COLUMNS = ("Container", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs")
_CLEAR = "\033[2J\033[H"
_PERIOD_MS = 1000


def stats(context: Context, values: Values, names: list[str]) -> int:
    """``stats``: once with ``--no-stream``, else every second until it is interrupted."""
    if any(word in values.format for word in ("table", "")) and not values.no_stream and sys.stdout.isatty():
        clear = _CLEAR
    else:
        clear = ""
    before = _samples(context, values, names)
    while True:
        select.select([], [], [], _PERIOD_MS / 1000)
        now = _samples(context, values, names)
        rows = [_row(before.get(identifier), sample) for identifier, sample in now.items()]
        sys.stdout.write(clear)
        _listing(full=values.no_trunc).show(context, rows, values.format, ("ID", *_COLUMNS[1:]))
        sys.stdout.flush()
        if values.no_stream:
            return 0
        before = now


def _samples(context: Context, values: Values, names: list[str]) -> dict[str, Sample]:
    """One sample of each container; one that leaves in between is left out, one that is not there is an error."""
    wanted = names or [row["Id"] for row in context.client.get("/containers/json", {"all": values.all or None})]
    found: dict[str, Sample] = {}
    for name in wanted:
        try:
            sample = context.client.get(f"/containers/{name}/stats", {"stream": False, "one-shot": True})
        except NotFound:
            if names:
                raise
        except Unsupported:
            raise  # it concerns the engine, not this container
        except CortenError as error:
            context.failure(error)
        else:
            found[sample.get("id") or name] = {**sample, "container": name}
    return found


def _row(before: Sample | None, now: Sample) -> dict[str, Any]:
    memory, limit = _memory(now.get("memory_stats") or {})
    received, sent = _network(now)
    read, written = _block(now)
    return {
        "container": now["container"],
        "id": now.get("id") or now["container"],
        "name": str(now.get("name", "")).removeprefix("/"),
        "cpu": _cpu(before or now, now),
        "memory": (memory, limit),
        "network": (received, sent),
        "block": (read, written),
        "pids": (now.get("pids_stats") or {}).get("current", 0),
    }


def _cpu(before: Sample, now: Sample) -> float:
    """Per cent of one CPU between two samples."""
    first, second = before.get("cpu_stats") or {}, now.get("cpu_stats") or {}
    used = _total(second) - _total(first)
    passed = second.get("system_cpu_usage", 0) - first.get("system_cpu_usage", 0)
    cpus = second.get("online_cpus") or 1
    return used / passed * cpus * 100 if used > 0 and passed > 0 else 0.0


def _total(cpu: dict[str, Any]) -> int:
    return int((cpu.get("cpu_usage") or {}).get("total_usage", 0))


def _memory(memory: dict[str, Any]) -> tuple[int, int]:
    """Usage without the page cache that could be dropped, and the limit."""
    usage, details = memory.get("usage", 0), memory.get("stats") or {}
    cache = details.get("total_inactive_file", details.get("inactive_file", 0))
    return usage - cache if cache < usage else usage, memory.get("limit", 0)


def _network(sample: Sample) -> tuple[int, int]:
    devices = (sample.get("networks") or {}).values()
    return sum(one["rx_bytes"] for one in devices), sum(one["tx_bytes"] for one in devices)


def _block(sample: Sample) -> tuple[int, int]:
    entries = (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or []
    totals = {"r": 0, "w": 0}
    for entry in entries:
        operation = str(entry["op"])[:1].lower()
        if operation in totals:
            totals[operation] += entry["value"]
    return totals["r"], totals["w"]


def _pair(pair: tuple[int, int]) -> str:
    return f"{human_size(pair[0], 3)} / {human_size(pair[1], 3)}"


def _percent(pair: tuple[int, int]) -> str:
    return f"{pair[0] / pair[1] * 100:.2f}%" if pair[1] else "0.00%"


def _listing(*, full: bool) -> Listing:
    return Listing(
        "Stats",
        {
            "Container": ("CONTAINER", lambda row: row["container"]),
            "ID": ("CONTAINER ID", lambda row: row["id"] if full else row["id"][:12]),
            "Name": ("NAME", lambda row: row["name"]),
            "CPUPerc": ("CPU %", lambda row: f"{row['cpu']:.2f}%"),
            "MemUsage": ("MEM USAGE / LIMIT", lambda row: " / ".join(map(bytes_size, row["memory"]))),
            "MemPerc": ("MEM %", lambda row: _percent(row["memory"])),
            "NetIO": ("NET I/O", lambda row: _pair(row["network"])),
            "BlockIO": ("BLOCK I/O", lambda row: _pair(row["block"])),
            "PIDs": ("PIDS", lambda row: str(row["pids"])),
        },
    )


STATS = Command(
    stats,
    "Display a live stream of container(s) resource usage statistics",
    "[OPTIONS] [CONTAINER...]",
    (
        Option("-a, --all", FLAG, "Show all containers (default shows just running)"),
        FORMAT,
        Option("--no-stream", FLAG, "Disable streaming stats and only pull the first result"),
        Option("--no-trunc", FLAG, "Do not truncate output"),
    ),
    arguments=(0, None),
)
