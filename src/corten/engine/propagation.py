"""Bind propagation: whether mounts made on one side of a bind mount appear on the other (mount_namespaces(7)).

Corten's answer to ``shared`` is dockerd's: the source must lie on a mount that is shared itself, or nothing could
come through; for ``slave`` on one that is shared or a slave.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from corten.engine.model import MountPoint
from corten.errors import CortenError, InvalidInput

_SHARED = ("shared", "rshared")
_SLAVE = ("slave", "rslave")


def check(mounts: Iterable[MountPoint], mountinfo: str | None = None) -> None:
    """See that each source lies on a mount of the kind that its propagation needs. Raises CortenError in Docker's
    words. ``mountinfo`` is the text of proc(5), by default this process's."""
    concerned = [mount for mount in mounts if mount.type == "bind" and mount.propagation in _SHARED + _SLAVE]
    if not concerned:
        return
    if mountinfo is None:
        mountinfo = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    table = {_unescaped(line.split()[4]): line.split()[6:] for line in mountinfo.splitlines()}
    for mount in concerned:
        shared = mount.propagation in _SHARED
        wanted, words = (("shared:",), "a shared") if shared else (("shared:", "master:"), "a shared or slave")
        place = _place(os.path.realpath(mount.source), table)
        tags = table[place][: table[place].index("-")]
        if not any(tag.startswith(wanted) for tag in tags):
            raise CortenError(
                f"path {mount.source} is mounted on {place} but it is not {words} mount",
                hint=f"mount --make-shared {place}, or mount the directory on itself and make that shared",
            )


def concerns(source: str, root: str) -> bool:
    """Whether a source lies in an engine's data root, or holds it."""
    return f"{source}/".startswith(f"{root}/") or f"{root}/".startswith(f"{source.rstrip('/')}/")


def of_data_root(source: str, asked: str) -> str:
    """The propagation of a bind mount that shows the data root, as dockerd has it: ``rslave``, where the host's mounts
    allow it, so that what is unmounted there does not stay busy here. Raises InvalidInput for what would."""
    if asked not in ("", "rslave", "rshared"):
        raise InvalidInput(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when mount source is within '
            f"the daemon root, or contains it: bind mount source: {source!r}, propagation: {asked!r}"
        )
    return asked or "rslave"


def of_root(mounts: Iterable[MountPoint]) -> str:
    """The propagation that the root takes, as dockerd has it: that of its widest mount; '' for none."""
    asked = {mount.propagation for mount in mounts}
    if asked.intersection(_SHARED):
        return "shared"
    return "rslave" if asked.intersection(_SLAVE) else ""


def _place(path: str, table: dict[str, list[str]]) -> str:
    """The mount point that a path is below. Later lines of the table lie over earlier ones."""
    while path != "/" and path not in table:
        path = os.path.dirname(path)
    return path


def _unescaped(text: str) -> str:
    """The kernel writes blanks and backslashes in octal."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text
