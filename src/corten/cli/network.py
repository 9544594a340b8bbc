"""``network ls``, ``create``, ``rm``, ``connect``, ``disconnect``, ``explain``."""

from __future__ import annotations

from corten.errors import InvalidInput, NotFound

from . import notation
from .context import Context
from .lifecycle import each
from .options import FLAG, INT, LIST, MAP, STRING, Command, Option
from .ps import FORMAT
from .table import Listing, filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .options import Values


def ls(context: Context, values: Values, arguments: list[str]) -> int:
    """``network ls``."""
    rows = sorted(
        context.client.get("/networks", {"filters": filters(values.filter)}), key=lambda row: str(row["Name"])
    )
    if values.quiet and values.format in ("", "table"):
        for row in rows:
            context.out(row["Id"] if values.no_trunc else row["Id"][:12])
        return 0
    _listing(full=values.no_trunc).show(context, rows, values.format, ("ID", "Name", "Driver", "Scope"))
    return 0


def _labels(row: dict[str, Any]) -> dict[str, str]:
    return row.get("Labels") or {}


def _boolean(name: str) -> Any:
    return lambda row: str(bool(row.get(name))).lower()


def _listing(*, full: bool) -> Listing:
    return Listing(
        "Network",
        {
            "ID": ("NETWORK ID", lambda row: row["Id"] if full else row["Id"][:12]),
            "Name": ("NAME", lambda row: row["Name"]),
            "Driver": ("DRIVER", lambda row: row["Driver"]),
            "Scope": ("SCOPE", lambda row: row["Scope"]),
            "IPv4": ("IPV4", lambda row: str(bool(row.get("EnableIPv4", True))).lower()),
            "IPv6": ("IPV6", _boolean("EnableIPv6")),
            "Internal": ("INTERNAL", _boolean("Internal")),
            "Labels": ("LABELS", lambda row: ",".join(f"{k}={v}" for k, v in sorted(_labels(row).items()))),
            "CreatedAt": ("CREATED AT", lambda row: _created(row)),
        },
        {"Label": lambda row, name: _labels(row).get(name, "")},
    )


def _created(row: dict[str, Any]) -> str:
    from .times import local_time, nanoseconds

    return local_time(nanoseconds(row["Created"]) / 1e9)


def create(context: Context, values: Values, names: list[str]) -> int:
    """``network create``."""
    request: dict[str, Any] = {
        "Name": names[0],
        "Driver": values.driver,
        "Scope": values.scope,
        "Internal": values.internal,
        "Attachable": values.attachable,
        "EnableIPv6": values.ipv6,
        "Options": notation.pairs(values.opt),
        "Labels": notation.pairs(values.label),
        "IPAM": {
            "Driver": values.ipam_driver,
            "Options": notation.pairs(values.ipam_opt),
            "Config": _pools(values),
        },
    }
    answer = context.client.post("/networks/create", None, request)
    if answer.get("Warning"):
        context.error(f"WARNING: {answer['Warning']}")
    context.out(answer["Id"])
    return 0


def _pools(values: Values) -> list[dict[str, Any]]:
    """Subnets with their gateways, ranges and auxiliary addresses: each goes to the first subnet of its family that
    has none."""
    pools: list[dict[str, Any]] = [{"Subnet": subnet} for subnet in _split(values.subnet)]
    for key, option in (("Gateway", values.gateway), ("IPRange", values.ip_range)):
        for given in _split(option):
            alike = (pool for pool in pools if key not in pool and (":" in pool["Subnet"]) == (":" in given))
            pool = next(alike, None)
            if pool is None:
                raise InvalidInput(f"no matching subnet for {'gateway' if key == 'Gateway' else 'range'} {given}")
            pool[key] = given
    for name, address in notation.pairs(values.aux_address).items():
        # The engine tells of one that is in no subnet: it is given to the first of its family.
        fitting = [pool for pool in pools if (":" in pool["Subnet"]) == (":" in address)] or pools
        if not fitting:
            raise InvalidInput(f"no matching subnet for aux-address {address}")
        fitting[0].setdefault("AuxiliaryAddresses", {})[name] = address
    return pools


def _split(items: list[str]) -> list[str]:
    return [part for item in items for part in item.split(",")]


def remove(context: Context, values: Values, names: list[str]) -> int:
    """``network rm``."""

    def delete(name: str) -> None:
        try:
            context.client.delete(f"/networks/{name}")
        except NotFound:
            if not values.force:
                raise

    return each(context, names, delete)


