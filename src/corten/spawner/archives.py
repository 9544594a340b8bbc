"""Works on a container's files: stat, archive, export, unpack, diff, and the filling of new volumes.

A work sees the container's tree as its own root: it enters the mount namespace of a container that runs, or makes, in
a namespace of its own, the mounts that a start would make. From then on no name in the tree can lead out of it; and
everything this process needs was imported before, because an import would now read the container's files
(CVE-2019-14271).

Descriptors: the report, a pipe that takes one JSON object; the data, for the works that move some; and last the
container's pidfd, when it runs.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import stat
import tarfile
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from corten.errors import AccessDenied, Conflict, CortenError, InvalidInput, NotFound
from corten.runtime import accounts, shelf
from corten.runtime.operations.files import BindMount
from corten.runtime.operations.root import DirectoryRoot, OverlayMount, PivotRoot, PrivateMounts, mount_files
from corten.runtime.stages.context import LaunchContext
from corten.spawner import building, copies, layers, trees
from corten.spec.runtime import User
from corten.sys import process

Arguments = dict[str, Any]

# Go's os.FileMode, which the API's X-Docker-Container-Path-Stat has.
_GO_TYPES = {
    stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27, stat.S_IFBLK: 1 << 26, stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24, stat.S_IFCHR: 1 << 26 | 1 << 21, stat.S_IFREG: 0,
}  # fmt: skip
_GO_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


class Gone(Conflict):
    """The container ended before it was entered: the work can be asked for again."""


def _work(act: Callable[[Arguments, int], dict[str, Any]]) -> Callable[[Arguments, list[int]], int]:
    """A work that reports what it returns, or what stopped it."""

    def run(arguments: Arguments, descriptors: list[int]) -> int:
        report, data = descriptors[0], descriptors[1] if len(descriptors) > 1 else -1
        try:
            _enter(arguments, descriptors)
            answer = act(arguments, data)
        except (CortenError, OSError, tarfile.TarError) as error:
            _tell(report, {"error": _told(error)})
            return 1
        _tell(report, answer)
        return 0

    return run


def _told(error: Exception) -> dict[str, str]:
    if isinstance(error, CortenError):
        return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, OSError) and error.errno:
        name = f"{error.filename}: " if error.filename else ""
        return {"kind": "CortenError", "message": f"{name}{os.strerror(error.errno).lower()}"}
    return {"kind": "InvalidInput", "message": f"read the archive: {error}"}


def _tell(report: int, value: dict[str, Any]) -> None:
    content = memoryview(json.dumps(value).encode() + b"\n")
    with contextlib.suppress(BrokenPipeError):  # who asked has gone
        while content:
            content = content[os.write(report, content) :]


def _enter(arguments: Arguments, descriptors: list[int]) -> None:
    if arguments["running"]:
        try:
            process.setns(descriptors[-1], process.CLONE_NEWNS)
        except ProcessLookupError:
            raise Gone(f"container {arguments['name']} has ended meanwhile") from None
        os.chdir("/")
        return
    view = arguments["view"]
    context = _own_tree()
    _make_root(view, context)
    for source, target, writable in view["mounts"]:
        BindMount(source, target, ("rbind", "rprivate", *(() if writable else ("rro",)))).run(context)
    PivotRoot().run(context)
    if view["upper"] and view["directory"]:
        with contextlib.suppress(OSError):  # its start will tell
            os.makedirs(view["directory"], exist_ok=True)


def _make_root(view: Arguments, context: LaunchContext) -> None:
    """The tree that a start would make, in a mount namespace of this process's own."""
    if view["copy"]:
        DirectoryRoot(f"{view['base']}/{view['copy']}").run(context)
        return
    lowers, files = tuple(view["lowers"]), tuple(view["files"])
    places = view["upper"], view["work"], view["merged"], view["user_xattrs"]
    # An overlay that nothing is written to takes two layers at least; one alone is what it would show.
    alone = not view["upper"] and len(lowers) == 1
    if alone:
        os.chdir(view["base"])
        mount_files(files, context)
        DirectoryRoot(f"{view['base']}/{lowers[0]}").run(context)
    else:
        OverlayMount(view["base"], lowers, *places, files).run(context)


def _own_tree() -> LaunchContext:
    """A mount namespace of this process's own, from which the shelf is in reach."""
    context = LaunchContext()
    context.shelf = shelf.descriptor
    process.unshare(process.CLONE_NEWNS)
    PrivateMounts().run(context)
    return context


def changes_of(view: Arguments) -> list[tuple[str, int]]:
    """The differences between what the container writes to and the layers, in the data root, which is the current
    directory from then on."""
    _stand_at_layers(view)
    if view["copy"]:
        return _visible(view, copies.changes(view["copy"], view["lowers"]))
    return _visible(view, sorted(trees.changes(view["upper"], view["lowers"])))


