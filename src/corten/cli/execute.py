"""``exec``: a command in a container that runs."""

from __future__ import annotations

from corten.errors import Unavailable
from corten.wire import frames

from . import notation
from .options import DETACH_KEYS, FLAG, LIST, STRING, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.client.response import Tunnel

    from .attachment import Attachment
    from .context import Context
    from .options import Values


_FOLLOWED = 101


def execute(context: Context, values: Values, arguments: list[str]) -> int:
    """``exec``; the exit code is the command's."""
    container, *command = arguments
    if not values.detach:
        context.check_terminal(tty=values.tty, stdin=values.interactive)
    client = context.client
    at_once = not values.detach and not values.tty
    headers = {"Connection": "Upgrade", "Upgrade": frames.EXEC} if at_once else None
    request = _request(context, values, command)
    answer = client.send("POST", f"/containers/{container}/exec", None, request, headers=headers)
    if not values.detach:
        context.prepare_attachment(0 if at_once else 1)
    if answer.checked().head.status == _FOLLOWED:
        return _followed(context, values, answer.tunnel())
    path = f"/exec/{answer.json()['Id']}"
    if not values.detach:
        return _attached(context, values, path)
    client.post(f"{path}/start", None, {"Detach": True, "Tty": values.tty})
    return 0


def _followed(context: Context, values: Values, tunnel: Tunnel) -> int:
    attachment = _attachment(context, values, "")
    with tunnel:
        attachment.run(tunnel)
    if not attachment.exit_code:
        raise Unavailable("exec: the engine closed the connection before it said how the command ended")
    return int(attachment.exit_code)


def _attached(context: Context, values: Values, path: str) -> int:
    attachment = _attachment(context, values, path)
    with context.client.hijack(f"{path}/start", None, {"Detach": False, "Tty": values.tty}) as tunnel:
        if not attachment.run(tunnel):
            context.error("read escape sequence")
            return 1
    return int(context.client.get(f"{path}/json")["ExitCode"])


def _attachment(context: Context, values: Values, path: str) -> Attachment:
    from .attachment import Attachment

    return Attachment(
        context,
        path,
        tty=values.tty,
        stdin=values.interactive,
        keys=values.detach_keys or context.setting("detachKeys"),
        sig_proxy=False,  # the API has no way to signal an exec
    )


def _request(context: Context, values: Values, command: list[str]) -> dict[str, Any]:
    request: dict[str, Any] = {
        "User": values.user,
        "Privileged": values.privileged,
        "Tty": values.tty,
        "WorkingDir": values.workdir,
        "DetachKeys": values.detach_keys,
        "Env": notation.environment(values.env, values.env_file, context.environment),
        "Cmd": command,
        "AttachStdin": values.interactive and not values.detach,
        "AttachStdout": not values.detach,
        "AttachStderr": not values.detach,
    }
    if values.tty:
        from .terminal import size

        rows, columns = size()
        if rows:
            request["ConsoleSize"] = [rows, columns]
    return request


EXEC = Command(
    execute,
    "Execute a command in a running container",
    "[OPTIONS] CONTAINER COMMAND [ARG...]",
    (
        Option("-d, --detach", FLAG, "Detached mode: run command in the background"),
        DETACH_KEYS,
        Option("-e, --env", LIST, "Set environment variables"),
        Option("--env-file", LIST, "Read in a file of environment variables"),
        Option("-i, --interactive", FLAG, "Keep STDIN open even if not attached"),
        Option("--privileged", FLAG, "Give extended privileges to the command"),
        Option("-t, --tty", FLAG, "Allocate a pseudo-TTY"),
        Option("-u, --user", STRING, 'Username or UID (format: "<name|uid>[:<group|gid>]")'),
        Option("-w, --workdir", STRING, "Working directory inside the container"),
    ),
    arguments=(2, None),
    interspersed=False,
)
