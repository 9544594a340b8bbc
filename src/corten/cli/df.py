"""``system df``."""

from __future__ import annotations

from . import images, ps, volume
from .context import Context
from .options import FLAG, Command, Option
from .ps import FORMAT
from .table import Listing
from .units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .options import Values

_COLUMNS = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
_RUNNING = ("running", "paused", "restarting")


def df(context: Context, values: Values, arguments: list[str]) -> int:
    """``system df``."""
    told = context.client.get("/system/df")
    if values.verbose:
        _details(context, told)
        return 0
    rows = [_images(told), _containers(told), _volumes(told), _cache(told)]
    _LISTING.show(context, rows, values.format, _COLUMNS)
    return 0


def _row(kind: str, total: int, active: int, size: int, reclaimable: int) -> dict[str, Any]:
    share = f" ({reclaimable * 100 // size}%)" if size > 0 else ""
    return {
        "type": kind, "total": total, "active": active, "size": human_size(size),
        "reclaimable": f"{human_size(reclaimable)}{share}",
    }  # fmt: skip


def _images(told: dict[str, Any]) -> dict[str, Any]:
    found = told.get("Images") or []
    used = sum(max(0, one["Size"] - max(0, one.get("SharedSize", 0))) for one in found if one.get("Containers", 0) > 0)
    size = told.get("LayersSize") or 0
    active = sum(1 for one in found if one.get("Containers", 0) > 0)
    return _row("Images", len(found), active, size, size - used)


def _containers(told: dict[str, Any]) -> dict[str, Any]:
    found = told.get("Containers") or []
    active = [one for one in found if one["State"] in _RUNNING]
    size = sum(one.get("SizeRw") or 0 for one in found)
    used = sum(one.get("SizeRw") or 0 for one in active)
    return _row("Containers", len(found), len(active), size, size - used)


def _volumes(told: dict[str, Any]) -> dict[str, Any]:
    found = [one.get("UsageData") or {} for one in told.get("Volumes") or []]
    sizes = [(max(0, one.get("Size", 0)), one.get("RefCount", 0)) for one in found]
    free = sum(size for size, count in sizes if count == 0)
    active = sum(1 for _, count in sizes if count > 0)
    return _row("Local Volumes", len(sizes), active, sum(size for size, _ in sizes), free)


def _cache(told: dict[str, Any]) -> dict[str, Any]:
    found = told.get("BuildCache") or []
    size = sum(one["Size"] for one in found if not one.get("Shared"))
    free = sum(one["Size"] for one in found if not one.get("Shared") and not one.get("InUse"))
    used = sum(1 for one in found if one.get("InUse"))
    return {**_row("Build Cache", len(found), used, size, free), "reclaimable": human_size(free)}


_LISTING = Listing(
    "DiskUsage",
    {
        "Type": ("TYPE", lambda row: row["type"]),
        "TotalCount": ("TOTAL", lambda row: str(row["total"])),
        "Active": ("ACTIVE", lambda row: str(row["active"])),
        "Size": ("SIZE", lambda row: row["size"]),
        "Reclaimable": ("RECLAIMABLE", lambda row: row["reclaimable"]),
    },
)


def _details(context: Context, told: dict[str, Any]) -> None:
    """Each object, in a table of its kind."""
    context.out("Images space usage:\n")
    rows = [row for image in told.get("Images") or [] for row in images.rows(image)]
    columns = ("Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers")
    images.listing(full=False).show(context, rows, "", columns)
    context.out("\nContainers space usage:\n")
    shown = ("ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names")
    containers = [{**row, "SizeRootFs": 0} for row in told.get("Containers") or []]
    ps.listing(full=False).show(context, containers, "", shown)
    context.out("\nLocal Volumes space usage:\n")
    volume.LISTING.show(context, told.get("Volumes") or [], "", ("Name", "Links", "Size"))


DF = Command(
    df,
    "Show docker disk usage",
    "[OPTIONS]",
    (FORMAT, Option("-v, --verbose", FLAG, "Show detailed information on space usage")),
)
