"""``version``: the client's part from this process, the engine's only where one answers.

It starts no engine. Without one it says so and leaves with 0: the next command that needs one will start it.
"""

from __future__ import annotations

import os

from corten import __version__
from corten.errors import Unavailable

from .context import Context
from .options import FLAG, STRING, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .options import Values

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_API = "1.47"


def version(context: Context, values: Values, arguments: list[str]) -> int:
    """``version``."""
    client = _client()
    server = None if values.client else _server(context)
    if values.format:
        return _formatted(context, values.format, client, server)
    context.out(_client_text(client))
    if server is not None:
        context.out("\n" + _server_text(server))
    elif not values.client:
        context.out("\nServer: no engine is running (the first command that needs one starts it)")
    return 0


def _client() -> dict[str, str]:
    system = os.uname()
    return {
        "Version": __version__,
        "ApiVersion": _API,
        "DefaultAPIVersion": _API,
        "Os": system.sysname.lower(),
        "Arch": _ARCHITECTURES.get(system.machine, system.machine),
    }


def _server(context: Context) -> dict[str, Any] | None:
    """What the engine says of itself; None where none is running. One that was named has to be there."""
    try:
        told: dict[str, Any] = context.make_client(autostart=False).get("/version")
    except Unavailable:
        if context.host:
            raise
        return None
    return told


def _formatted(context: Context, form: str, client: dict[str, str], server: dict[str, Any] | None) -> int:
    from corten.wire.template_functions import to_json

    from .templated import parsed, rendered

    value = {"Client": client, "Server": server}
    context.out(to_json(value) if form == "json" else rendered(parsed(form), value))
    return 0


def _client_text(client: dict[str, str]) -> str:
    rows = {
        "Version": client["Version"],
        "API version": client["ApiVersion"],
        "OS/Arch": f"{client['Os']}/{client['Arch']}",
    }
    return "Client:\n" + "\n".join(f" {name + ':':<18} {value}" for name, value in rows.items())


def _server_text(server: dict[str, Any]) -> str:
    components = server.get("Components") or [{"Name": "Engine", **server, "Details": server}]
    name = (server.get("Platform") or {}).get("Name", "")
    return f"Server: {name}".rstrip() + "\n" + "\n".join(_component(component) for component in components)


def _component(component: dict[str, Any]) -> str:
    details = component.get("Details") or {}
    rows = {"Version": component["Version"]}
    if component["Name"] == "Engine":
        minimum = details.get("MinAPIVersion", "")
        rows["API version"] = f"{details.get('ApiVersion', '')} (minimum version {minimum})"
        rows.update({name: details[key] for name, key in _DETAILS if details.get(key)})
        if details.get("BuildTime"):
            rows["Built"] = _built(details["BuildTime"])
        rows["OS/Arch"] = f"{details.get('Os', '')}/{details.get('Arch', '')}"
        rows["Experimental"] = str(details.get("Experimental", "false")).lower()
    else:
        rows.update(details)
    lines = [f"  {name + ':':<17} {value}" for name, value in rows.items()]
    return "\n".join([f" {component['Name']}:", *lines])


def _built(text: str) -> str:
    import time

    from .times import nanoseconds

    return time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(nanoseconds(text) // 10**9))


_DETAILS = (("Go version", "GoVersion"), ("Git commit", "GitCommit"))
VERSION = Command(
    version,
    "Show the Corten version information",
    "[OPTIONS]",
    (
        Option("--client", FLAG, "Show the client's part only"),
        Option("-f, --format", STRING, "Format output using a custom template: 'json' or a Go template"),
    ),
)
