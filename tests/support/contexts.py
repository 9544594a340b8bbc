"""Contexts of builds, laid out in a directory or written as an archive."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.support.process import wait_until

SETTLED = 2 * 10**9
"""Nanoseconds after which a file is taken to have what it had, as long as it looks the same."""


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


def settled(*directories: Path) -> Path:
    """The first of some directories, once their files were changed long enough ago."""
    newest = max(path.stat().st_ctime_ns for directory in directories for path in directory.iterdir())
    wait_until(lambda: time.time_ns() > newest + SETTLED, "files that are settled")
    return directories[0]


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
