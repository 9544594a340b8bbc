"""Sealed memory files: content that nobody can change any more, not even who holds it open for writing."""

from __future__ import annotations

import fcntl
import os

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


def sealed(content: bytes) -> int:
    """A sealed file of its own for some bytes, as a close-on-exec descriptor. Raises OSError."""
    descriptor = os.memfd_create("corten", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def sealed_copy(path: str) -> int:
    """A sealed, executable copy of a file, as a close-on-exec descriptor: memfd_create(2). Raises OSError."""
    descriptor = os.memfd_create("corten", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(path, "rb", buffering=0) as source:
            left = os.fstat(source.fileno()).st_size
            while left:
                sent = os.sendfile(descriptor, source.fileno(), None, left)
                if not sent:
                    raise OSError(5, "the file became shorter while it was copied", path)
                left -= sent
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
