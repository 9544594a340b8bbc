"""Contexts of builds, laid out in a directory or written as an archive."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path


def directory(target: Path, dockerfile: str, files: Mapping[str, str | bytes] | None = None) -> Path:
    """A context: a Dockerfile and some files; text that begins with ``-> `` is where a symbolic link leads."""
    target.mkdir(parents=True, exist_ok=True)
    for name, content in {"Dockerfile": dockerfile, **(files or {})}.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
    return target


def archive(files: Mapping[str, str | bytes], *, mode: str = "w") -> bytes:
    """An archive of such files, with times of zero."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as made:  # type: ignore[call-overload]
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            if isinstance(content, str) and content.startswith("-> "):
                entry.type, entry.linkname = tarfile.SYMTYPE, content.removeprefix("-> ")
                made.addfile(entry)
                continue
            data = content.encode() if isinstance(content, str) else content
            entry.size = len(data)
            made.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
