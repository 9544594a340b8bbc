"""What the members of a layer mean, for whoever puts them in place: names judged, whiteouts told apart, attributes
chosen.

Whiteouts are of the OCI's image-spec (layer.md): ``.wh.NAME`` hides a name of the layers below, ``.wh..wh..opq`` all
that they have in its directory. They speak of layers below: an entry of the same layer outlives them.
"""

from __future__ import annotations

from collections.abc import Iterator

from corten.errors import DataCorrupt
from corten.wire.tar import Member

Parts = tuple[bytes, ...]

WHITEOUT, OPAQUE = b".wh.", b".wh..wh..opq"
_META = b".wh..wh."
_LONGEST_PATH, LONGEST_NAME = 4095, 255
"""Bytes."""


def parts_of(name: bytes) -> Parts:
    """The components of a name. Raises DataCorrupt for one that leaves the root, or that no file system takes."""
    if len(name) > _LONGEST_PATH:
        raise DataCorrupt(f"unpack {shown(name)}…: a name of {len(name)} bytes is over the limit")
    if name.startswith(b"/") and name.strip(b"/."):
        raise DataCorrupt(f"unpack {shown(name)}: an absolute path leaves the root")
    parts = tuple(part for part in name.split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise DataCorrupt(f"unpack {shown(name)}: a path with '..' leaves the root")
    if len(name) > LONGEST_NAME and any(len(part) > LONGEST_NAME for part in parts):
        raise DataCorrupt(f"unpack {shown(name)}: a name in it is longer than {LONGEST_NAME} bytes")
    return parts


def is_whiteout(name: bytes) -> bool:
    """Whether a name is a mark, and no file's."""
    return name.startswith(WHITEOUT)


def hidden_by(name: bytes) -> bytes | None:
    """The name that a whiteout hides; None for aufs's own books, which stand under such names. Raises DataCorrupt."""
    if name.startswith(_META):
        return None
    hidden = name.removeprefix(WHITEOUT)
    if hidden in (b"", b".", b".."):
        raise DataCorrupt(f"unpack {shown(name)}: a whiteout of no file in its directory")
    return hidden


def shown(name: bytes) -> str:
    """A name as a message has it."""
    return name[:200].decode(errors="backslashreplace")


def path_of(parts: Parts) -> bytes:
    """A path relative to the root."""
    return b"/".join(parts) or b"."


def kept(member: Member) -> Iterator[tuple[bytes, bytes]]:
    """Attributes that a layer may set: capabilities and users' own; never overlay's, which steer mounts."""
    for name, value in member.xattrs:
        users = name.startswith(b"user.") and not name.startswith(b"user.overlay.")
        if name == b"security.capability" or (users and member.kind in ("file", "directory")):
            yield name, value
