"""``ps``, ``container ls``."""

from __future__ import annotations

from .options import FLAG, INT, STRING, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .context import Context
    from .options import Values
    from .table import Listing

_DEFAULT = ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names")


def ps(context: Context, values: Values, arguments: list[str]) -> int:
    """``ps``."""
    last = 1 if values.latest else values.last
    form = values.format or _configured(context, values)
    query = {
        "all": True if values.all or last > 0 else None,
        "limit": last if last > 0 else None,
        "size": True if values.size or ".Size" in form else None,
        "filters": _filters(values),
    }
    answer = context.client.send("GET", "/containers/json", query)
    shown = listing(full=values.no_trunc)  # the modules of the table are read while the engine answers
    rows = answer.checked().json()
    if values.quiet and form in ("", "table"):
        for row in rows:
            context.out(row["Id"] if values.no_trunc else row["Id"][:12])
        return 0
    columns = (*_DEFAULT, "Size") if values.size else _DEFAULT
    shown.show(context, rows, form, columns)
    return 0


def _filters(values: Values) -> dict[str, list[str]] | None:
    if not values.filter:
        return None
    from .table import filters

    return filters(values.filter)


def _configured(context: Context, values: Values) -> str:
    """The client's own table, from its configuration."""
    return "" if values.quiet else context.setting("psFormat")


def listing(*, full: bool) -> Listing:
    """The columns of containers; ``full`` cuts nothing."""
    from . import times
    from .table import Listing, ellipsis

    def cut(text: str, length: int) -> str:
        return text if full else ellipsis(text, length)

    return Listing(
        "Container",
        {
            "ID": ("CONTAINER ID", lambda row: row["Id"] if full else row["Id"][:12]),
            "Names": ("NAMES", lambda row: _names(row, full)),
            "Image": ("IMAGE", lambda row: _image(row, full)),
            "Command": ("COMMAND", lambda row: '"' + _quoted(cut(row["Command"], 20)) + '"'),
            "CreatedAt": ("CREATED AT", lambda row: times.local_time(row["Created"])),
            "RunningFor": ("CREATED", lambda row: f"{times.ago(row['Created'] * 10**9)} ago"),
            "Ports": ("PORTS", lambda row: ports(row["Ports"] or [])),
            "State": ("STATE", lambda row: row["State"]),
            "Status": ("STATUS", lambda row: row["Status"]),
            "Size": ("SIZE", _size),
            "Labels": ("LABELS", lambda row: ",".join(f"{k}={v}" for k, v in _labels(row).items())),
            "Mounts": ("MOUNTS", lambda row: ",".join(_mounts(row, cut))),
            "LocalVolumes": ("LOCAL VOLUMES", lambda row: str(_local_volumes(row))),
            "Networks": ("NETWORKS", lambda row: ",".join(_networks(row))),
        },
        {"Label": lambda row, name: _labels(row).get(name, "")},
    )


def _quoted(text: str) -> str:
    """The inside of Go's ``%q``."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")


def _names(row: dict[str, Any], full: bool) -> str:
    names = [name.removeprefix("/") for name in row["Names"] or []]
    if not full:
        names = [name for name in names if "/" not in name]  # the others are links
    return ",".join(names)


def _image(row: dict[str, Any], full: bool) -> str:
    image = row["Image"] or "<no image>"
    if full or not image.startswith("sha256:"):
        return str(image)
    return image.partition(":")[2][:12]


def _size(row: dict[str, Any]) -> str:
    from .units import human_size

    size = human_size(row.get("SizeRw", 0), 3)
    root = row.get("SizeRootFs", 0)
    return f"{size} (virtual {human_size(root, 3)})" if root > 0 else size


def _labels(row: dict[str, Any]) -> dict[str, str]:
    return dict(sorted((row.get("Labels") or {}).items()))


def _mounts(row: dict[str, Any], cut: Callable[[str, int], str]) -> list[str]:
    mounts = row.get("Mounts") or []
    return [cut(mount.get("Name") or mount.get("Source", ""), 15) for mount in mounts]


def _local_volumes(row: dict[str, Any]) -> int:
    return sum(1 for mount in row.get("Mounts") or [] if mount.get("Driver") == "local")


def _networks(row: dict[str, Any]) -> list[str]:
    return sorted((row.get("NetworkSettings") or {}).get("Networks") or {})


def ports(items: list[dict[str, Any]]) -> str:
    """``0.0.0.0:8080->80/tcp, 443/tcp``; neighbours that map alike are joined into ranges."""
    groups: dict[tuple[str, str], list[tuple[int, int]]] = {}
    shown: list[str] = []
    for item in sorted(items, key=_port_order):
        inner, outer = item["PrivatePort"], item.get("PublicPort", 0)
        key = (item.get("IP", ""), item["Type"])
        if outer and outer != inner:
            shown.append(f"{_bracketed(key[0])}:{outer}->{inner}/{key[1]}")
        else:
            groups.setdefault(key, []).append((inner, outer))
    runs = [_run(key, first, last) for key, pairs in groups.items() for first, last in _ranges(pairs)]
    return ", ".join(shown + runs)


def _port_order(item: dict[str, Any]) -> tuple[int, str, int, str]:
    return item["PrivatePort"], item.get("IP", ""), item.get("PublicPort", 0), item["Type"]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _ranges(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """First and last of each run of neighbours."""
    runs: list[tuple[int, int]] = []
    for inner, _ in sorted(pairs):
        if runs and inner == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], inner)
        else:
            runs.append((inner, inner))
    return runs


def _run(key: tuple[str, str], first: int, last: int) -> str:
    address, protocol = key
    span = str(first) if first == last else f"{first}-{last}"
    return f"{_bracketed(address)}:{span}->{span}/{protocol}" if address else f"{span}/{protocol}"


FORMAT = Option(
    "--format",
    STRING,
    "Format output using a custom template: 'table' (default), 'table TEMPLATE', 'json', or a Go template",
)
LIST = Command(
    ps,
    "List containers",
    "[OPTIONS]",
    (
        Option("-a, --all", FLAG, "Show all containers (default shows just running)"),
        Option("-f, --filter", "filter", "Filter output based on conditions provided"),
        FORMAT,
        Option("-n, --last", INT, "Show n last created containers (includes all states)", -1),
        Option("-l, --latest", FLAG, "Show the latest created container (includes all states)"),
        Option("--no-trunc", FLAG, "Don't truncate output"),
        Option("-q, --quiet", FLAG, "Only display container IDs"),
        Option("-s, --size", FLAG, "Display total file sizes"),
    ),
)
