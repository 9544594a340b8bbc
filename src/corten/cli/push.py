"""``push``: images go to their registry, with the engine's progress."""

from __future__ import annotations

import sys

from corten.errors import InvalidInput
from corten.spec import reference as references

from . import auth
from .context import Context
from .options import FLAG, STRING, Command, Option
from .platforms import as_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from corten.spec.reference import Reference

    from .options import Values


def push(context: Context, values: Values, arguments: list[str]) -> int:
    """``push``."""
    reference = references.parse(arguments[0])
    if reference.digest:
        raise InvalidInput("cannot push a digest reference")
    if values.all_tags and reference.tag:
        raise InvalidInput("tag can't be used with --all-tags/-a")
    if not values.all_tags and not reference.tag:
        reference = reference.tagged()
        if not values.quiet:
            context.out(f"Using default tag: {reference.tag}")
    send(context, reference, as_query(values.platform, "invalid platform: "), quiet=values.quiet)
    if values.quiet:
        context.out(str(reference))
    return 0


def send(context: Context, reference: Reference, platform: str, *, quiet: bool) -> None:
    """Push one name. Raises CortenError, also for the error that is the last line of the progress."""
    from .pull import show_progress

    # The header is not optional in the API: no credentials are those of nobody.
    headers = auth.header(context, auth.registry_of(str(reference))) or {"X-Registry-Auth": auth.encode({})}
    query = {"tag": reference.tag, "platform": platform}
    path = f"/images/{reference.name}/push"
    with context.client.open("POST", path, query, headers=headers) as answer:
        show_progress(answer.documents(), sys.stdout, quiet=quiet)


PUSH = Command(
    push,
    "Upload an image to a registry",
    "[OPTIONS] NAME[:TAG]",
    (
        Option("-a, --all-tags", FLAG, "Push all tags of an image to the repository"),
        Option("--disable-content-trust", FLAG, "Accepted for compatibility", True, hidden=True),
        Option("--platform", STRING, "Push the image of this platform alone, without the index that it came in"),
        Option("-q, --quiet", FLAG, "Suppress verbose output"),
    ),
    arguments=(1, 1),
)