def _stand_at_layers(view: Arguments) -> None:
    if view["files"]:
        context = _own_tree()
        os.chdir(view["base"])
        mount_files(view["files"], context)
    os.chdir(view["base"])


def _make_copy(arguments: Arguments, descriptors: list[int]) -> dict[str, Any]:
    """A root for a container of an image that no overlay can be made of."""
    view = arguments["view"]
    _stand_at_layers(view)
    copies.make(view["lowers"], view["copy"])
    return {}


# --- stat


def _stat(arguments: Arguments, data: int) -> dict[str, Any]:
    return {"stat": _path_stat(arguments)}


def _path_stat(arguments: Arguments) -> dict[str, Any]:
    path = arguments["path"]
    try:
        status = os.lstat(_absolute(path))
    except NotADirectoryError:
        raise InvalidInput(f"stat {path}: not a directory") from None
    except FileNotFoundError:
        raise NotFound(f"Could not find the file {path} in container {arguments['name']}") from None
    is_link = stat.S_ISLNK(status.st_mode)
    return {
        "name": _base(path),
        "size": status.st_size,
        "mode": _go_mode(status.st_mode),
        "mtime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(status.st_mtime)),
        "link_target": os.path.realpath(_absolute(path)) if is_link else "",
    }


def _absolute(path: str) -> str:
    """The path from the root; a slash or dot at its end stays, and follows a symbolic link."""
    return "/" + path.lstrip("/")


def _base(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    return parts[-1] if parts else "/"


def _go_mode(mode: int) -> int:
    bits = stat.S_IMODE(mode) & 0o777 | _GO_TYPES.get(stat.S_IFMT(mode), 0)
    return bits | sum(go for unix, go in _GO_BITS if mode & unix)


# --- out


def archive(arguments: Arguments, descriptors: list[int]) -> int:
    """An archive of a path: report, then data."""
    return _out(arguments, descriptors, lambda: ({"stat": _path_stat(arguments)}, *_place(arguments["path"])))


def export(arguments: Arguments, descriptors: list[int]) -> int:
    """An archive of the root, of its own file system only."""
    return _out(arguments, descriptors, lambda: ({}, "/", ""), one_file_system=True)


def _place(path: str) -> tuple[str, str]:
    """(what to read, the name of its first entry): the root's is a slash, which docker's cp counts on."""
    return _absolute(path), _base(path)


def _out(
    arguments: Arguments,
    descriptors: list[int],
    begin: Callable[[], tuple[dict[str, Any], str, str]],
    *,
    one_file_system: bool = False,
) -> int:
    report, data = descriptors[:2]
    try:
        _enter(arguments, descriptors)
        answer, source, name = begin()
    except (CortenError, OSError) as error:
        _tell(report, {"error": _told(error)})
        return 1
    _tell(report, answer)
    os.close(report)
    try:
        with os.fdopen(data, "wb", buffering=1 << 16) as output:
            trees.write_archive(output, source, name, one_file_system=one_file_system)
    except BrokenPipeError:  # who asked has gone
        return 1
    return 0


# --- in


def _unpack(arguments: Arguments, data: int) -> dict[str, Any]:
    directory = _extraction_point(arguments)
    owner = _owner(arguments)
    with io.BufferedReader(io.FileIO(data), 1 << 16) as source:
        for member, content in _members(source):
            trees.unpack(
                member, content, directory, owner=owner, overwrite_kind=arguments["overwrite_kind"]
            )
        while source.read(1 << 16):  # what follows the end of the archive
            continue
    return {}


def _extraction_point(arguments: Arguments) -> str:
    path = arguments["path"]
    directory = _absolute(path)
    try:
        status = os.stat(directory)
    except NotADirectoryError:
        raise InvalidInput(f"stat {path}: not a directory") from None
    except FileNotFoundError:
        raise NotFound(f"Could not find the file {path} in container {arguments['name']}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise InvalidInput("extraction point is not a directory")
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        raise AccessDenied("mounted volume is marked read-only")
    if arguments["read_only"] and status.st_dev == os.stat("/").st_dev:
        raise AccessDenied("container rootfs is marked read-only")
    return directory


def _owner(arguments: Arguments) -> tuple[int, int] | None:
    if arguments["single_owner"]:
        return 0, 0
    if not arguments["keep_owner"] or not arguments["user"]:
        return None
    account = accounts.look_up(User(name=arguments["user"]))
    return account.uid, account.gid


def _members(source: io.BufferedReader[io.FileIO]) -> Iterator[tuple[tarfile.TarInfo, BinaryIO | None]]:
    """Plain, gzip, bzip2 or xz: tarfile looks at the first bytes; nothing at all is an archive of nothing."""
    if not source.peek(1):
        return
    with tarfile.open(fileobj=source, mode="r|*") as archive:
        for member in archive:
            yield member, archive.extractfile(member) if member.isreg() else None  # type: ignore[misc]


# --- volumes


def populate(arguments: Arguments, descriptors: list[int]) -> int:
    """Copy the image's content at some paths into new volumes: directories of the host, opened before the way to
    them is gone."""
    targets = []
    for path, directory in arguments["volumes"]:
        targets.append((path, os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)))

    def copy(arguments: Arguments, data: int) -> dict[str, Any]:
        for path, target in targets:
            _populate(path, target)
        return {}

    return _work(copy)({**arguments, "view": {**arguments["view"], "mounts": [], "upper": ""}}, descriptors)


def _populate(path: str, target: int) -> None:
    try:
        source = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):  # the image has no directory there
            return
        raise
    try:
        trees.copy(source, target)
        os.fsync(target)
    finally:
        os.close(source)


