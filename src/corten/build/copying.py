"""What COPY and ADD take, and where it goes: from files that are only known by their index to the entries of a layer.

The rules are those of BuildKit's copy: of a directory its content is copied; the last symbolic link of a source is
followed; a directory that is there keeps its owner and mode; a file and a directory do not take each other's place.
"""

from __future__ import annotations

import dataclasses
import hashlib
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from corten.build import ignore, modes
from corten.build.files import IMPLIED, Entry, Tree
from corten.build.globs import is_pattern
from corten.build.patience import Check, always
from corten.errors import InvalidInput, NotFound

Rows = list[tuple[str, Entry]]


@dataclasses.dataclass(frozen=True, slots=True)
class Chosen:
    """Files for a destination: (path below it, entry). ``renamed`` for a single file that may be given another name."""

    rows: tuple[tuple[str, Entry], ...]
    renamed: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Marks:
    """What is changed on the way: the owner (None: as it is), the mode (of ``--chmod``), the newest time."""

    owner: tuple[int, int] | None = None
    mode: str = ""
    epoch: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What is at a destination: its path without symbolic links, its kind ('' for nothing), the directories above it
    that are there (path, entry), and what of the rows is there already, by path below it."""

    real: str
    kind: str
    above: tuple[tuple[str, Entry], ...] = ()
    there: Mapping[str, Entry] = dataclasses.field(default_factory=dict)


def choose(
    tree: Tree, sources: Sequence[str], *, exclude: Sequence[str] = (), parents: bool = False, required: bool = True,
    check: Check = always,
) -> Chosen:  # fmt: skip
    """The files that the sources name. Raises NotFound for one that names nothing, InvalidInput."""
    rows: dict[str, Entry] = {}
    files = 0
    for source in sources:
        check()
        found = _matched(tree, source)
        if not found and (required or not is_pattern(source)):
            name = source.strip("/")
            raise NotFound(
                f'"/{name}": not found',
                hint=f"stat {name}: file does not exist where it is copied from; .dockerignore leaves out of a context "
                "what it names",
            )
        for shown, real in found:
            entry = tree.get(real)
            if parents:
                _with_parents(tree, source, shown, real, rows)
                files += 2
            elif entry.kind == "directory":
                rows.update(tree.walk(real))
                files += 2
            else:
                rows[posixpath.basename(shown)] = entry
                files += 1
    unwanted = ignore.of_patterns(pattern.lstrip("/") for pattern in exclude)
    kept = {path: entry for path, entry in rows.items() if not unwanted.matches(path, check)} if exclude else rows
    ordered = tuple(sorted(kept.items(), key=lambda row: row[0].split("/")))
    return Chosen(ordered, renamed=files == 1 and len(sources) == 1 and len(ordered) == 1)


def _matched(tree: Tree, source: str) -> list[tuple[str, str]]:
    """(the path as it is named, the path without symbolic links) of what a source names."""
    pattern = source.strip("/") if not is_pattern(source) else source.lstrip("/").removeprefix("./")
    found = [(path, tree.resolve(path)) for path in tree.match(pattern)]
    return [(path, real) for path, real in found if real is not None]


def _with_parents(tree: Tree, source: str, shown: str, real: str, rows: dict[str, Entry]) -> None:
    """``--parents``: the whole path is kept, from ``/./`` on if the source has that."""
    _, pivot, _ = source.partition("/./")
    start = posixpath.normpath(source.partition("/./")[0]).strip("/") if pivot else ""
    kept = shown[len(start) :].strip("/") if start and shown.startswith(start) else shown
    parts = kept.split("/")
    for depth in range(1, len(parts)):
        above = "/".join(parts[:depth])
        whole = tree.resolve(f"{start}/{above}")
        rows.setdefault(above, tree.get(whole) if whole is not None else IMPLIED)
    entry = tree.get(real)
    rows[kept] = entry
    if entry.kind == "directory":
        rows.update((f"{kept}/{path}", one) for path, one in tree.walk(real))


def refuse_climbing(sources: Iterable[str]) -> None:
    """Raise InvalidInput for a source outside the context."""
    for source in sources:
        if posixpath.normpath(source.lstrip("/")).split("/")[0] == "..":
            raise InvalidInput(f"forbidden path outside the build context: {source}")


def fingerprint(chosen: Chosen) -> str:
    """A digest of what is copied: names, content and what of the metadata is copied; not the times."""
    hashed = hashlib.sha256(b"renamed" if chosen.renamed else b"")
    for path, entry in chosen.rows:
        hashed.update(path.encode("utf-8", "surrogateescape") + b"\0")
        hashed.update(msgspec.json.encode(_without_times(entry)))
    return hashed.hexdigest()


def prints(chosen: Chosen) -> dict[str, str]:
    """By path, what each file is known by, in short."""
    return {path: _print(entry) for path, entry in chosen.rows}


def _print(entry: Entry) -> str:
    return hashlib.sha256(msgspec.json.encode(_without_times(entry))).hexdigest()[:16]


def _without_times(entry: Entry) -> tuple[object, ...]:
    link = entry.link.encode("utf-8", "surrogateescape").hex()
    return (
        entry.kind, entry.mode, entry.uid, entry.gid, entry.size, entry.digest, link, entry.major, entry.minor,
        entry.xattrs,
    )  # fmt: skip


# --- where it goes


def absolute(destination: str, working_directory: str) -> str:
    """The destination from the root; a slash at its end stays."""
    whole = posixpath.normpath(posixpath.join("/", working_directory, destination))
    whole = "/" + whole.lstrip("/")
    return f"{whole.rstrip('/')}/" if destination.endswith(("/", "/.")) or destination == "." else whole


def place(chosen: Chosen, destination: str, found: Found, marks: Marks) -> Rows:
    """The entries of the layer, by path from the root, directories first. Raises InvalidInput where a file and a
    directory are in each other's way."""
    base = found.real.strip("/")
    is_directory = found.kind == "directory" or destination.endswith("/") or not chosen.renamed
    if found.kind not in ("", "directory") and is_directory:
        raise InvalidInput(f"cannot copy to non-directory: {destination.rstrip('/') or '/'}")
    rows = dict(found.above)
    time = marks.epoch if marks.epoch is not None else max((entry.mtime for _, entry in chosen.rows), default=0)
    octal = modes.parse(marks.mode).octal if marks.mode else None  # of all that is made, as BuildKit has it
    made = Entry("directory", 0o755 if octal is None else octal & 0o777, *(marks.owner or (0, 0)), time)
    inner = base if is_directory else posixpath.dirname(base)
    for path in _ways(inner):
        rows.setdefault(path, made)
    for path, entry in chosen.rows:
        target = posixpath.join(base, path) if is_directory else base
        there = found.there.get(path) if is_directory else None
        if there is not None and (there.kind == "directory") != (entry.kind == "directory"):
            raise InvalidInput(_conflict(target, entry))
        if there is not None and there.kind == "directory":
            rows[target] = there
            continue
        rows[target] = _marked(entry, marks)
    return sorted(rows.items(), key=lambda row: row[0].split("/"))


def _conflict(target: str, entry: Entry) -> str:
    if entry.kind == "directory":
        return f"cannot copy to non-directory: /{target}"
    return f"cannot replace to directory /{target} with file"


def _ways(path: str) -> Iterator[str]:
    parts = path.split("/") if path else []
    for depth in range(1, len(parts) + 1):
        yield "/".join(parts[:depth])


def _marked(entry: Entry, marks: Marks) -> Entry:
    changes: dict[str, int] = {}
    if marks.owner is not None:
        changes["uid"], changes["gid"] = marks.owner
    if marks.mode and entry.kind != "symlink":
        changes["mode"] = modes.parse(marks.mode).apply(entry.mode, is_directory=entry.kind == "directory")
    if marks.epoch is not None and entry.mtime > marks.epoch:
        changes["mtime"] = marks.epoch
    return msgspec.structs.replace(entry, **changes) if changes else entry
