"""``--build-context``, and a context on standard input: what they are, and what the engine is told of them."""

from __future__ import annotations

import os

from corten.errors import InvalidInput

from .build_context import directory, is_remote, listed
from .options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .build_context import Sender

_IMAGE, _LAYOUT = "docker-image://", "oci-layout://"


def announce(sender: Sender, text: str) -> None:
    """Tell of a ``--build-context NAME=VALUE``. Raises UsageError, InvalidInput."""
    name, equals, value = text.partition("=")
    if not name or not equals or not value:
        raise UsageError(f'invalid argument "{text}" for "--build-context" flag: it needs NAME=VALUE')
    if value.startswith(_IMAGE):
        sender.context(name, "image", value.removeprefix(_IMAGE))
    elif value.startswith(_LAYOUT):
        _layout(sender, name, value.removeprefix(_LAYOUT))
    elif is_remote(value):
        sender.context(name, "remote", value)
    else:
        directory(sender, name, value)


def _layout(sender: Sender, name: str, text: str) -> None:
    """``DIRECTORY[:TAG][@DIGEST]``."""
    above, slash, last = text.rpartition("/")
    path = above + slash + last.partition("@")[0].partition(":")[0]
    if not os.path.isfile(os.path.join(path, "index.json")):
        raise InvalidInput(f"build context {name}: {path!r} is not an OCI layout")
    root = os.path.realpath(path)
    sender.context(name, "layout", root + last[len(os.path.basename(path)) :], listed(root), root)


def standard_input() -> Iterator[bytes]:
    """The archive on standard input; of a Dockerfile that stands there, one with it."""
    head = b""
    while len(head) < 512 and (data := os.read(0, 65536)):
        head += data
    if not _is_archive(head):
        while data := os.read(0, 65536):
            head += data
        head = _archive_of(head)
    yield head
    while data := os.read(0, 262144):
        yield data


def _is_archive(head: bytes) -> bool:
    packed = (b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh", b"\xfd7zXZ\0")
    return head[257:262] == b"ustar" or head.startswith(packed)


def _archive_of(dockerfile: bytes) -> bytes:
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        archive.addfile(entry, io.BytesIO(dockerfile))
    return buffer.getvalue()
