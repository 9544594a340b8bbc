"""The names of a layer as its archive's members make them, in memory: what a directory would hold had they been
unpacked into one, in the form that overlay mounts.

Nothing here touches a file system, so that no name can. A name means what it means in the root that the layer is: a
symbolic link on the way is followed inside it.
"""

from __future__ import annotations

from collections.abc import Iterator

from corten.errors import DataCorrupt
from corten.store.members import OPAQUE, Parts, hidden_by, is_whiteout, kept, parts_of, path_of, shown
from corten.wire.erofs import device
from corten.wire.tar import Member, Span

DIRECTORY, CHARACTER, LINK = 0o040000, 0o020000, 0o120000
_KIND = 0o170000
_TYPES = {"file": 0o100000, "symlink": LINK, "char": CHARACTER, "block": 0o060000, "directory": DIRECTORY,
          "fifo": 0o010000}  # fmt: skip
_MOST_LINKS = 40
"""Symbolic links that are followed for one name, as in the kernel (MAXSYMLINKS)."""
_LONGEST_LINK = 4095


class Node:
    """A file of whatever kind. It may have several names."""

    __slots__ = (
        "at", "children", "device", "gid", "is_implied", "links", "mode", "mtime_ns", "nid", "size", "sparse",
        "target", "uid", "xattrs",
    )  # fmt: skip

    def __init__(self, mode: int, uid: int = 0, gid: int = 0, mtime_ns: int = 0) -> None:
        self.mode, self.uid, self.gid, self.mtime_ns = mode, uid, gid, mtime_ns
        self.children: dict[bytes, Node] | None = {} if mode & _KIND == DIRECTORY else None
        self.xattrs: tuple[tuple[bytes, bytes], ...] = ()
        self.size = self.at = self.device = self.nid = 0
        self.links = 1
        self.sparse: tuple[Span, ...] | None = None
        self.target = b""
        self.is_implied = False
        """A directory that no member has spoken of."""

    @property
    def is_whiteout(self) -> bool:
        """Overlay's mark of a deletion: a character device 0:0."""
        return self.mode & _KIND == CHARACTER and self.device == 0

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return self.mode & _KIND == LINK


