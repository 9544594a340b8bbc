"""``search``: what a hub has."""

from __future__ import annotations

from . import auth
from .context import Context
from .options import FLAG, INT, STRING, Command, Option
from .table import Listing, ellipsis, filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .options import Values

_LONGEST = 45


def search(context: Context, values: Values, arguments: list[str]) -> int:
    """``search``."""
    query = {"term": arguments[0], "limit": values.limit or None, "filters": filters(values.filter)}
    headers = auth.header(context, auth.registry_of(arguments[0]))
    with context.client.open("GET", "/images/search", query, headers=headers) as answer:
        rows = answer.json()
    columns = ("Name", "Description", "StarCount", "IsOfficial")
    _listing(full=values.no_trunc).show(context, rows, values.format, columns)
    return 0


def _listing(*, full: bool) -> Listing:
    def description(row: dict[str, Any]) -> str:
        text = str(row["description"]).replace("\n", " ").replace("\r", " ")
        return text if full else ellipsis(text, _LONGEST)

    return Listing(
        "Search",
        {
            "Name": ("NAME", lambda row: row["name"]),
            "Description": ("DESCRIPTION", description),
            "StarCount": ("STARS", lambda row: str(row["star_count"])),
            "IsOfficial": ("OFFICIAL", lambda row: "[OK]" if row["is_official"] else ""),
            "IsAutomated": ("AUTOMATED", lambda row: "[OK]" if row.get("is_automated") else ""),
        },
    )


SEARCH = Command(
    search,
    "Search Docker Hub for images",
    "[OPTIONS] TERM",
    (
        Option("-f, --filter", "filter", "Filter output based on conditions provided"),
        Option("--format", STRING, "Pretty-print search using a Go template"),
        Option("--limit", INT, "Max number of search results"),
        Option("--no-trunc", FLAG, "Don't truncate output"),
    ),
    arguments=(1, 1),
)
