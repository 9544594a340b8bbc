"""Layers as a container would see them: unpacked by the store, stacked, and looked at entry by entry."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from corten.spec import digest as digests
from corten.store.layers import Layer, LayerStore

Tree = dict[str, dict[str, Any]]
_XATTRS = ("user.", "security.capability")


def unpacked(store: LayerStore, directory: Path, archives: Iterable[bytes]) -> list[Layer]:
    """Unpack archives on top of each other, the lowest first."""
    layers: list[Layer] = []
    for number, content in enumerate(archives):
        blob = directory / f"blob-{number}"
        blob.write_bytes(content)
        layers.append(store.unpack(blob, digests.of(content), layers[-1] if layers else None, lambda _: None))
        blob.unlink()
    return layers


def seen(root: Path, layers: Sequence[Layer]) -> Tree:
    """What a container would see of layers, mounted in a namespace of its own."""
    shorts = [LayerStore.short(layer.chain_id) for layer in layers]
    steps = ["set -e", f"cd {root}", "mkdir -p upper work merged", "chmod 755 upper"]
    for short, layer in zip(shorts, layers, strict=True):
        if layer.form == "erofs":
            steps.append(f"mount -t erofs -o ro layers/{short}/layer.erofs layers/{short}/fs")
    lowers = [f"layers/{short}/fs" for short in reversed(shorts)]
    if any(layer.form == "copy" for layer in layers):
        copy = f"from corten.spawner import copies; copies.make({lowers}, 'merged/root')"
        steps += ["rm -rf merged/root*", f'{sys.executable} -c "{copy}"', "cd merged/root"]
    else:
        steps.append(f"mount -t overlay overlay -o lowerdir={':'.join(lowers)},upperdir=upper,workdir=work merged")
        steps.append("cd merged")
    steps.append(f"exec {sys.executable} {__file__}")
    command = ["unshare", "--mount", "sh", "-c", "\n".join(steps)]
    # The root is the upper directory's; what the topmost layer has there is its own.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    tree: Tree = json.loads(done.stdout)
    return tree


def below(root: Path) -> Iterator[Path]:
    """Everything below a directory; ``rglob`` of Python 3.11.2 stumbles over a link that is longer than a name."""
    for top, directories, files in os.walk(root):
        yield from (Path(top, name) for name in (*directories, *files))


def tree_of(root: Path) -> Tree:
    """What is in a directory, by path."""
    found: Tree = {}
    inodes: dict[int, str] = {}
    for path in sorted(below(root), key=os.fsencode):
        name = os.fsencode(path.relative_to(root)).decode(errors="backslashreplace")
        found[name] = _entry(path, name, inodes)
    return found


def _entry(path: Path, name: str, inodes: dict[int, str]) -> dict[str, Any]:
    status = path.lstat()
    entry: dict[str, Any] = {
        "mode": oct(status.st_mode), "owner": f"{status.st_uid}:{status.st_gid}", "mtime": status.st_mtime_ns,
        "xattrs": {
            key: os.getxattr(path, key, follow_symlinks=False).hex()
            for key in os.listxattr(path, follow_symlinks=False) if key.startswith(_XATTRS)
        },
    }  # fmt: skip
    if stat.S_ISREG(status.st_mode):
        entry |= {"size": status.st_size, "content": hashlib.sha256(path.read_bytes()).hexdigest()}
    elif stat.S_ISLNK(status.st_mode):
        entry["target"] = os.fsencode(path.readlink()).decode(errors="backslashreplace")
    elif not stat.S_ISDIR(status.st_mode):
        entry["device"] = status.st_rdev
    if not stat.S_ISDIR(status.st_mode):
        entry |= {"links": status.st_nlink, "same as": inodes.setdefault(status.st_ino, name)}
    return entry


def archive(*members: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive of members as they are given, whatever they are called."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as opened:
        for one in members:
            member, content = one if isinstance(one, tuple) else (one, b"")
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    """One member, its fields as tarfile calls them."""
    made = tarfile.TarInfo(name)
    made.type = kind
    made.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for field, value in fields.items():
        setattr(made, field, value)
    return made


if __name__ == "__main__":
    json.dump(tree_of(Path()), sys.stdout)
