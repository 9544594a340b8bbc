"""A root file system out of the machine's static busybox: deterministic, to the byte."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator

from corten.errors import CortenError

from .bootstrap import tool

_PT_INTERP = 3
_USERS = (
    "root:x:0:0:root:/root:/bin/sh\n"
    "daemon:x:1:1:daemon:/usr/sbin:/bin/false\n"
    "bin:x:2:2:bin:/bin:/bin/false\n"
    "sys:x:3:3:sys:/dev:/bin/false\n"
    "mail:x:8:8:mail:/var/spool/mail:/bin/false\n"
    "www-data:x:33:33:www-data:/var/www:/bin/false\n"
    "nobody:x:65534:65534:nobody:/home:/bin/false\n"
)
_GROUPS = (
    "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nwheel:x:10:root\n"
    "mail:x:8:\nwww-data:x:33:\nusers:x:100:\nnobody:x:65534:\nnogroup:x:65533:\n"
)
_DIRECTORIES = (
    ("bin", 0o755), ("dev", 0o755), ("etc", 0o755), ("home", 0o755), ("proc", 0o555), ("root", 0o700),
    ("sys", 0o555), ("tmp", 0o1777), ("usr", 0o755), ("usr/bin", 0o755), ("usr/sbin", 0o755), ("var", 0o755),
    ("var/spool", 0o755), ("var/spool/mail", 0o755), ("var/www", 0o755), ("run", 0o755),
)  # fmt: skip
_FILES = {"etc/passwd": _USERS, "etc/group": _GROUPS, "etc/shells": "/bin/sh\n"}
_LINKS = {"usr/bin/env": "../../bin/env"}
"""Scripts begin with ``#!/usr/bin/env``."""


def layer() -> Iterator[bytes]:
    """The layer, as a tar stream. Raises CortenError where there is no static busybox."""
    busybox = tool("busybox")
    hint = "install it: apt-get install busybox-static (Alpine: apk add busybox-static)"
    if not busybox:
        raise CortenError("bootstrap busybox: busybox is not installed", hint=hint)
    with open(busybox, "rb") as file:
        program = file.read()
    if _is_dynamic(program):
        raise CortenError(f"bootstrap busybox: {busybox} needs shared libraries", hint=hint)
    yield _archive(program, _applets(busybox))


def _is_dynamic(program: bytes) -> bool:
    """Whether an ELF program names an interpreter (elf(5): a program header of type PT_INTERP), or is no ELF."""
    if program[:4] != b"\x7fELF":
        return True
    wide, order = program[4] == 2, "little" if program[5] == 1 else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(program[at : at + size], order)  # type: ignore[arg-type]

    start = number(32, 8) if wide else number(28, 4)
    size, count = (number(54, 2), number(56, 2)) if wide else (number(42, 2), number(44, 2))
    return any(number(start + size * index, 4) == _PT_INTERP for index in range(count))


def _applets(busybox: str) -> list[str]:
    done = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=False)
    names = {name for name in done.stdout.split() if "/" not in name and name != "busybox"}
    if "sh" not in names:
        raise CortenError(f"bootstrap busybox: {busybox} has no sh")
    return sorted(names)


def _archive(program: bytes, applets: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, mode in _DIRECTORIES:
            archive.addfile(_entry(name, mode, tarfile.DIRTYPE))
        _add(archive, "bin/busybox", program, 0o755)
        for applet in applets:
            archive.addfile(_entry(f"bin/{applet}", 0o777, tarfile.SYMTYPE, "busybox"))
        for name, target in _LINKS.items():
            archive.addfile(_entry(name, 0o777, tarfile.SYMTYPE, target))
        for name, text in _FILES.items():
            _add(archive, name, text.encode(), 0o644)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    entry = _entry(name, mode, tarfile.REGTYPE)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _entry(name: str, mode: int, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A member with no time and no owner but root: nothing of this machine or moment is in the image."""
    entry = tarfile.TarInfo(name)
    entry.mode, entry.type, entry.linkname = mode, kind, target
    return entry
