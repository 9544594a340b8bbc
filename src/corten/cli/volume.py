"""``volume create``, ``volume ls``, ``volume rm``."""

from __future__ import annotations

from corten.errors import Conflict, CortenError, NotFound

from . import notation
from .context import Context
from .options import FLAG, LIST, MAP, STRING, Command, Option
from .ps import FORMAT
from .table import Listing, filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .options import Values


def create(context: Context, values: Values, names: list[str]) -> int:
    """``volume create``."""
    if values.name and names:
        raise Conflict("conflicting options: either specify --name or provide positional arg, not both")
    request = {
        "Name": values.name or "".join(names),
        "Driver": values.driver,
        "DriverOpts": notation.pairs(values.opt),
        "Labels": notation.pairs(values.label),
    }
    context.out(context.client.post("/volumes/create", None, request)["Name"])
    return 0


def ls(context: Context, values: Values, arguments: list[str]) -> int:
    """``volume ls``."""
    found = context.client.get("/volumes", {"filters": filters(values.filter)})
    rows = sorted(found["Volumes"] or [], key=lambda row: str(row["Name"]))
    if values.quiet and values.format in ("", "table"):
        for row in rows:
            context.out(row["Name"])
        return 0
    LISTING.show(context, rows, values.format, ("Driver", "Name"))
    return 0


def _labels(row: dict[str, Any]) -> dict[str, str]:
    return row.get("Labels") or {}


def _usage(row: dict[str, Any], name: str) -> Any:
    return (row.get("UsageData") or {}).get(name, -1)


def _size(row: dict[str, Any]) -> str:
    from .units import human_size

    size = _usage(row, "Size")
    return "N/A" if size < 0 else human_size(size)


def _links(row: dict[str, Any]) -> str:
    count = _usage(row, "RefCount")
    return "N/A" if count < 0 else str(count)


LISTING = Listing(
    "Volume",
    {
        "Name": ("VOLUME NAME", lambda row: row["Name"]),
        "Driver": ("DRIVER", lambda row: row["Driver"]),
        "Scope": ("SCOPE", lambda row: row["Scope"]),
        "Mountpoint": ("MOUNTPOINT", lambda row: row["Mountpoint"]),
        "Labels": ("LABELS", lambda row: ",".join(f"{k}={v}" for k, v in sorted(_labels(row).items()))),
        "Size": ("SIZE", _size),
        "Links": ("LINKS", _links),
        "Availability": ("AVAILABILITY", lambda row: "N/A"),
        "Group": ("GROUP", lambda row: "N/A"),
        "Status": ("STATUS", lambda row: "N/A"),
    },
    {"Label": lambda row, name: _labels(row).get(name, "")},
)


def remove(context: Context, values: Values, names: list[str]) -> int:
    """``volume rm``; with ``--force`` what is not there is no failure."""
    code = 0
    for name in names:
        try:
            context.client.delete(f"/volumes/{name}", {"force": values.force or None})
        except NotFound as error:
            if not values.force:
                code = context.failure(error)
                continue
        except CortenError as error:
            code = context.failure(error)
            continue
        context.out(name)
    return code


CREATE = Command(
    create,
    "Create a volume",
    "[OPTIONS] [VOLUME]",
    (
        Option("-d, --driver", STRING, "Specify volume driver name", "local"),
        Option("--label", LIST, "Set metadata for a volume"),
        Option("--name", STRING, "Specify volume name", hidden=True),
        Option("-o, --opt", MAP, "Set driver specific options"),
    ),
    arguments=(0, 1),
)
LIST_FILTER = Option("-f, --filter", "filter", 'Provide filter values (e.g. "dangling=true")')
LIST_COMMAND = Command(
    ls,
    "List volumes",
    "[OPTIONS]",
    (LIST_FILTER, FORMAT, Option("-q, --quiet", FLAG, "Only display volume names")),
)
REMOVE = Command(
    remove,
    "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    "[OPTIONS] VOLUME [VOLUME...]",
    (Option("-f, --force", FLAG, "Force the removal of one or more volumes"),),
    arguments=(1, None),
)
