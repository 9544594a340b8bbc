"""Compressing a rotated log, in a process of its own: the monitor goes on moving output."""

from __future__ import annotations

import os

from corten.sys import process

_BLOCK = 256 << 10
_HEADER = b"\x1f\x8b\x08\x00%b\x02\xff"
"""RFC 1952: no name, no flags; the time is the low half of the inode's number, by which who reads the log knows which
file this one was."""


class Compressor:
    """One log's. Only one file is compressed at a time."""

    def __init__(self) -> None:
        self._pid = 0

    def begin(self, path: str) -> None:
        """Make ``path.gz`` of a file, which is there until that is whole. A file that cannot be compressed stays."""
        self.wait()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                # The container's pipes, the engine's socket: none of them is this process's to hold open.
                os.closerange(3, 1 << 16)
                process.die_with_parent()
                os.nice(10)
                compress(path)
            finally:
                os._exit(0)

    def wait(self) -> None:
        """Until it is done: the names of the files are about to change."""
        if self._pid:
            try:
                os.waitpid(self._pid, 0)
            except ChildProcessError:
                pass
            self._pid = 0


def compress(path: str) -> None:
    """Put ``path.gz`` in the place of a file, by rename. Raises OSError with the file untouched."""
    import zlib

    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    target = os.open(f"{path}.gz.part", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        inode = os.fstat(source).st_ino & 0xFFFFFFFF
        deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        checksum = size = 0
        _write(target, _HEADER % inode.to_bytes(4, "little"))
        while block := os.read(source, _BLOCK):
            checksum, size = zlib.crc32(block, checksum), size + len(block)
            _write(target, deflate.compress(block))
        _write(target, deflate.flush())
        _write(target, checksum.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little"))
        if os.stat(path).st_ino & 0xFFFFFFFF != inode:  # another monitor has rotated meanwhile
            raise FileNotFoundError(2, "gone", path)
        os.rename(f"{path}.gz.part", f"{path}.gz")
        os.unlink(path)
    except OSError:
        os.unlink(f"{path}.gz.part")
        raise
    finally:
        os.close(source)
        os.close(target)


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
