"""Finding the command inside the container, and telling exactly why it cannot run."""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Mapping, Sequence
from typing import NoReturn

from corten.errors import CommandNotFound, CommandNotRunnable
from corten.sys import signals
from corten.sys.machine import MACHINE
from corten.sys.paths import RESOLVE_NO_MAGICLINKS, openat2

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HEAD = 4096
_AT_FDCWD = -100
_MOST_INTERPRETERS = 5
"""The kernel's bound (BINPRM_MAX_RECURSION)."""
_PT_INTERP, _ELF32, _ELF64 = 3, 52, 64
_ELF_MACHINES = {"x86_64": (62, 3), "aarch64": (183, 40)}
"""e_machine of what a kernel runs: its own, and its 32-bit relative's."""
_ELF_NAMES = {3: "i386", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 21: "ppc64le", 22: "s390x"}


def resolve(name: str, search: str) -> str:
    """The path of the command, looked for in the directories of ``search`` and checked so far that exec will succeed.

    Called inside the container's root. Raises CommandNotFound (127) and CommandNotRunnable (126).
    """
    if not name:
        raise CommandNotFound('exec: "": no command given', hint="the image has no default command: name one")
    if "/" in name:
        _check(name, name)
        return name
    unusable = ""
    for candidate in candidates(name, search):
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK, effective_ids=True):
                _check(name, candidate)
                return candidate
            unusable = unusable or candidate
    if unusable:
        raise _denied(name, unusable)
    raise CommandNotFound(f'exec: "{name}": executable file not found in $PATH', hint=f"searched {search}")


def candidates(name: str, search: str) -> tuple[str, ...]:
    """The paths at which a command is looked for: its own, or one in each directory of ``search``."""
    if "/" in name:
        return (name,)
    return tuple(f"{directory or '.'}/{name}" for directory in search.split(":"))


def _denied(name: str, path: str) -> CommandNotRunnable:
    return CommandNotRunnable(f'exec: "{name}": permission denied', hint=f"chmod +x {path}: it has no exec bit")


def _check(name: str, path: str) -> None:
    """Follow the chain of interpreters as the kernel does: a script's may be a script again."""
    head = _read_head(name, path)
    for _ in range(_MOST_INTERPRETERS):
        if not head.startswith(b"#!"):
            break
        path = _script_interpreter(name, head)
        head = _interpreter_head(name, path, f"the first line of {name} asks for it")
    if head.startswith(b"\x7fELF"):
        _check_machine(name, head)
        loader = _loader(head)
        if loader:
            _interpreter_head(name, loader, f"{name} was linked for it: is it built for another C library?")


