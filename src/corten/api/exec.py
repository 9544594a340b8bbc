"""Routes of execs."""

from __future__ import annotations

import msgspec

from corten.api import stdio
from corten.api.message import Duplex, Hijack, Request, Response, reply, stream_type
from corten.api.router import Router
from corten.engine.exec import Exec, Execs
from corten.engine.model import ExecRequest, Natural
from corten.errors import CortenError
from corten.wire.frames import EXEC, EXIT, STDOUT, frame

ROUTES = Router()
_route = ROUTES.route
_NOT_RUNNABLE, _NOT_FOUND = 126, 127


class _Start(msgspec.Struct, rename="pascal"):
    """The body of ``POST /exec/{id}/start``."""

    detach: bool = False
    tty: bool = False
    console_size: tuple[Natural, Natural] | None = None


@_route("POST", "/containers/{id}/exec")
async def create(request: Request) -> Response | Hijack:
    body = await request.json(ExecRequest)
    id = request.services.execs.create(request.params["id"], body)
    if request.headers.get("upgrade", "").lower() == EXEC and not body.tty:
        return _followed(request, id)
    return reply({"Id": id}, 201)


def _followed(request: Request, id: str) -> Hijack:
    """Start it at once, and say at the end how it ended: one trip where the API takes three."""
    execs = request.services.execs

    async def serve(client: Duplex) -> None:
        await _served(execs, id, client, tty=False, size=None)
        code = execs.inspect(id).exit_code
        if code is not None:
            await client.write(frame(EXIT, str(code).encode()))

    return Hijack(serve, protocol=EXEC)


@_route("POST", "/exec/{id}/start", reads_body=True)
async def start(request: Request) -> Response | Hijack:
    body = await request.json(_Start, empty=_Start())
    size = body.console_size if body.console_size and all(body.console_size) else None
    execs, id = request.services.execs, request.params["id"]
    if body.detach:
        await execs.start(id, detach=True, tty=body.tty, console_size=size)
        return Response()
    execs.startable(id)
    # How the stream is framed, who starts it says, whatever the exec was created with: so does dockerd.
    tty = body.tty

    async def serve(client: Duplex) -> None:
        """Not before the head is out: a client that reads both in one piece may lose the output (docker-py does)."""
        await _served(execs, id, client, tty=tty, size=size)

    return Hijack(serve, stream_type(request.version, tty=tty))


async def _served(execs: Execs, id: str, client: Duplex, *, tty: bool, size: tuple[int, int] | None) -> None:
    try:
        attachment = await execs.start(id, tty=tty, console_size=size)
    except CortenError as error:
        # Told in the stream, as dockerd does; inspect has the exit code.
        message = f"OCI runtime exec failed: {error.message}\r\n".encode()
        await client.write(message if tty else frame(STDOUT, message))
        return
    assert attachment is not None
    await stdio.serve(attachment, client, framed=not tty)


@_route("POST", "/exec/{id}/resize")
async def resize(request: Request) -> Response:
    await request.services.execs.resize(request.params["id"], *request.terminal_size())
    return Response()


@_route("GET", "/exec/{id}/json")
async def inspect(request: Request) -> Response:
    return reply(_shape(request.services.execs.inspect(request.params["id"]), request.version))


def _exit_code(found: Exec, version: tuple[int, int]) -> int | None:
    """Of a command that is not there it was 126 before dockerd 23, which came with 1.42."""
    never_ran = not found.running and not found.pid
    return _NOT_RUNNABLE if found.exit_code == _NOT_FOUND and never_ran and version < (1, 42) else found.exit_code


def _shape(found: Exec, version: tuple[int, int]) -> dict[str, object]:
    asked = found.request
    return {
        "ID": found.id,
        "Running": found.running,
        "ExitCode": _exit_code(found, version),
        "ProcessConfig": {
            "tty": asked.tty,
            "entrypoint": found.entrypoint,
            "arguments": list(found.arguments),
            "privileged": asked.privileged,
            "user": asked.user,
        },
        "OpenStdin": asked.attach_stdin,
        "OpenStderr": asked.attach_stderr,
        "OpenStdout": asked.attach_stdout,
        "CanRemove": False,
        "ContainerID": found.container,
        "DetachKeys": asked.detach_keys,
        "Pid": found.pid,
    }
