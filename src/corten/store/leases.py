"""What is just being brought in and must not be collected as garbage, though nothing refers to it yet.

While anybody brings something in, every blob that is asked for or made is remembered. A collector deletes a blob only
under the lock that this takes: who was told that a blob is there keeps it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class Leases:
    """Names of blobs. May be used from any thread; nothing here waits for a disk."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._kept: set[str] = set()

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """What is touched within the block stays; with the last of such blocks all of it is given up."""
        with self._lock:
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._kept.clear()

    def touch(self, name: str) -> None:
        """Somebody relies on this from now on."""
        with self._lock:
            if self._holders:
                self._kept.add(name)

    @contextlib.contextmanager
    def unless_kept(self, name: str) -> Iterator[bool]:
        """Whether it may be deleted, within the block."""
        with self._lock:
            yield name not in self._kept
