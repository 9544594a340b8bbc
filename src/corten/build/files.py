"""A tree of files that is known by its index, and not unpacked: the build's context, or what is copied from elsewhere.

Paths are relative to the tree's root, without a slash at either end; '' is the root. Names are text with surrogate
escapes. Symbolic links are followed inside the tree only: whatever one says, the root is where it ends.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from corten.build.globs import is_pattern, matches
from corten.build.ignore import Ignore
from corten.build.patience import Check, always
from corten.errors import InvalidInput

_MOST_LINKS = 255
"""As many as BuildKit follows."""


class Entry(msgspec.Struct, array_like=True, frozen=True):
    """One file. ``kind`` is file, directory, symlink, char, block or fifo; the content of a file are ``size`` bytes at
    ``offset`` of its tree's spool, ``digest`` their SHA-256. Times are nanoseconds since the epoch."""

    kind: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    offset: int = 0
    digest: str = ""
    link: str = ""
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[str, str], ...] = ()
    """Values in base64."""
    spool: int = 0
    """Which spool it is in, where files of several trees meet."""


IMPLIED = Entry("directory", 0o755)
"""A directory that has no entry of its own."""


class Tree:
    """The files of one tree."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._entries = dict(entries)
        self._children: dict[str, list[str]] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, path: str) -> bool:
        return path in self._entries or path in self._below()

    def get(self, path: str) -> Entry:
        """What is at a path. Raises KeyError."""
        entry = self._entries.get(path)
        if entry is not None:
            return entry
        if path == "" or path in self._below():
            return IMPLIED
        raise KeyError(path)

    def names(self, directory: str) -> list[str]:
        """What is in a directory, sorted."""
        return self._below().get(directory, [])

    def walk(self, directory: str) -> Iterator[tuple[str, Entry]]:
        """(path below it, entry) of everything in a directory, each directory before what is in it."""
        pending = [f"{name}" for name in reversed(self.names(directory))]
        prefix = f"{directory}/" if directory else ""
        while pending:
            path = pending.pop()
            entry = self.get(prefix + path)
            yield path, entry
            if entry.kind == "directory":
                pending += [f"{path}/{name}" for name in reversed(self.names(prefix + path))]

    def resolve(self, path: str) -> str | None:
        """The path without symbolic links, None where there is nothing. Raises InvalidInput for links in a circle."""
        way: list[str] = []
        todo = [part for part in reversed(path.split("/")) if part not in ("", ".")]
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                way = way[:-1]
                continue
            here = "/".join([*way, part])
            if here not in self:
                return None
            entry = self.get(here)
            if entry.kind != "symlink":
                way.append(part)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise InvalidInput(f"{path}: too many links")
            way = [] if entry.link.startswith("/") else way
            todo += [part for part in reversed(entry.link.split("/")) if part not in ("", ".")]
        return "/".join(way)

    def match(self, pattern: str) -> list[str]:
        """The paths that a pattern names: that of a plain path, whatever is there."""
        if not is_pattern(pattern):
            return [posixpath.normpath(f"/{pattern}").strip("/")]
        return [path for path in self._candidates(pattern) if matches(pattern, path)]

    def _candidates(self, pattern: str) -> Iterator[str]:
        fixed = [*_fixed(pattern)]
        start = self.resolve("/".join(fixed))
        if start is None:
            return
        depth = None if "**" in pattern else pattern.count("/") + 1 - len(fixed)
        head = "/".join(fixed)
        for path, _ in self.walk(start):
            if depth is None or path.count("/") < depth:
                yield f"{head}/{path}" if head else path

    def _below(self) -> dict[str, list[str]]:
        """By directory, the names in it. Made when first asked for."""
        if self._children is None:
            found: dict[str, set[str]] = {"": set()}
            for path, entry in self._entries.items():
                if entry.kind == "directory":
                    found.setdefault(path, set())
                while path:
                    above, _, name = path.rpartition("/")
                    names = found.setdefault(above, set())
                    if name in names:
                        break
                    names.add(name)
                    path = above
            self._children = {path: sorted(names) for path, names in found.items()}
        return self._children


def _fixed(pattern: str) -> Iterator[str]:
    """The components before the first that is a pattern."""
    for part in pattern.split("/")[:-1]:
        if is_pattern(part):
            return
        yield part


def without(tree: Tree, unwanted: Iterable[str]) -> Tree:
    """The tree without some paths."""
    gone = set(unwanted)
    return Tree({path: entry for path, entry in tree.walk("") if path not in gone})


def kept(tree: Tree, rules: Ignore, check: Check = always) -> Tree:
    """A context without what is to be ignored."""
    found = {}
    results = {"": 0}
    for path, entry in tree.walk(""):
        above, _, _ = path.rpartition("/")
        ignored, hits = rules.below(path, results[above], check)
        if entry.kind == "directory":
            results[path] = hits
        if not ignored:
            found[path] = entry
    return Tree(found)
