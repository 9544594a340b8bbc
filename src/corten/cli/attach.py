"""``attach``: the streams of a container that runs already."""

from __future__ import annotations

from corten.errors import Conflict

from .attachment import Attachment
from .context import Context
from .options import DETACH_KEYS, FLAG, SIG_PROXY, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Values


def attach(context: Context, values: Values, names: list[str]) -> int:
    """``attach``; the exit code is the container's."""
    client = context.client
    told = client.get(f"/containers/{names[0]}/json")
    state, config = told["State"], told["Config"]
    if not state["Running"]:
        raise Conflict("You cannot attach to a stopped container, start it first")
    if state.get("Paused"):
        raise Conflict("You cannot attach to a paused container, unpause it first")
    stdin = bool(not values.no_stdin and config["OpenStdin"])
    context.check_terminal(tty=config["Tty"], stdin=stdin)
    path = f"/containers/{told['Id']}"
    query = {
        "stream": True, "stdin": stdin, "stdout": True, "stderr": True, "detachKeys": values.detach_keys,
    }  # fmt: skip
    attached = Attachment(
        context,
        path,
        tty=config["Tty"],
        stdin=stdin,
        keys=values.detach_keys or context.setting("detachKeys"),
        sig_proxy=values.sig_proxy and not config["Tty"],
    )
    with client.open("POST", f"{path}/wait", {"condition": "not-running"}) as ended:
        with client.hijack(f"{path}/attach", query) as tunnel:
            if not attached.run(tunnel):
                context.error("read escape sequence")
                return 1
        return int(ended.json()["StatusCode"])


ATTACH = Command(
    attach,
    "Attach local standard input, output, and error streams to a running container",
    "[OPTIONS] CONTAINER",
    (DETACH_KEYS, Option("--no-stdin", FLAG, "Do not attach STDIN"), SIG_PROXY),
    arguments=(1, 1),
)
