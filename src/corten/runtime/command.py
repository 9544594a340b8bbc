"""Finding the command inside the container, and telling exactly why it cannot run."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Mapping, Sequence
from typing import NoReturn

from corten.errors import CommandNotFound, CommandNotRunnable
from corten.sys.machine import MACHINE
from corten.sys.paths import RESOLVE_NO_MAGICLINKS, openat2

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HEAD = 4096
_AT_FDCWD = -100
_ELF_MACHINES = {"x86_64": (62, 3), "aarch64": (183, 40)}
"""e_machine of what a kernel runs: its own, and its 32-bit relative's."""
_ELF_NAMES = {3: "i386", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64", 21: "ppc64le", 22: "s390x"}


def resolve(args: Sequence[str], env: Mapping[str, str]) -> str:
    """The path of the command, searched in the PATH of ``env``, checked so far that exec will succeed.

    Called inside the container's root. Raises CommandNotFound (127) and CommandNotRunnable (126).
    """
    if not args or not args[0]:
        raise CommandNotFound('exec: "": no command given', hint="the image has no default command: name one")
    name = args[0]
    if "/" in name:
        _check(name, name)
        return name
    searched = env.get("PATH", _DEFAULT_PATH)
    unusable = ""
    for directory in searched.split(":"):
        candidate = f"{directory or '.'}/{name}"
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK, effective_ids=True):
                _check(name, candidate)
                return candidate
            unusable = unusable or candidate
    if unusable:
        raise _denied(name, unusable)
    raise CommandNotFound(f'exec: "{name}": executable file not found in $PATH', hint=f"searched {searched}")


def _denied(name: str, path: str) -> CommandNotRunnable:
    return CommandNotRunnable(f'exec: "{name}": permission denied', hint=f"chmod +x {path}: it has no exec bit")


def _check(name: str, path: str) -> None:
    head = _read_head(name, path)
    if head.startswith(b"#!"):
        _check_interpreter(name, head)
    elif head.startswith(b"\x7fELF"):
        _check_machine(name, head)


def _read_head(name: str, path: str) -> bytes:
    """The first bytes of a program. A magic link (/proc/self/exe) would be the runtime itself: CVE-2019-5736."""
    try:
        found = openat2(_AT_FDCWD, os.fsencode(path), os.O_PATH, resolve=RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CommandNotRunnable(f'exec: "{name}": is a link into /proc, which is not executed') from error
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise CommandNotFound(f'exec: "{name}": stat {path}: no such file or directory') from error
        raise CommandNotRunnable(f'exec: "{name}": {os.strerror(error.errno or 0).lower()}') from error
    try:
        if stat.S_ISDIR(os.fstat(found).st_mode):
            raise CommandNotRunnable(f'exec: "{name}": is a directory')
        if not os.access(path, os.X_OK, effective_ids=True):
            raise _denied(name, path)
        return _head_of(found, path)
    finally:
        os.close(found)


def _head_of(found: int, path: str) -> bytes:
    """'' where the file may be executed and not read: the kernel will tell the rest."""
    if not stat.S_ISREG(os.fstat(found).st_mode):
        return b""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return b""
    try:
        return os.read(file, _HEAD)
    finally:
        os.close(file)


def _check_interpreter(name: str, head: bytes) -> None:
    line = head[2:].split(b"\n", 1)[0]
    words = line.split()
    if not words:
        raise CommandNotRunnable(f'exec: "{name}": exec format error', hint="its first line names no interpreter")
    interpreter = os.fsdecode(words[0])
    if line.endswith(b"\r") and len(words) == 1:
        raise CommandNotRunnable(
            f'exec: "{name}": its first line ends in a carriage return',
            hint=f"it was saved with Windows line ends: sed -i 's/\\r$//' {name}",
        )
    try:
        os.close(openat2(_AT_FDCWD, words[0], os.O_PATH, resolve=RESOLVE_NO_MAGICLINKS))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CommandNotRunnable(f'exec: "{name}": its interpreter is a link into /proc') from error
        raise CommandNotFound(
            f'exec: "{name}": interpreter {interpreter}: {os.strerror(error.errno or 0).lower()}',
            hint=f"the image has no {interpreter}, which the first line of {name} asks for",
        ) from error


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
    except FileNotFoundError as error:  # the file is there: its ELF interpreter is not
        raise CommandNotFound(
            f'exec: "{args[0]}": no such file or directory',
            hint="the program is there, its dynamic loader is not: is it built for another C library?",
        ) from error
    except OSError as error:
        raise CommandNotRunnable(f'exec: "{args[0]}": {os.strerror(error.errno or 0).lower()}') from error