def _read_head(name: str, path: str) -> bytes:
    """The first bytes of a program. A magic link (/proc/self/exe) would be the runtime itself: CVE-2019-5736."""
    try:
        mode, head = _look(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CommandNotRunnable(f'exec: "{name}": is a link into /proc, which is not executed') from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise CommandNotFound(f'exec: "{name}": stat {path}: no such file or directory') from error
        raise CommandNotRunnable(f'exec: "{name}": {os.strerror(error.errno or 0).lower()}') from error
    if stat.S_ISDIR(mode):
        raise CommandNotRunnable(f'exec: "{name}": is a directory')
    if not os.access(path, os.X_OK, effective_ids=True):
        raise _denied(name, path)
    return head


def _look(path: str) -> tuple[int, bytes]:
    """Mode and first bytes of a file, through no magic link; no bytes of what may be executed and not read: the
    kernel will tell the rest. Raises OSError, ELOOP for a magic link."""
    found = openat2(_AT_FDCWD, os.fsencode(path), os.O_PATH, resolve=RESOLVE_NO_MAGICLINKS)
    try:
        mode = os.fstat(found).st_mode
    finally:
        os.close(found)
    if not stat.S_ISREG(mode):
        return mode, b""
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
        file = openat2(_AT_FDCWD, os.fsencode(path), flags, resolve=RESOLVE_NO_MAGICLINKS)
    except PermissionError:
        return mode, b""
    try:
        return mode, os.read(file, _HEAD)
    finally:
        os.close(file)


def _script_interpreter(name: str, head: bytes) -> str:
    line = head[2:].split(b"\n", 1)[0]
    words = line.split()
    if not words:
        raise CommandNotRunnable(f'exec: "{name}": exec format error', hint="its first line names no interpreter")
    if line.endswith(b"\r") and len(words) == 1:
        raise CommandNotRunnable(
            f'exec: "{name}": its first line ends in a carriage return',
            hint=f"it was saved with Windows line ends: sed -i 's/\\r$//' {name}",
        )
    return os.fsdecode(words[0])


def _interpreter_head(name: str, path: str, reason: str) -> bytes:
    """The first bytes of an interpreter, which must be there and be no magic link."""
    try:
        return _look(path)[1]
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CommandNotRunnable(f'exec: "{name}": its interpreter {path} is a link into /proc') from error
        cause = os.strerror(error.errno or 0).lower()
        raise CommandNotFound(
            f'exec: "{name}": interpreter {path}: {cause}', hint=f"the image has no {path}; {reason}"
        ) from error


def _loader(head: bytes) -> str:
    """The dynamic loader of a program: its PT_INTERP segment (elf(5)); '' for a static one, or where ``head`` does
    not reach."""
    wide = head[4:5] == b"\x02"
    layout, place, entry = (_ELF64, 32, "<IIQQQQ") if wide else (_ELF32, 28, "<IIIII")
    if len(head) < layout or head[5:6] != b"\x01":
        return ""
    offset = int.from_bytes(head[place : place + (8 if wide else 4)], "little")
    size, count = struct.unpack_from("<HH", head, layout - 10)
    for at in range(offset, min(offset + size * count, len(head) - struct.calcsize(entry) + 1), size or _HEAD):
        fields = struct.unpack_from(entry, head, at)
        start, length = (fields[2], fields[5]) if wide else (fields[1], fields[4])
        if fields[0] == _PT_INTERP:
            return os.fsdecode(head[start : start + length].split(b"\0", 1)[0])
    return ""


def _check_machine(name: str, head: bytes) -> None:
    order = "little" if head[5:6] == b"\x01" else "big"
    machine = int.from_bytes(head[18:20], order)  # type: ignore[arg-type]
    if machine not in _ELF_MACHINES.get(MACHINE, (machine,)):
        built = _ELF_NAMES.get(machine, f"machine {machine}")
        raise CommandNotRunnable(
            f'exec: "{name}": exec format error', hint=f"it is built for {built}, this machine is {MACHINE}"
        )


def execute(path: str, args: Sequence[str], env: Mapping[str, str]) -> NoReturn:
    """Become the program. Raises CommandNotFound, CommandNotRunnable with the kernel's reason."""
    try:
        os.execve(path, list(args), dict(env))
    except OSError as error:
        raise _failure(args[0], error) from error


def spawn(path: str, args: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the program as a child, which leads a session and has every signal as the kernel has it; its pid, when it is
    executed. It is a vfork: nothing of this process's memory is copied. Raises as :func:`execute`."""
    try:
        return os.posix_spawn(path, list(args), dict(env), setsid=True, setsigmask=(), setsigdef=signals.ALL)
    except OSError as error:
        raise _failure(args[0], error) from error


def _failure(name: str, error: OSError) -> CommandNotFound | CommandNotRunnable:
    cause = f'exec: "{name}": {os.strerror(error.errno or 0).lower()}'
    if error.errno == errno.ENOENT:
        return CommandNotFound(cause)
    is_text = error.errno == errno.ENOEXEC
    hint = "it is no program, and has no first line that names an interpreter" if is_text else ""
    return CommandNotRunnable(cause, hint=hint)
