"""The word on a container's end: on the disk before anyone is told."""

from __future__ import annotations

import json
import os

from corten.spec.monitor import ExitRecord

NAME = "exit.json"
_SECTOR = 512
"""Bytes that a disk writes whole, or not at all."""


def reserve(directory: str) -> None:
    """Make room for the record of a container that is to be, on the disk: to fill it, no file system's journal has to
    be written, which takes most of the time of fsync(2). Raises OSError."""
    file = os.open(f"{directory}/{NAME}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, b" " * _SECTOR)
        os.fsync(file)
    finally:
        os.close(file)


def write(directory: str, record: ExitRecord, *, durable: bool) -> None:
    """Write ``exit.json``, into what was reserved or by rename; synced when ``durable``. Raises OSError."""
    content = json.dumps(record.encode()).encode()
    if not _filled(f"{directory}/{NAME}", content, durable=durable):
        _replace(directory, content, durable=durable)


def _filled(path: str, content: bytes, *, durable: bool) -> bool:
    """Whether there was room for it."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        if os.fstat(file).st_size != _SECTOR or len(content) > _SECTOR:
            return False
        os.pwrite(file, content.ljust(_SECTOR), 0)
        if durable:
            os.fdatasync(file)
        return True
    finally:
        os.close(file)


def _replace(directory: str, content: bytes, *, durable: bool) -> None:
    """The one fsync(2) comes after the rename: journaling file systems write a file's last change of name out with the
    file itself. What a loss of power leaves in between was told to nobody."""
    at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        file = os.open(f".{NAME}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=at)
        try:
            os.write(file, content)
            os.rename(f".{NAME}", NAME, src_dir_fd=at, dst_dir_fd=at)
            if durable:
                os.fsync(file)
        finally:
            os.close(file)
    finally:
        os.close(at)
