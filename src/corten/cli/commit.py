"""``commit``: a container becomes an image."""

from __future__ import annotations

from .context import Context
from .options import FLAG, LIST, STRING, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Values


def commit(context: Context, values: Values, arguments: list[str]) -> int:
    """``commit``."""
    repo, tag = _split(arguments[1]) if len(arguments) > 1 else ("", "")
    query = {
        "container": arguments[0],
        "repo": repo,
        "tag": tag,
        "author": values.author,
        "comment": values.message,
        "changes": tuple(values.change),
        "pause": None if values.pause else False,
    }
    context.out(context.client.post("/commit", query, {})["Id"])
    return 0


def _split(name: str) -> tuple[str, str]:
    """The repository and the tag of a name. Raises InvalidInput."""
    from corten.spec import reference as references

    reference = references.parse_tagged(name)
    return reference.familiar_name, reference.tag


COMMIT = Command(
    commit,
    "Create a new image from a container's changes",
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    (
        Option("-a, --author", STRING, 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")'),
        Option("-c, --change", LIST, "Apply Dockerfile instruction to the created image"),
        Option("-m, --message", STRING, "Commit message"),
        Option("-p, --pause", FLAG, "Pause container during commit", True),
    ),
    arguments=(1, 2),
    interspersed=False,
)
