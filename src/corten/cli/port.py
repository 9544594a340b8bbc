"""``port``."""

from __future__ import annotations

from corten.errors import NotFound

from .context import Context
from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Values


def port(context: Context, values: Values, arguments: list[str]) -> int:
    """``port``."""
    container, *wanted = arguments
    told = context.client.get(f"/containers/{container}/json")
    bindings = (told["NetworkSettings"].get("Ports")) or {}
    if wanted:
        name = wanted[0] if "/" in wanted[0] else f"{wanted[0]}/tcp"
        found = bindings.get(name)
        if found is None:
            raise NotFound(f"Error: No public port '{wanted[0]}' published for {container}")
        for binding in found:
            context.out(_address(binding))
        return 0
    lines = [f"{name} -> {_address(item)}" for name, items in bindings.items() for item in items or []]
    for line in sorted(lines, key=lambda line: (int(line.partition("/")[0]), line)):
        context.out(line)
    return 0


def _address(binding: dict[str, str]) -> str:
    address = binding["HostIp"]
    return f"[{address}]:{binding['HostPort']}" if ":" in address else f"{address}:{binding['HostPort']}"


PORT = Command(
    port,
    "List port mappings or a specific mapping for the container",
    "CONTAINER [PRIVATE_PORT[/PROTO]]",
    arguments=(1, 2),
)
