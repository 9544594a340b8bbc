"""Which form new layers get: what was asked for, or the best that works here. It is found out by trying."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from corten.errors import InvalidInput
from corten.store.forms import CopyForm, ErofsForm, Form, OverlayForm
from corten.store.marks import OverlayMarks
from corten.store.privilege import Privilege
from corten.sys import mounts

AUTO = "auto"
NAMES = (AUTO, "erofs", "overlay", "copy")
_CONTENT = b"corten" * 200
_UNASKED = "not asked for"
_OVERLAY_HINT = (
    "overlay takes a writable layer from a local file system with extended attributes, not from NFS or another "
    "overlay: place the data root elsewhere with --root, or use --snapshotter copy"
)
_HINT = "EROFS layers need root, Linux 6.12 and a data root that is not on an overlay: leave --snapshotter at auto"


@dataclasses.dataclass(frozen=True, slots=True)
class Probe:
    """What this kernel makes of a layer's file on the data root's file system: '' for ``why`` when it mounts it, and
    whether past the cache of that file system. ``no_overlay`` is why there is no overlay; '' where there is one."""

    why: str = ""
    direct: bool = False
    no_overlay: str = ""


def choose(wanted: str, staging: Path, privilege: Privilege) -> tuple[Form, Probe]:
    """The form for new layers, and what was found out. Raises InvalidInput when what is asked for does not work."""
    if wanted == "copy":
        return CopyForm(privilege.keep_owners), Probe(_UNASKED, no_overlay=_UNASKED)
    found = Probe(_UNASKED)
    if wanted != "overlay":
        found = Probe("it needs the machine's root") if privilege.user_xattrs else probe(staging)
    if wanted == "erofs" and found.why:
        raise InvalidInput(f"use snapshotter erofs: {found.why}", hint=_HINT)
    if problem := overlay_problem(staging, privilege):
        if wanted != AUTO:
            raise InvalidInput(f"use snapshotter {wanted}: {problem}", hint=_OVERLAY_HINT)
        why = found.why or "nothing could be written on top of it"
        return CopyForm(privilege.keep_owners), Probe(why, found.direct, problem)
    return (OverlayForm(privilege.keep_owners) if found.why else ErofsForm()), found


def overlay_problem(staging: Path, privilege: Privilege) -> str:
    """Why no overlay can be written to on the data root, and marked there; '' when one can."""
    with tempfile.TemporaryDirectory(dir=staging, prefix="probe-") as name:
        places = {option: f"{name}/{option}" for option in ("lowerdir", "upperdir", "workdir")}
        try:
            for place in places.values():
                os.mkdir(place, 0o755)
            os.mkdir(f"{places['lowerdir']}/directory")
            _try_marks(places["upperdir"], privilege)
            options = {**places, **({"userxattr": ""} if privilege.user_xattrs else {})}
            with contextlib.suppress(OSError):  # before Linux 5.10 there was no such option
                _write_over({**options, "volatile": ""})
                return ""
            _write_over(options)
        except OSError as error:
            return f"mount an overlay: {os.strerror(error.errno or 0).lower()}"
    return ""


def _try_marks(directory: str, privilege: Privilege) -> None:
    marks, opened = OverlayMarks(privilege.user_xattrs), os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        marks.make_opaque(opened)
        os.removexattr(opened, marks.opaque)
        marks.hide(opened, b"hidden")
    finally:
        os.close(opened)


def _write_over(options: Mapping[str, str]) -> None:
    """What a container may do first of all: replace a directory of its image. Without ``volatile``, letting go of it
    would wait for the whole disk."""
    tree = mounts.file_system("overlay", options)
    try:
        os.rmdir("directory", dir_fd=tree)
        os.mkdir("directory", dir_fd=tree)
    finally:
        os.close(tree)


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
