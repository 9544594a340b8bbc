"""``events``."""

from __future__ import annotations

import sys
import time

from .context import Context
from .options import STRING, Command, Option
from .table import filters
from .templated import parsed, rendered
from .times import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .options import Values


def events(context: Context, values: Values, arguments: list[str]) -> int:
    """``events``: until ``--until``, or for ever."""
    query = {
        "since": timestamp(values.since),
        "until": timestamp(values.until),
        "filters": filters(values.filter),
    }
    template = parsed("{{json .}}" if values.format == "json" else values.format) if values.format else None
    with context.client.open("GET", "/events", query) as answer:
        for event in answer.documents():
            context.out(rendered(template, event) if template else _line(event))
            sys.stdout.flush()
    return 0


def _line(event: dict[str, Any]) -> str:
    actor = event.get("Actor") or {}
    attributes = ", ".join(f"{key}={value}" for key, value in sorted((actor.get("Attributes") or {}).items()))
    line = f"{_time(event)} {event['Type']} {event['Action']} {actor.get('ID', '')}"
    return f"{line} ({attributes})" if attributes else line


def _time(event: dict[str, Any]) -> str:
    """Local time with nanoseconds, as RFC 3339."""
    seconds, fraction = divmod(event["timeNano"], 10**9)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    shown = "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", local) + f".{fraction:09}{shown}"


EVENTS = Command(
    events,
    "Get real time events from the server",
    "[OPTIONS]",
    (
        Option("-f, --filter", "filter", "Filter output based on conditions provided"),
        Option("--format", STRING, "Format output using a custom template: 'json' or a Go template"),
        Option("--since", STRING, "Show all events created since timestamp"),
        Option("--until", STRING, "Stream events until this timestamp"),
    ),
)
