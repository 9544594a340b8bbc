"""``run`` and ``create``: create (pulling what is missing), attach, start, and leave with the container's code."""

from __future__ import annotations

import sys

from corten.errors import CortenError, InvalidInput, NotFound

from . import container_config
from .container_options import CREATE_OPTIONS, RUN_OPTIONS
from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from corten.client.response import Response

    from .context import Context
    from .options import Values

_ENGINE_FAILED = 125
_EXEC = 'exec: "'
_NOT_FOUND = ("executable file not found", "no such file or directory")
_EXPLAIN = ("", "text", "json")
_PULL = ("always", "missing", "never")


def create(context: Context, values: Values, arguments: list[str]) -> int:
    """``create``: make a container, print its ID."""
    try:
        request = _request(context, values, arguments, detached=False)
        made = create_container(context, values, request)
    except CortenError as error:
        return _failed(context, error, _code(error))
    context.out(made["Id"])
    return 0


def run(context: Context, values: Values, arguments: list[str]) -> int:
    """``run``: create, attach, start, wait; the exit code is the command's."""
    try:
        if values.explain not in _EXPLAIN:
            raise InvalidInput(f"--explain={values.explain}: it is --explain or --explain=json")
        request = _request(context, values, arguments, detached=values.detach)
        if not values.detach:
            context.check_terminal(tty=values.tty, stdin=request["AttachStdin"])
    except InvalidInput as error:
        if "TTY" in error.message:
            return context.failure(error)
        return _failed(context, error, _ENGINE_FAILED)
    except CortenError as error:
        return context.failure(error)
    try:
        made = create_container(context, values, request, attached=not values.detach)
        return _Run(context, values, request, made["Id"]).run()
    except CortenError as error:
        return _failed(context, error, _code(error))


def _failed(context: Context, error: CortenError, code: int) -> int:
    context.failure(error, code=code, prefix="corten: ")
    context.error(f"\nRun '{context.path} --help' for more information")
    return code


def _code(error: CortenError) -> int:
    """The exit code of a start that failed: 127 and 126 when the container's command was at fault.

    The API has only the sentence to tell it by; the docker command looks for the same words.
    """
    if _EXEC not in error.message:
        return _ENGINE_FAILED
    return 127 if any(words in error.message for words in _NOT_FOUND) else 126


def _request(context: Context, values: Values, arguments: list[str], *, detached: bool) -> dict[str, Any]:
    if values.pull not in _PULL:
        raise InvalidInput(f'invalid pull option: \'{values.pull}\': must be one of "always", "missing" or "never"')
    check_platform(values.platform)
    image, *command = arguments
    container_config.check_cidfile(values.cidfile)
    return container_config.create_request(values, image, command, context.environment, detached=detached)


def create_container(
    context: Context, values: Values, request: dict[str, Any], *, attached: bool = False
) -> dict[str, Any]:
    """Create a container; an image that is not there is pulled, as ``--pull`` allows. Raises CortenError.

    Where it is going to be ``attached``, that is prepared while the engine works.
    """
    image = request["Image"]
    if values.pull == "always":
        _pull(context, values, image)
    query = {"name": values.name, "platform": values.platform}
    try:
        answer = context.client.send("POST", "/containers/create", query, request)
        if attached:
            context.prepare_attachment(2)  # for the end that is waited for, and for the start
        made = answer.checked().json()
    except NotFound as error:
        if values.pull != "missing" or not _is_missing_image(error):
            raise
        context.error(f"Unable to find image '{_familiar(image)}' locally")
        _pull(context, values, image)
        made = context.client.post("/containers/create", query, request)
    for warning in made.get("Warnings") or []:
        context.error(f"WARNING: {warning}")
    if values.cidfile:
        container_config.write_cidfile(values.cidfile, made["Id"])
    result: dict[str, Any] = made
    return result


def check_platform(text: str) -> None:
    """See that ``os[/architecture[/variant]]``, or one of the two alone, is known. Raises InvalidInput."""
    if text:
        from corten.spec import platform

        try:
            platform.parse(text, platform.Platform())
        except InvalidInput as error:
            raise InvalidInput(f"error parsing specified platform: {error.message}") from error


def _is_missing_image(error: CortenError) -> bool:
    message = error.message.lower()
    return "no such image" in message or message.startswith("image with reference")


def _familiar(image: str) -> str:
    """The reference with the tag that is implied."""
    return image if "@" in image or ":" in image.rpartition("/")[2] else f"{image}:latest"


def _pull(context: Context, values: Values, image: str) -> None:
    from .pull import pull_image

    pull_image(context, image, platform=values.platform, quiet=values.quiet, progress_to=sys.stderr)


class _Run:
    """One container from its creation to its end, or to where it is left alone."""

    def __init__(self, context: Context, values: Values, request: dict[str, Any], identifier: str) -> None:
        self.context = context
        self.client = context.client
        self.values = values
        self.request = request
        self.id = identifier
        self.path = f"/containers/{identifier}"
        self.digest = ""

    def run(self) -> int:
        if self.values.explain:
            from .explain import show

            self.digest = show(self.context, self.path, self.values.explain)
        if self.values.detach:
            try:
                self._start()
            finally:
                self.context.out(self.id)  # also of one that could not be started: it is there to be looked at
            return 0
        return self._foreground()

    def _foreground(self) -> int:
        """Attach, and ask for the end, before the start: neither output nor exit code can be missed."""
        from .attachment import Attachment

        request = self.request
        streams = {name.lower()[6:]: request[name] for name in ("AttachStdin", "AttachStdout", "AttachStderr")}
        attached = Attachment(
            self.context,
            self.path,
            tty=request["Tty"],
            stdin=request["AttachStdin"],
            keys=self.values.detach_keys or self.context.setting("detachKeys"),
            sig_proxy=self.values.sig_proxy,
        )
        query = {"stream": True, **streams, "detachKeys": self.values.detach_keys}
        with self._wait() as ended, self.client.hijack(f"{self.path}/attach", query) as tunnel:
            ended.checked()
            try:
                if not attached.run(tunnel, self._start):
                    return 0
            except CortenError:
                self._discard(ended)
                raise
            return self._exit_code(ended)

    def _wait(self) -> Response:
        condition = "removed" if self.values.rm else "next-exit"
        return self.client.send("POST", f"{self.path}/wait", {"condition": condition})

    def _start(self) -> None:
        self.client.post(f"{self.path}/start", {"plan": self.digest} if self.digest else None)

    def _discard(self, ended: Response) -> None:
        """A start that failed with ``--rm`` leaves when the container is gone."""
        if self.values.rm:
            ended.read()

    def _exit_code(self, ended: Response) -> int:
        told = ended.json()
        if error := (told.get("Error") or {}).get("Message"):
            raise CortenError(error)
        return int(told["StatusCode"])


_USAGE = "[OPTIONS] IMAGE [COMMAND] [ARG...]"
RUN = Command(
    run,
    "Create and run a new container from an image",
    _USAGE,
    RUN_OPTIONS,
    arguments=(1, None),
    interspersed=False,
)
CREATE = Command(create, "Create a new container", _USAGE, CREATE_OPTIONS, arguments=(1, None), interspersed=False)
