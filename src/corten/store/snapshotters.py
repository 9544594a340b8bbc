"""Which form new layers get: what was asked for, or the best that works here. It is found out by trying."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from pathlib import Path

from corten.errors import InvalidInput
from corten.store.forms import ErofsForm, Form, OverlayForm
from corten.store.privilege import Privilege
from corten.sys import mounts

AUTO = "auto"
NAMES = (AUTO, "erofs", "overlay")
_CONTENT = b"corten" * 200
_HINT = "EROFS layers need root, Linux 6.12 and a data root that is not on an overlay: leave --snapshotter at auto"


@dataclasses.dataclass(frozen=True, slots=True)
class Probe:
    """What this kernel makes of a layer's file on the data root's file system: '' for ``why`` when it mounts it, and
    whether past the cache of that file system."""

    why: str = ""
    direct: bool = False


def choose(wanted: str, staging: Path, privilege: Privilege) -> tuple[Form, Probe]:
    """The form for new layers, and what was found out. Raises InvalidInput when what is asked for does not work."""
    overlay = OverlayForm(privilege.keep_owners)
    if wanted == "overlay":
        return overlay, Probe("not asked for")
    found = Probe("it needs the machine's root") if privilege.user_xattrs else probe(staging)
    if not found.why:
        return ErofsForm(), found
    if wanted == "erofs":
        raise InvalidInput(f"use snapshotter erofs: {found.why}", hint=_HINT)
    return overlay, found


def probe(staging: Path) -> Probe:
    """Mount a small layer and read it."""
    try:
        with tempfile.NamedTemporaryFile(dir=staging, prefix="probe-") as file:
            _write(file.fileno())
            for direct in (True, False):
                with contextlib.suppress(OSError):
                    if _reads(file.name, direct=direct):
                        return Probe(direct=direct)
            _reads(file.name, direct=False)
            return Probe("what it reads is not what was written")
    except OSError as error:
        return Probe(f"mount a layer's file: {os.strerror(error.errno or 0).lower()}")


def _write(descriptor: int) -> None:
    import io
    import tarfile

    from corten.store.erofs import Writer

    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        member = tarfile.TarInfo("file")
        member.size = len(_CONTENT)
        archive.addfile(member, io.BytesIO(_CONTENT))
    writer = Writer(descriptor, lowest=True, max_members=1)
    writer.take(content.getvalue())
    writer.finish()


def _reads(path: str, *, direct: bool) -> bool:
    """Its content begins within a page: some disks cannot be read so, past the cache."""
    options = {"source": path, "ro": "", **({"directio": ""} if direct else {})}
    tree = mounts.file_system("erofs", options, mounts.MOUNT_ATTR_RDONLY)
    try:
        descriptor = os.open("file", os.O_RDONLY | os.O_CLOEXEC, dir_fd=tree)
        try:
            return os.read(descriptor, 2 * len(_CONTENT)) == _CONTENT
        finally:
            os.close(descriptor)
    finally:
        os.close(tree)
