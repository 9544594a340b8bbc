"""``cp``: files between a container and here, by way of tar archives (Docker Engine API, "PutContainerArchive").

The rules of names are those of ``cp -a``, as Docker documents them: a source directory that ends in ``/.`` stands
for its content; a destination that is a directory takes the source into it; one that does not exist becomes it.
"""

from __future__ import annotations

import binascii
import os
import sys
import tarfile

from corten.client import jsontext
from corten.errors import CortenError, InvalidInput, NotFound

from .archive_files import ChunkReader, extract, packed, renamed
from .context import Context
from .options import FLAG, Command, Option
from .transfer import pieces
from .units import human_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from .options import Values

_MODE_DIRECTORY, _MODE_SYMLINK = 1 << 31, 1 << 27
"""Go's os.FileMode bits, in which the API tells a path's kind."""
_TAR = {"Content-Type": "application/x-tar"}


def cp(context: Context, values: Values, arguments: list[str]) -> int:
    """``cp``."""
    source, target = (_split(argument) for argument in arguments)
    if source[0] and target[0]:
        raise InvalidInput("copying between containers is not supported")
    if not source[0] and not target[0]:
        raise InvalidInput("must specify at least one container source")
    if source[0]:
        copied = _from_container(context, values, source[0], source[1], target[1])
    else:
        copied = _to_container(context, values, source[1], target[0], target[1])
    if copied is not None and not values.quiet and sys.stdout.isatty():
        context.error(f"Successfully copied {human_size(copied, 3)} to {arguments[1]}")
    return 0


def _split(argument: str) -> tuple[str, str]:
    """Container and path; a path with a colon is told apart by starting with ``/`` or ``.``."""
    if argument.startswith(("/", ".")) or ":" not in argument:
        return "", argument
    container, _, path = argument.partition(":")
    return container, path


def _is_content(path: str) -> bool:
    return path.endswith("/.") or path == "."


# --- out of a container


def _from_container(context: Context, values: Values, container: str, path: str, target: str) -> int | None:
    stat = _stat(context, container, path)
    if stat is None:
        raise NotFound(f"Error response from daemon: Could not find the file {path} in container {container}")
    if values.follow_link and stat["mode"] & _MODE_SYMLINK:
        path = _joined(os.path.dirname(path), stat["linkTarget"])
        stat = _stat(context, container, path) or stat
    query = {"path": path if path.strip("/") else "/."}  # whose entries have a top
    with context.client.open("GET", f"/containers/{container}/archive", query) as answer:
        if target == "-":
            context.raw_out(answer)
            return None
        is_directory = bool(stat["mode"] & _MODE_DIRECTORY)
        into, name = _local_target(path, is_directory, target)
        with tarfile.open(fileobj=ChunkReader(answer), mode="r|") as archive:
            return extract(renamed(archive, name), into)


def _local_target(path: str, is_directory: bool, target: str) -> tuple[str, str]:
    """The directory to unpack in, and the name that the archive's top gets ('' for the directory itself)."""
    if os.path.isdir(target):
        return target, "" if is_directory and _is_content(path) else os.path.basename(os.path.normpath(path)) or ""
    if os.path.lexists(target) and is_directory:
        raise InvalidInput(f"cannot copy directory: {target} is not a directory")
    if target.endswith("/") and not is_directory:
        raise InvalidInput(f"no such directory: {target}")
    above, name = os.path.split(os.path.normpath(target))
    if above and not os.path.isdir(above):
        raise InvalidInput(f'invalid output path: directory "{os.path.abspath(above)}" does not exist')
    return above or ".", name


# --- into a container


def _to_container(context: Context, values: Values, source: str, container: str, target: str) -> int | None:
    if source != "-":
        _check_local(source)
    stat = _resolved(context, container, target)
    path = stat["path"] if stat else target
    is_directory = bool(stat and stat["mode"] & _MODE_DIRECTORY)
    if source == "-":
        if not is_directory:
            raise InvalidInput(f'destination "{container}:{target}" must be a directory')
        _put(context, values, container, path, pieces(0))
        return None
    into, name = _remote_target(source, bool(stat), is_directory, path, values)
    counted = _Counted(packed(source, name, follow=values.follow_link, root=_root_of(context)))
    _put(context, values, container, into, counted)
    return counted.size


