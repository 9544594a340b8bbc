"""``load``, ``save``, ``import``: images as archives, in and out."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager

from corten.errors import CortenError, InvalidInput

from .context import Context, write_all
from .options import FLAG, LIST, STRING, Command, Option
from .platforms import as_query

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .options import Values

_PIECE = 256 * 1024
_TAR = {"Content-Type": "application/x-tar"}


def load(context: Context, values: Values, arguments: list[str]) -> int:
    """``load``."""
    if not values.input and os.isatty(0):
        raise InvalidInput("requested load from stdin, but stdin is empty")
    query = {"quiet": True, "platform": as_query(values.platform, "invalid platform: ")}
    with opened(values.input or "-") as source:
        answer = context.client.open("POST", "/images/load", query, body=pieces(source), headers=_TAR)
    from .pull import show_progress

    with answer:
        show_progress(answer.documents(), sys.stdout)
    return 0


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor to read from: of a file, or for ``-`` standard input. Raises CortenError."""
    if path == "-":
        yield 0
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CortenError(f"open {path}: {(error.strerror or '').lower()}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def pieces(descriptor: int) -> Iterator[bytes]:
    """What a descriptor gives, to its end."""
    while data := os.read(descriptor, _PIECE):
        yield data


def save(context: Context, values: Values, names: list[str]) -> int:
    """``save``."""
    if not values.output and os.isatty(1):
        raise InvalidInput("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    platform = as_query(values.platform, "invalid platform: ")
    query = {"names": tuple(names), "platform": platform, "since": values.since}
    with context.client.open("GET", "/images/get", query) as answer:
        to_file(context, answer, values.output)
    return 0


def to_file(context: Context, content: Iterable[bytes], path: str) -> None:
    """Write a stream to standard output, or to a file that appears when it is whole. Raises CortenError."""
    if not path:
        context.raw_out(content)
        return
    part = f"{path}.part-{os.getpid()}"
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for piece in content:
                write_all(descriptor, piece)
        finally:
            os.close(descriptor)
        os.rename(part, path)
    except OSError as error:
        raise CortenError(f"write {path}: {(error.strerror or '').lower()}") from error
    finally:
        if os.path.lexists(part):
            os.unlink(part)


def import_(context: Context, values: Values, arguments: list[str]) -> int:
    """``import``: a root file system becomes an image."""
    source, reference = arguments[0], arguments[1] if len(arguments) > 1 else ""
    query = {"repo": reference, "message": values.message, "platform": values.platform}
    if source.startswith(("http://", "https://")):
        return _imported(context, {**query, "fromSrc": source}, values.change, ())
    with opened(source) as descriptor:
        return _imported(context, {**query, "fromSrc": "-"}, values.change, pieces(descriptor))


def _imported(context: Context, query: dict[str, str], changes: list[str], content: Iterable[bytes]) -> int:
    full = {**query, "changes": tuple(changes)}
    with context.client.open("POST", "/images/create", full, body=content, headers=_TAR) as answer:
        from .pull import show_progress

        show_progress(answer.documents(), sys.stdout)
    return 0


LOAD = Command(
    load,
    "Load an image from a tar archive or STDIN",
    "[OPTIONS]",
    (
        Option("-i, --input", STRING, "Read from tar archive file, instead of STDIN"),
        Option("--platform", STRING, 'Load only the given platform variant (e.g., "linux/amd64")'),
        Option("-q, --quiet", FLAG, "Suppress the load output"),
    ),
)
SAVE = Command(
    save,
    "Save one or more images to a tar archive (streamed to STDOUT by default)",
    "[OPTIONS] IMAGE [IMAGE...]",
    (
        Option("-o, --output", STRING, "Write to a file, instead of STDOUT"),
        Option("--platform", STRING, 'Save only the given platform variant (e.g., "linux/amd64")'),
        Option("--since", "image", "Leave out the layers of an image that the other side has"),
    ),
    arguments=(1, None),
)
IMPORT = Command(
    import_,
    "Import the contents from a tarball to create a filesystem image",
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    (
        Option("-c, --change", LIST, "Apply Dockerfile instruction to the created image"),
        Option("-m, --message", STRING, "Set commit message for imported image"),
        Option("--platform", STRING, "Set platform if server is multi-platform capable"),
    ),
    arguments=(1, 2),
)