class Tree:
    """Takes members in the archive's order. With ``lowest`` there is no layer below that a whiteout could hide."""

    def __init__(self, *, lowest: bool) -> None:
        self._lowest = lowest
        self.root = _implied()
        self.size = 0
        """Bytes of the files, holes included."""
        self._last: tuple[Parts, Node] | None = None

    def add(self, member: Member) -> None:
        """Put a member where it belongs. Raises DataCorrupt for what leaves the root, or has no place in it."""
        parts = parts_of(member.name)
        if not parts:
            if member.kind != "directory":
                raise DataCorrupt(f"unpack {shown(member.name)}: the root is not a directory")
            _dress(self.root, member)
            return
        parent, name = self._directory(parts[:-1]), parts[-1]
        if is_whiteout(name):
            self._whiteout(parent, name)
        elif member.kind == "directory":
            self._add_directory(parent, name, member)
        else:
            self._clear(parent, name)
            _children(parent)[name] = self._linked(member) if member.kind == "hardlink" else self._made(member)

    def implied(self) -> Iterator[tuple[Parts, Node]]:
        """The directories that no member has spoken of, with their paths: they are to look as in the layers below."""
        pending: list[tuple[Parts, Node]] = [((), self.root)]
        while pending:
            parts, node = pending.pop()
            if node.is_implied:
                yield parts, node
            pending += (((*parts, name), child) for name, child in _children(node).items()
                        if child.children is not None)  # fmt: skip

    # --- members

    def _add_directory(self, parent: Node, name: bytes, member: Member) -> None:
        found = _children(parent).get(name)
        if found is None or found.children is None:
            self._clear(parent, name)
            made = Node(DIRECTORY)
            if found is not None and found.is_whiteout:
                _mark_opaque(made)
            _children(parent)[name] = found = made
        _dress(found, member)

    def _made(self, member: Member) -> Node:
        node = Node(_TYPES[member.kind] | member.mode, member.uid, member.gid, member.mtime_ns)
        node.xattrs = tuple(kept(member))
        if member.kind == "file":
            node.size, node.sparse, node.at = member.size, member.sparse, member.at
            self.size += member.size
        elif member.kind == "symlink":
            if not 0 < len(member.link) <= _LONGEST_LINK:
                raise DataCorrupt(f"unpack {shown(member.name)}: a symlink to a name of {len(member.link)} bytes")
            node.mode, node.target = LINK | 0o777, member.link
        elif member.kind != "fifo":
            node.device = _device(member)
        return node

    def _linked(self, member: Member) -> Node:
        parts = parts_of(member.link)
        if not parts:
            raise DataCorrupt(f"unpack {shown(member.name)}: a hard link to the root")
        directory = self._find(parts[:-1])
        found = None if directory is None or directory.children is None else directory.children.get(parts[-1])
        if found is None or found.children is not None:
            why = "which is not in the layer" if found is None else "which is a directory"
            raise DataCorrupt(f"unpack {shown(member.name)}: a hard link to {shown(member.link)}, {why}")
        found.links += 1
        return found

    def _clear(self, parent: Node, name: bytes) -> None:
        """Make room for a new entry, which wins over an earlier one."""
        found = _children(parent).pop(name, None)
        if found is None:
            return
        self._last = None  # the way there may have led through it
        if found.children is not None:
            _unlink_below(found)
        else:
            found.links -= 1

    def _whiteout(self, parent: Node, name: bytes) -> None:
        if name == OPAQUE:
            _mark_opaque(parent)
            return
        hidden = hidden_by(name)
        if hidden is None:
            return
        found = _children(parent).get(hidden)
        if found is not None and found.children is not None:
            _mark_opaque(found)
        elif found is None and not self._lowest:
            _children(parent)[hidden] = Node(CHARACTER)

    # --- places

    def _directory(self, parts: Parts) -> Node:
        """The directory of these names, made where the archive has none."""
        if self._last and self._last[0] == parts:
            return self._last[1]
        node = self.root
        for depth, part in enumerate(parts, 1):
            below = _children(node).get(part)
            if below is None or below.children is None:
                below = self._other(node, below, parts[:depth])
            node = below
        self._last = parts, node
        return node

    def _other(self, parent: Node, found: Node | None, parts: Parts) -> Node:
        """What stands for a directory where there is none: what a symbolic link leads to, or a new one."""
        if found is None or found.is_whiteout:
            made = _implied()
            if found is not None:
                _mark_opaque(made)
            _children(parent)[parts[-1]] = made
            return made
        there = self._find(parts) if found.is_link else found
        if there is None:
            raise DataCorrupt(f"unpack below {shown(path_of(parts))}: it is a symlink to nothing inside the root")
        if there.children is None:
            raise DataCorrupt(f"unpack below {shown(path_of(parts))}: it is not a directory")
        return there

    def _find(self, parts: Parts) -> Node | None:
        """What is at a path, all symbolic links followed; None for nothing. Raises DataCorrupt for a link that climbs
        above the root, which nobody honest writes."""
        way, todo, links = [self.root], list(reversed(parts)), 0
        while todo:
            part = todo.pop()
            if part in (b"", b"."):
                continue
            if part == b"..":
                if len(way) == 1:
                    raise DataCorrupt(f"unpack below {shown(path_of(parts))}: a symlink leaves the root")
                way.pop()
                continue
            found = (way[-1].children or {}).get(part)
            if found is None:
                return None
            if not found.is_link:
                way.append(found)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise DataCorrupt(f"unpack below {shown(path_of(parts))}: too many levels of symbolic links")
            way = way[:1] if found.target.startswith(b"/") else way
            todo += reversed(found.target.split(b"/"))
        return way[-1]


def _implied() -> Node:
    node = Node(DIRECTORY | 0o755)
    node.is_implied = True
    return node


def _children(node: Node) -> dict[bytes, Node]:
    assert node.children is not None
    return node.children


def _dress(node: Node, member: Member) -> None:
    node.mode, node.uid, node.gid = DIRECTORY | member.mode, member.uid, member.gid
    node.mtime_ns, node.is_implied = member.mtime_ns, False
    node.xattrs = tuple({**dict(node.xattrs), **dict(kept(member))}.items())


_OPAQUE_MARK = b"trusted.overlay.opaque"


def _mark_opaque(node: Node) -> None:
    if all(name != _OPAQUE_MARK for name, _ in node.xattrs):
        node.xattrs += ((_OPAQUE_MARK, b"y"),)


def _device(member: Member) -> int:
    """Raises DataCorrupt for a number that Linux has not (20 bits for the minor, 12 for the major)."""
    if not (0 <= member.major < 1 << 12 and 0 <= member.minor < 1 << 20):
        raise DataCorrupt(f"unpack {shown(member.name)}: a device {member.major}:{member.minor}")
    return device(member.major, member.minor)


def _unlink_below(directory: Node) -> None:
    pending = [directory]
    while pending:
        for child in _children(pending.pop()).values():
            if child.children is None:
                child.links -= 1
            else:
                pending.append(child)
