"""``history``."""

from __future__ import annotations

from .context import Context
from .images import short_id
from .options import FLAG, STRING, Command, Option
from .platforms import as_query
from .ps import FORMAT
from .table import Listing, ellipsis
from .times import ago, local_time
from .units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .options import Values

_LONGEST = 45


def history(context: Context, values: Values, names: list[str]) -> int:
    """``history``."""
    query = {"platform": as_query(values.platform, "invalid platform: ")}
    rows = context.client.get(f"/images/{names[0]}/history", query)
    if values.quiet:
        for row in rows:
            context.out(_id(row, values.no_trunc))
        return 0
    since = "CreatedSince" if values.human else "CreatedAt"
    columns = ("ID", since, "CreatedBy", "Size", "Comment")
    _listing(full=values.no_trunc, human=values.human).show(context, rows, values.format, columns)
    return 0


def _id(row: dict[str, Any], full: bool) -> str:
    return row["Id"] if full else short_id(row["Id"])


def _listing(*, full: bool, human: bool) -> Listing:
    def command(row: dict[str, Any]) -> str:
        text = row["CreatedBy"].replace("\t", " ")
        return text if full else ellipsis(text, _LONGEST)

    return Listing(
        "History",
        {
            "ID": ("IMAGE", lambda row: _id(row, full)),
            "CreatedSince": ("CREATED", lambda row: f"{ago(row['Created'] * 10**9)} ago"),
            "CreatedAt": ("CREATED AT", lambda row: _rfc3339(row["Created"])),
            "CreatedBy": ("CREATED BY", command),
            "Size": ("SIZE", lambda row: human_size(row["Size"], 3) if human else str(row["Size"])),
            "Comment": ("COMMENT", lambda row: row["Comment"]),
        },
    )


def _rfc3339(unix: int) -> str:
    date, clock, zone, _ = local_time(unix).split(" ", 3)
    return f"{date}T{clock}" + ("Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}")


HISTORY = Command(
    history,
    "Show the history of an image",
    "[OPTIONS] IMAGE",
    (
        FORMAT,
        Option("-H, --human", FLAG, "Print sizes and dates in human readable format", True),
        Option("--no-trunc", FLAG, "Don't truncate output"),
        Option("--platform", STRING, 'Show history for the given platform (e.g., "linux/amd64")'),
        Option("-q, --quiet", FLAG, "Only show image IDs"),
    ),
    arguments=(1, 1),
)