def directory(arguments: Arguments, descriptors: list[int]) -> int:
    """Whether a path of the image is a directory, or nothing yet, so that a start can make one."""
    return _work(_directory)({**arguments, "view": {**arguments["view"], "mounts": [], "upper": ""}}, descriptors)


def _directory(arguments: Arguments, data: int) -> dict[str, Any]:
    try:
        return {"possible": stat.S_ISDIR(os.stat(_absolute(arguments["path"])).st_mode)}
    except OSError as error:
        return {"possible": error.errno == errno.ENOENT}  # and not ENOTDIR: a part of it is a file


# --- differences


def diff(arguments: Arguments, descriptors: list[int]) -> int:
    """What it has changed of the layers below. Nothing is entered: names are looked at, not followed."""
    view = arguments["view"]
    try:
        changes = changes_of(view)
    except OSError as error:
        _tell(descriptors[0], {"error": _told(error)})
        return 1
    _tell(descriptors[0], {"changes": [[kind, path] for path, kind in changes]})
    return 0


def layer(arguments: Arguments, descriptors: list[int]) -> int:
    """The same differences as an archive: report, then data."""
    report, data = descriptors[:2]
    view = arguments["view"]
    try:
        changes = changes_of(view)
    except OSError as error:
        _tell(report, {"error": _told(error)})
        return 1
    _tell(report, {})
    os.close(report)
    try:
        with os.fdopen(data, "wb", buffering=1 << 16) as output:
            layers.write_layer(output, view["copy"] or view["upper"], changes)
    except BrokenPipeError:  # who asked has gone
        return 1
    return 0


def _visible(view: Arguments, changes: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Without what a start leaves behind: the places that the runtime mounts something on, and directories that
    differ by those alone."""
    made = {path for path, kind in changes if kind != trees.DELETED and path.startswith(_MOUNT_POINTS)}
    left = [(path, kind) for path, kind in changes if path not in made]
    above = {os.path.dirname(path) for path in made}
    return [
        (path, kind)
        for path, kind in left
        if not (kind == trees.MODIFIED and path in above and not any(one.startswith(f"{path}/") for one, _ in left))
        or retouched(view, path)
    ]


def retouched(view: Arguments, path: str) -> bool:
    """Whether a directory has another owner or mode than the layers show."""
    return trees.retouched(view["copy"] or view["upper"], view["lowers"], path)


_MOUNT_POINTS = ("/dev", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/proc", "/sys")

# --- builds


def _gather(arguments: Arguments, descriptors: list[int]) -> int:
    """An archive of some of its files: report, then data."""
    report, data = descriptors[:2]
    try:
        _enter(arguments, descriptors)
    except (CortenError, OSError) as error:
        _tell(report, {"error": _told(error)})
        return 1
    _tell(report, {})
    os.close(report)
    try:
        with os.fdopen(data, "wb", buffering=1 << 16) as output:
            building.gather(output, arguments)
    except BrokenPipeError:  # who asked has gone
        return 1
    return 0


def outside(act: Callable[[Arguments, list[int]], dict[str, Any]]) -> Callable[[Arguments, list[int]], int]:
    """A work that enters nothing."""

    def run(arguments: Arguments, descriptors: list[int]) -> int:
        try:
            answer = act(arguments, descriptors)
        except (CortenError, OSError, tarfile.TarError) as error:
            answer = {"error": _told(error)}
        _tell(descriptors[0], answer)
        return int("error" in answer)

    return run


WORKS = {
    "stat": _work(_stat),
    "archive": archive,
    "export": export,
    "unpack": _work(_unpack),
    "populate": populate,
    "directory": directory,
    "copy": outside(_make_copy),
    "diff": diff,
    "layer": layer,
    "look": _work(building.look),
    "gather": _gather,
    "index": outside(building.index),
    "lay-out": outside(building.lay_out),
}
