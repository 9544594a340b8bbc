"""``start``: one or more containers, or one with its streams."""

from __future__ import annotations

from corten.errors import CortenError, InvalidInput

from .context import Context
from .options import DETACH_KEYS, FLAG, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Values


def start(context: Context, values: Values, names: list[str]) -> int:
    """``start``."""
    if values.attach or values.interactive:
        if len(names) > 1:
            raise InvalidInput("you cannot start and attach multiple containers at once")
        return _attached(context, values, names[0])
    return _all(context, names)


def _all(context: Context, names: list[str]) -> int:
    failed: list[str] = []
    for name in names:
        try:
            context.client.post(f"/containers/{name}/start")
        except CortenError as error:
            context.failure(error)
            failed.append(name)
        else:
            context.out(name)
    if failed:
        context.error(f"Error: failed to start containers: {', '.join(failed)}")
    return 1 if failed else 0


def _attached(context: Context, values: Values, name: str) -> int:
    from .attachment import Attachment

    told = context.client.get(f"/containers/{name}/json")
    config, identifier = told["Config"], told["Id"]
    stdin = bool(values.interactive and config["OpenStdin"])
    query = {
        "stream": True, "stdin": stdin, "stdout": True, "stderr": True, "detachKeys": values.detach_keys,
    }  # fmt: skip
    path = f"/containers/{identifier}"
    attached = Attachment(
        context,
        path,
        tty=config["Tty"],
        stdin=stdin,
        keys=values.detach_keys or context.setting("detachKeys"),
        sig_proxy=not config["Tty"],
    )
    condition = "removed" if told["HostConfig"]["AutoRemove"] else "next-exit"
    client = context.client
    with client.hijack(f"{path}/attach", query) as tunnel:
        with client.open("POST", f"{path}/wait", {"condition": condition}) as ended:
            if not attached.run(tunnel, lambda: client.post(f"{path}/start")):
                return 0
            return int(ended.json()["StatusCode"])


START = Command(
    start,
    "Start one or more stopped containers",
    "[OPTIONS] CONTAINER [CONTAINER...]",
    (
        Option("-a, --attach", FLAG, "Attach STDOUT/STDERR and forward signals"),
        DETACH_KEYS,
        Option("-i, --interactive", FLAG, "Attach container's STDIN"),
    ),
    arguments=(1, None),
)
