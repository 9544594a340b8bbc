"""Removing directory trees that a stranger made."""

from __future__ import annotations

import errno
import os

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(path: str | os.PathLike[str], *, dir_fd: int | None = None) -> None:
    """Remove a directory and all that is in it, however deep that is: a directory that is not empty is moved up to the
    top before it is emptied, so that two descriptors and no recursion will do (rename(2) takes any depth along).

    No symbolic link is followed. Raises OSError with the rest left: FileNotFoundError when there is nothing,
    NotADirectoryError when it is something else, and where something is mounted in it EBUSY.
    """
    top = os.open(path, _DIRECTORY, dir_fd=dir_fd)
    try:
        _empty(top)
    finally:
        os.close(top)
    os.rmdir(path, dir_fd=dir_fd)


def _empty(top: int) -> None:
    pending = _remove_files(top)
    prefix, moved = os.urandom(8).hex(), 0  # such names are nobody's
    while pending:
        name = pending.pop()
        directory = os.open(name, _DIRECTORY, dir_fd=top)
        try:
            for below in _remove_files(directory):
                if not _is_removed(below, directory):
                    moved += 1
                    pending.append(f"{prefix}-{moved}")
                    os.rename(below, pending[-1], src_dir_fd=directory, dst_dir_fd=top)
        finally:
            os.close(directory)
        os.rmdir(name, dir_fd=top)


def _remove_files(directory: int) -> list[str]:
    """All that is not a directory; the names of those that are."""
    directories = []
    with os.scandir(directory) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                os.unlink(entry.name, dir_fd=directory)
    return directories


def _is_removed(name: str, directory: int) -> bool:
    """Whether a directory was empty, and is gone."""
    try:
        os.rmdir(name, dir_fd=directory)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True
