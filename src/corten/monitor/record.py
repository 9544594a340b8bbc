"""The word on a container's end: on the disk before anyone is told."""

from __future__ import annotations

import json
import os

from corten.spec.monitor import ExitRecord

NAME = "exit.json"


def write(directory: str, record: ExitRecord, *, durable: bool) -> None:
    """Write ``exit.json`` by rename; synced when ``durable``. Raises OSError.

    The one fsync(2) comes after the rename: journaling file systems write a file's last change of name out with the
    file itself. What a loss of power leaves in between was told to nobody.
    """
    at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file = os.open(f".{NAME}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=at)
        try:
            os.write(file, json.dumps(record.encode()).encode())
            os.rename(f".{NAME}", NAME, src_dir_fd=at, dst_dir_fd=at)
            if durable:
                os.fsync(file)
        finally:
            os.close(file)
    finally:
        os.close(at)
