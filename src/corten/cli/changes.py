"""``diff`` and ``export``: what a container made of its image."""

from __future__ import annotations

import os

from corten.errors import InvalidInput

from .context import Context
from .options import STRING, Command, Option
from .transfer import to_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Values

_KINDS = "CAD"


def diff(context: Context, values: Values, names: list[str]) -> int:
    """``diff``."""
    changes = context.client.get(f"/containers/{names[0]}/changes") or []
    for change in sorted(changes, key=lambda change: str(change["Path"])):
        context.out(f"{_KINDS[change['Kind']]} {change['Path']}")
    return 0


def export(context: Context, values: Values, names: list[str]) -> int:
    """``export``."""
    if not values.output and os.isatty(1):
        raise InvalidInput("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    with context.client.open("GET", f"/containers/{names[0]}/export") as answer:
        to_file(context, answer, values.output)
    return 0


DIFF = Command(
    diff, "Inspect changes to files or directories on a container's filesystem", "CONTAINER", arguments=(1, 1)
)
EXPORT = Command(
    export,
    "Export a container's filesystem as a tar archive",
    "[OPTIONS] CONTAINER",
    (Option("-o, --output", STRING, "Write to a file, instead of STDOUT"),),
    arguments=(1, 1),
)