def _root_of(context: Context) -> tuple[int, int]:
    """Who root in the container is out here: this user, where the engine is its own (as its socket's owner shows)."""
    path = context.address.path
    if os.geteuid() and path and os.stat(path).st_uid == os.geteuid():
        return os.geteuid(), os.getegid()
    return 0, 0


def _check_local(path: str) -> None:
    try:
        os.lstat(path)
    except OSError as error:
        raise InvalidInput(f"lstat {path}: {(error.strerror or '').lower()}") from None


def _resolved(context: Context, container: str, path: str) -> dict[str, Any] | None:
    """The stat of a path, and of what it points to when it is a symbolic link."""
    stat = _stat(context, container, path)
    if stat and stat["mode"] & _MODE_SYMLINK:
        path = _joined(os.path.dirname(path), stat["linkTarget"])
        stat = _stat(context, container, path)
    return {**stat, "path": path} if stat else None


def _joined(directory: str, target: str) -> str:
    return os.path.normpath(os.path.join("/", directory, target))


def _remote_target(source: str, exists: bool, is_directory: bool, target: str, values: Values) -> tuple[str, str]:
    """The container's directory to unpack in, and the name of the archive's top ('' for the content alone)."""
    try:
        found = os.stat(source) if values.follow_link or source.endswith("/") else os.lstat(source)
    except OSError as error:
        raise CortenError(f"lstat {os.path.abspath(source)}: {(error.strerror or '').lower()}") from error
    from stat import S_ISDIR

    source_is_directory = S_ISDIR(found.st_mode)
    if is_directory:
        name = "" if source_is_directory and _is_content(source) else os.path.basename(os.path.abspath(source))
        return target, name
    if exists and source_is_directory:
        raise InvalidInput(f'cannot copy directory "{source}": "{target}" is not a directory')
    if target.endswith("/") and not source_is_directory:
        raise NotFound(f"no such directory: {target}")
    above, name = os.path.split(os.path.normpath(os.path.join("/", target)))
    return above, name


def _put(context: Context, values: Values, container: str, path: str, content: Iterable[bytes]) -> None:
    query = {
        "path": path, "noOverwriteDirNonDir": True, "copyUIDGID": values.archive or None,
    }  # fmt: skip
    context.client.open("PUT", f"/containers/{container}/archive", query, body=content, headers=_TAR).read()


class _Counted:
    """A stream and how much of it has passed."""

    def __init__(self, content: Iterable[bytes]) -> None:
        self._content = content
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._content:
            self.size += len(piece)
            yield piece


def _stat(context: Context, container: str, path: str) -> dict[str, Any] | None:
    """What is at a path of a container; None where nothing is. Raises NotFound for the container."""
    try:
        with context.client.open("HEAD", f"/containers/{container}/archive", {"path": path}) as answer:
            encoded = answer.headers["x-docker-container-path-stat"]
    except NotFound:
        context.client.get(f"/containers/{container}/json")  # which of the two is missing?
        return None
    found: dict[str, Any] = jsontext.decode(binascii.a2b_base64(encoded))
    return found


CP = Command(
    cp,
    "Copy files/folders between a container and the local filesystem",
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tcorten cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    (
        Option("-a, --archive", FLAG, "Archive mode (copy all uid/gid information)"),
        Option("-L, --follow-link", FLAG, "Always follow symbol link in SRC_PATH"),
        Option("-q, --quiet", FLAG, "Suppress progress output during copy"),
    ),
    arguments=(2, 2),
    description="Use '-' as the source to read a tar archive from stdin\n"
    "and extract it to a directory destination in a container.\n"
    "Use '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
)
