"""What is done to containers that are there: stop, kill, restart, pause, unpause, wait, rm, rename."""

from __future__ import annotations

from corten.errors import CortenError, NotFound

from .options import FLAG, INT, STRING, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .context import Context
    from .options import Values

_SIGNAL = Option("-s, --signal", STRING, "Signal to send to the container")
_TIMEOUT = Option("-t, --timeout", INT, "Seconds to wait before killing the container")
_TIME = Option("--time", INT, "Seconds to wait before killing the container", hidden=True)


def each(context: Context, names: list[str], act: Callable[[str], object]) -> int:
    """Do something to each of some objects and print its name; failures are told at the end. The exit code."""
    code = 0
    for name in names:
        try:
            act(name)
        except CortenError as error:
            code = context.failure(error)
        else:
            context.out(name)
    return code


def _post(context: Context, action: str, query: dict[str, object] | None = None) -> Callable[[str], object]:
    return lambda name: context.client.post(f"/containers/{name}/{action}", query)


def _ending(values: Values) -> dict[str, object]:
    """Signal and timeout, where they were given: the container's own, and the engine's, hold otherwise."""
    given = next((name for name in ("timeout", "time") if values.given(name)), None)
    return {"signal": values.signal, "t": getattr(values, given) if given else None}


def _end(context: Context, action: str, values: Values) -> Callable[[str], object]:
    """Stop or restart, and pass on what the engine thinks that its user should know."""

    def act(name: str) -> None:
        with context.client.open("POST", f"/containers/{name}/{action}", _ending(values)) as response:
            response.read()
            if hint := response.headers.get("corten-hint"):
                context.error(f"{name}: {hint}")

    return act


def stop(context: Context, values: Values, names: list[str]) -> int:
    """``stop``."""
    return each(context, names, _end(context, "stop", values))


def restart(context: Context, values: Values, names: list[str]) -> int:
    """``restart``."""
    return each(context, names, _end(context, "restart", values))


def kill(context: Context, values: Values, names: list[str]) -> int:
    """``kill``."""
    return each(context, names, _post(context, "kill", {"signal": values.signal}))


def pause(context: Context, values: Values, names: list[str]) -> int:
    """``pause``."""
    return each(context, names, _post(context, "pause"))


def unpause(context: Context, values: Values, names: list[str]) -> int:
    """``unpause``."""
    return each(context, names, _post(context, "unpause"))


def wait(context: Context, values: Values, names: list[str]) -> int:
    """``wait``: print the exit code of each."""
    code = 0
    for name in names:
        try:
            context.out(str(context.client.post(f"/containers/{name}/wait")["StatusCode"]))
        except CortenError as error:
            code = context.failure(error)
    return code


def remove(context: Context, values: Values, names: list[str]) -> int:
    """``rm``; with ``--force`` what is not there is no failure."""
    query = {"v": values.volumes or None, "link": values.link or None, "force": values.force or None}
    code = 0
    for name in names:
        try:
            context.client.delete(f"/containers/{name.strip('/')}", query)
        except NotFound as error:
            code = max(context.failure(error, code=0 if values.force else 1), code)
        except CortenError as error:
            code = context.failure(error)
        else:
            context.out(name)
    return code


def rename(context: Context, values: Values, names: list[str]) -> int:
    """``rename``."""
    try:
        context.client.post(f"/containers/{names[0]}/rename", {"name": names[1]})
    except CortenError as error:
        code = context.failure(error)
        context.error(f"Error: failed to rename container named {names[0]}")
        return code
    return 0


_SEVERAL = "CONTAINER [CONTAINER...]"
_MANY = (1, None)
STOP = Command(
    stop,
    "Stop one or more running containers",
    f"[OPTIONS] {_SEVERAL}",
    (_SIGNAL, _TIMEOUT, _TIME),
    arguments=_MANY,
)
RESTART = Command(
    restart,
    "Restart one or more containers",
    f"[OPTIONS] {_SEVERAL}",
    (_SIGNAL, _TIMEOUT, _TIME),
    arguments=_MANY,
)
KILL = Command(kill, "Kill one or more running containers", f"[OPTIONS] {_SEVERAL}", (_SIGNAL,), arguments=_MANY)
PAUSE = Command(pause, "Pause all processes within one or more containers", _SEVERAL, arguments=_MANY)
UNPAUSE = Command(unpause, "Unpause all processes within one or more containers", _SEVERAL, arguments=_MANY)
WAIT = Command(
    wait,
    "Block until one or more containers stop, then print their exit codes",
    _SEVERAL,
    arguments=_MANY,
)
REMOVE = Command(
    remove,
    "Remove one or more containers",
    f"[OPTIONS] {_SEVERAL}",
    (
        Option("-f, --force", FLAG, "Force the removal of a running container (uses SIGKILL)"),
        Option("-l, --link", FLAG, "Remove the specified link"),
        Option("-v, --volumes", FLAG, "Remove anonymous volumes associated with the container"),
    ),
    arguments=_MANY,
)
RENAME = Command(rename, "Rename a container", "CONTAINER NEW_NAME", arguments=(2, 2))
