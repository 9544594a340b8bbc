"""``pull``, and the pull that ``run`` does: the engine's progress as bars, or as plain lines."""

from __future__ import annotations

import sys

from corten.errors import CortenError, InvalidInput

from . import auth, config
from .context import Context
from .options import FLAG, STRING, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TextIO

    from .options import Values


def pull(context: Context, values: Values, arguments: list[str]) -> int:
    """``pull``."""
    reference = arguments[0]
    if values.all_tags and reference != _name(reference):
        raise InvalidInput("tag can't be used with --all-tags/-a")
    if not values.all_tags and not values.quiet and reference == _name(reference):
        context.out("Using default tag: latest")
    name = pull_image(
        context,
        reference,
        platform=values.platform,
        quiet=values.quiet,
        progress_to=sys.stdout,
        all_tags=values.all_tags,
        all_platforms=values.all_platforms,
    )
    context.out(name)
    return 0


def _name(reference: str) -> str:
    """A reference without its tag and digest."""
    name = reference.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def pull_image(
    context: Context,
    reference: str,
    *,
    platform: str,
    quiet: bool,
    progress_to: TextIO,
    all_tags: bool = False,
    all_platforms: bool = False,
) -> str:
    """Pull one reference and show the progress; its full name. Raises CortenError."""
    name = _name(reference)
    tag = "" if all_tags else (reference[len(name) + 1 :].rpartition("@")[2] or "latest")
    query = {"fromImage": name, "tag": tag, "platform": platform, **({"allPlatforms": "1"} if all_platforms else {})}
    headers = auth.header(context, auth.registry_of(reference))
    with context.client.open("POST", "/images/create", query, headers=headers) as answer:
        show_progress(answer.documents(), progress_to, quiet=quiet)
    mark = "@" if ":" in tag else ":"
    return _full(name) + (f"{mark}{tag}" if tag else "")


def _full(name: str) -> str:
    if auth.registry_of(name) != config.HUB:
        return name
    path = name.removeprefix("docker.io/").removeprefix("index.docker.io/")
    return f"docker.io/{path if '/' in path else f'library/{path}'}"


def show_progress(documents: Iterable[dict[str, Any]], output: TextIO, *, quiet: bool = False) -> None:
    """Show a stream of the API's progress messages to its end. Raises CortenError for the one that tells an error."""
    if output.isatty() and not quiet:
        from .progress import show_bars

        show_bars(_checked(documents), output)
        return
    for document in _checked(documents):
        line = "" if quiet else plain_line(document)
        if line:
            output.write(line + "\n")
            output.flush()


def _checked(documents: Iterable[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for document in documents:
        if "error" in document or "errorDetail" in document:
            detail = document.get("errorDetail") or {}
            raise CortenError(
                detail.get("message") or document.get("error") or "unknown error", hint=detail.get("hint", "")
            )
        yield document


def plain_line(document: dict[str, Any]) -> str:
    """A message as a line; '' for one that only moves a bar."""
    if "stream" in document:
        return str(document["stream"]).rstrip("\n")
    status = document.get("status", "")
    if not status or document.get("progressDetail"):
        return ""
    return f"{document['id']}: {status}" if document.get("id") else str(status)


PULL = Command(
    pull,
    "Download an image from a registry",
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    (
        Option("--all-platforms", FLAG, "Keep what the image has for other platforms, too, to be pushed or saved"),
        Option("-a, --all-tags", FLAG, "Download all tagged images in the repository"),
        Option("--disable-content-trust", FLAG, "Accepted for compatibility", True, hidden=True),
        Option("--platform", STRING, "Set platform if server is multi-platform capable"),
        Option("-q, --quiet", FLAG, "Suppress verbose output"),
    ),
    arguments=(1, 1),
)
