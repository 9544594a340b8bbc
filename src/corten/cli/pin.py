"""``image pin`` and ``image unpin``: images that stay when the store is full or pruned."""

from __future__ import annotations

from corten.errors import CortenError

from .context import Context
from .images import short_id
from .options import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Values


def pin(context: Context, values: Values, names: list[str]) -> int:
    """``image pin``; without a name it tells which are pinned."""
    if not names:
        for image in context.client.get("/corten/images/pinned"):
            context.out((image["RepoTags"] or [short_id(image["Id"])])[0])
    return _each(context, names, pinned=True)


def unpin(context: Context, values: Values, names: list[str]) -> int:
    """``image unpin``."""
    return _each(context, names, pinned=False)


def _each(context: Context, names: list[str], *, pinned: bool) -> int:
    code = 0
    for name in names:
        try:
            context.client.post(f"/corten/images/{name}/pin", {"pinned": pinned})
        except CortenError as error:
            code = context.failure(error)
        else:
            context.out(name)
    return code


PIN = Command(
    pin,
    "Keep images when the store is full or pruned; without a name, list those that are kept so",
    "[IMAGE...]",
    arguments=(0, None),
)
UNPIN = Command(unpin, "Let pinned images go again", "IMAGE [IMAGE...]", arguments=(1, None))
