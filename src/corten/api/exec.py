"""Routes of execs."""

from __future__ import annotations

import msgspec

from corten.api import stdio
from corten.api.message import Duplex, Hijack, Request, Response, reply, stream_type
from corten.api.router import Router
from corten.engine.exec import Exec
from corten.engine.model import ExecRequest
from corten.errors import CommandNotFound, CommandNotRunnable, CortenError
from corten.runtime.failure import OperationFailed
from corten.wire.frames import STDOUT, frame

ROUTES = Router()
_route = ROUTES.route


class _Start(msgspec.Struct, rename="pascal"):
    """The body of ``POST /exec/{id}/start``."""

    detach: bool = False
    tty: bool = False
    console_size: list[int] | None = None


@_route("POST", "/containers/{id}/exec")
async def create(request: Request) -> Response:
    body = await request.json(ExecRequest)
    return reply({"Id": request.services.execs.create(request.params["id"], body)}, 201)


@_route("POST", "/exec/{id}/start", reads_body=True)
async def start(request: Request) -> Response | Hijack:
    body = await request.json(_Start, empty=_Start())
    size = (body.console_size[0], body.console_size[1]) if body.console_size and all(body.console_size) else None
    try:
        attachment = await request.services.execs.start(
            request.params["id"], detach=body.detach, tty=body.tty, console_size=size
        )
    except (CommandNotFound, CommandNotRunnable, OperationFailed) as error:
        return _refused(request, error, body)
    if attachment is None:
        return Response()

    async def serve(client: Duplex) -> None:
        await stdio.serve(attachment, client)

    return Hijack(serve, stream_type(request.version, tty=attachment.tty))


def _refused(request: Request, error: CortenError, body: _Start) -> Hijack:
    """A command that cannot be executed is told in its stream, as dockerd does; inspect has its exit code."""
    if body.detach:
        raise error
    message = f"OCI runtime exec failed: {error.message}\r\n".encode()

    async def tell(client: Duplex) -> None:
        await client.write(message if body.tty else frame(STDOUT, message))

    return Hijack(tell, stream_type(request.version, tty=body.tty))


@_route("POST", "/exec/{id}/resize")
async def resize(request: Request) -> Response:
    await request.services.execs.resize(request.params["id"], request.number("h") or 0, request.number("w") or 0)
    return Response()


@_route("GET", "/exec/{id}/json")
async def inspect(request: Request) -> Response:
    return reply(_shape(request.services.execs.inspect(request.params["id"])))


def _shape(found: Exec) -> dict[str, object]:
    asked = found.request
    return {
        "ID": found.id,
        "Running": found.running,
        "ExitCode": found.exit_code,
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
