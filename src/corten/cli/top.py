"""``top``."""

from __future__ import annotations

from .context import Context
from .options import Command
from .table import aligned

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Values

_WIDTH = 20


def top(context: Context, values: Values, arguments: list[str]) -> int:
    """``top``."""
    container, *options = arguments
    told = context.client.get(f"/containers/{container}/top", {"ps_args": " ".join(options)})
    for line in aligned([told["Titles"], *told["Processes"]], least=_WIDTH):
        context.out(line)
    return 0


TOP = Command(
    top,
    "Display the running processes of a container",
    "CONTAINER [ps OPTIONS]",
    arguments=(1, None),
    interspersed=False,
)