def connect(context: Context, values: Values, names: list[str]) -> int:
    """``network connect``."""
    addresses = {"IPv4Address": values.ip, "IPv6Address": values.ip6}
    endpoint: dict[str, Any] = {
        "Aliases": _split(values.alias),
        "Links": values.link,
        "DriverOpts": notation.pairs(_split(values.driver_opt)),
    }
    if any(addresses.values()):
        endpoint["IPAMConfig"] = {name: value for name, value in addresses.items() if value}
    if values.gw_priority:
        endpoint["GwPriority"] = values.gw_priority
    request = {"Container": names[1], "EndpointConfig": endpoint}
    context.client.post(f"/networks/{names[0]}/connect", None, request)
    return 0


def disconnect(context: Context, values: Values, names: list[str]) -> int:
    """``network disconnect``."""
    request = {"Container": names[1], "Force": values.force}
    context.client.post(f"/networks/{names[0]}/disconnect", None, request)
    return 0


def explain(context: Context, values: Values, names: list[str]) -> int:
    """``network explain``."""
    import json
    import textwrap

    from .table import aligned

    found = context.client.get(f"/corten/networks/{names[0]}/explanation")
    if values.format == "json":
        context.out(json.dumps(found, indent=4))
        return 0
    context.out(f"{found['Name']} ({found['Driver']})")
    for sentence in found["Says"]:
        context.out(textwrap.fill(sentence, 100, initial_indent="  ", subsequent_indent="    "))
    if found["Ports"]:
        rows = [["CONTAINER", "PORT", "OPEN AT", "TO"]]
        rows += [[port["Container"], port["Port"], port["At"], port["To"]] for port in found["Ports"]]
        context.out("")
        for line in aligned(rows):
            context.out(line)
    return 0


LIST_COMMAND = Command(
    ls,
    "List networks",
    "[OPTIONS]",
    (
        Option("-f, --filter", "filter", 'Provide filter values (e.g. "driver=bridge")'),
        FORMAT,
        Option("--no-trunc", FLAG, "Do not truncate the output"),
        Option("-q, --quiet", FLAG, "Only display network IDs"),
    ),
)
CREATE = Command(
    create,
    "Create a network",
    "[OPTIONS] NETWORK",
    (
        Option("--attachable", FLAG, "Enable manual container attachment"),
        Option("--aux-address", MAP, "Auxiliary IPv4 or IPv6 addresses used by Network driver"),
        Option("-d, --driver", STRING, "Driver to manage the Network", "bridge"),
        Option("--gateway", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
        Option("--internal", FLAG, "Restrict external access to the network"),
        Option("--ip-range", "strings", "Allocate container ip from a sub-range"),
        Option("--ipam-driver", STRING, "IP Address Management Driver", "default"),
        Option("--ipam-opt", MAP, "Set IPAM driver specific options"),
        Option("--ipv6", FLAG, "Enable or disable IPv6 address assignment"),
        Option("--label", LIST, "Set metadata on a network"),
        Option("-o, --opt", MAP, "Set driver specific options"),
        Option("--scope", STRING, "Control the network's scope"),
        Option("--subnet", "strings", "Subnet in CIDR format that represents a network segment"),
    ),
    arguments=(1, 1),
)
REMOVE = Command(
    remove,
    "Remove one or more networks",
    "NETWORK [NETWORK...]",
    (Option("-f, --force", FLAG, "Do not error if the network does not exist"),),
    arguments=(1, None),
)
CONNECT = Command(
    connect,
    "Connect a container to a network",
    "[OPTIONS] NETWORK CONTAINER",
    (
        Option("--alias", "strings", "Add network-scoped alias for the container"),
        Option("--driver-opt", "strings", "driver options for the network"),
        Option(
            "--gw-priority", INT,
            "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
        ),
        Option("--ip", STRING, 'IPv4 address (e.g., "172.30.100.104")'),
        Option("--ip6", STRING, 'IPv6 address (e.g., "2001:db8::33")'),
        Option("--link", LIST, "Add link to another container"),
    ),
    arguments=(2, 2),
)
EXPLAIN = Command(
    explain,
    "Tell who reaches whom by a network, and which ports are open to whom",
    "[OPTIONS] NETWORK",
    (Option("--format", STRING, 'Format of the output: "json", or text'),),
    arguments=(1, 1),
)
DISCONNECT = Command(
    disconnect,
    "Disconnect a container from a network",
    "[OPTIONS] NETWORK CONTAINER",
    (Option("-f, --force", FLAG, "Force the container to disconnect from a network"),),
    arguments=(2, 2),
)
