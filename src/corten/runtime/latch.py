"""The program of an init that has nothing left to do but to become its command.

An interpreter that waits for a container costs it the time to wake up, to read what to execute, and to have its memory
taken down by the kernel when it does so. So an init that is poised becomes this before it waits: a static program of
some two hundred bytes, assembled here by hand, which the kernel replaces as fast as anything. It reads a packet from
its line and executes what that says:

- nothing, the end of file: it ends, nobody needs it;
- one byte: it says the same. So whoever asks knows that it is there, and may do what it has to;
- more: the image of its memory that :func:`image` makes. The first path that may be executed is. When none can be, it
  answers with a byte, and waits again: somebody else will find out why.

It has no instruction that looks at what it was given: the addresses in it were settled by who wrote it.
"""

from __future__ import annotations

import fcntl
import functools
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import NoReturn

from corten.sys.machine import MACHINE

LINE, _PROGRAM = 3, 4
"""The descriptors that it is started with: its line, and its own file."""
NAME = "corten-standby"
"""What ``ps`` and ``top`` show of it."""
LARGEST = 64 << 10
"""Bytes of an image."""
LONGEST_HOME = 4096
"""Bytes of a home directory's name that find room in an image beside the rest."""
ASK = b"?"
_CODE, _MEMORY = 0x400000, 0x500000
_HEADER, _ENTRY = 64, 56
_NAME, _START = _HEADER + 2 * _ENTRY, _HEADER + 2 * _ENTRY + 16
"""Where in the file its name is, and its first instruction."""
_POINTER = 8
_AT_FDCWD, _X_OK, _F_SETFD, _FD_CLOEXEC, _EACCES, _PR_SET_NAME = -100, 1, 2, 1, 13, 15


def image(paths: Sequence[str], args: Sequence[str], env: Mapping[str, str]) -> bytes | None:
    """What to execute: the first of ``paths`` that may be, with these arguments and environment. It is laid out as the
    program has it in its memory: the addresses of argv and envp, the list of paths, those of arguments and environment,
    each closed by a zero, and the strings. None for what does not fit, or no program can be given."""
    groups = [list(paths), list(args), [f"{name}={value}" for name, value in env.items()]]
    strings = [os.fsencode(text) for group in groups for text in group]
    if any(b"\0" in text for text in strings):
        return None
    at = _MEMORY + _POINTER * (2 + len(strings) + len(groups))
    pointers: list[int] = []
    starts = []
    for group in groups:
        starts.append(_MEMORY + _POINTER * (2 + len(pointers)))
        for _ in group:
            pointers.append(at)
            at += len(strings[len(pointers) - len(starts)]) + 1
        pointers.append(0)
    table = struct.pack(f"={2 + len(pointers)}Q", *starts[1:], *pointers)
    content = table + b"\0".join((*strings, b""))
    return content if len(content) <= LARGEST else None


def become(channel: socket.socket) -> NoReturn:
    """Be this program, with ``channel`` as the line; the standard streams stay, and nothing else. Raises OSError."""
    program = os.memfd_create("corten-latch", os.MFD_CLOEXEC)
    os.write(program, assembled(MACHINE))
    away = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, _PROGRAM + 1) for one in (channel.fileno(), program)]
    for number, descriptor in zip((LINE, _PROGRAM), away, strict=True):
        os.dup2(descriptor, number)
    os.closerange(_PROGRAM + 1, 1 << 16)
    os.execve(_PROGRAM, [NAME], {})


@functools.lru_cache(maxsize=2)
def assembled(machine: str) -> bytes:
    """The program: a static ELF executable (elf(5)) of one segment of code, and one of memory that is empty. Raises
    KeyError for a machine that it is not written for."""
    number, assemble = {"x86_64": (62, _x86_64), "aarch64": (183, _aarch64)}[machine]
    code = assemble()
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, number, 1, _CODE + _START, _HEADER, 0, 0, _HEADER, _ENTRY, 2, 0, 0, 0
    )
    size = _START + len(code)
    segments = struct.pack("<IIQQQQQQ", 1, 5, 0, _CODE, _CODE, size, size, 0x10000)
    segments += struct.pack("<IIQQQQQQ", 1, 6, 0, _MEMORY, _MEMORY, 0, LARGEST, 0x10000)
    return header + segments + NAME.encode().ljust(_START - _NAME, b"\0") + code


class _Code:
    """Instructions, and jumps to names that may be given later."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._names: dict[str, int] = {}
        self._jumps: list[tuple[int, str, int]] = []

    def add(self, *parts: bytes) -> None:
        """Instructions as they are."""
        for part in parts:
            self._bytes += part

    def name(self, name: str) -> None:
        """What follows is where jumps to ``name`` go."""
        self._names[name] = len(self._bytes)

    def jump(self, instruction: int, name: str) -> None:
        """A jump, whose distance is put in at the end."""
        self._jumps.append((len(self._bytes), name, instruction))
        self._bytes += bytes(4)

    def jumps(self) -> list[tuple[int, int, int]]:
        """(place, distance from there, instruction)."""
        return [(at, self._names[name] - at, instruction) for at, name, instruction in self._jumps]

    def put(self, at: int, word: int) -> None:
        """Four bytes in the place of a jump."""
        self._bytes[at : at + 4] = struct.pack("<I", word & 0xFFFFFFFF)

    def content(self) -> bytes:
        """The whole."""
        return bytes(self._bytes)


def _x86_64() -> bytes:
    """Intel's manual, volume 2; the numbers of the calls are those of asm/unistd_64.h."""
    code = _Code()

    def call(number: int, *arguments: int | bytes) -> None:
        """A system call; an argument as bytes is an instruction that loads it."""
        registers = (b"\xbf", b"\xbe", b"\xba")  # mov edi, esi, edx
        for register, argument in zip(registers, arguments, strict=False):
            code.add(argument if isinstance(argument, bytes) else register + struct.pack("<i", argument))
        code.add(b"\xb8", struct.pack("<I", number), b"\x0f\x05")  # mov eax, number; syscall

    def jump(kind: bytes, name: str) -> None:
        code.add(kind)
        code.jump(0, name)

    call(91, _PROGRAM, 0)  # fchmod: nothing in the container can execute it again, as /proc/self/exe
    call(3, _PROGRAM)  # close
    call(157, _PR_SET_NAME, _CODE + _NAME)  # prctl
    call(72, LINE, _F_SETFD, _FD_CLOEXEC)  # fcntl: its end tells that the command runs
    code.name("again")
    call(0, LINE, _MEMORY, LARGEST)  # read
    code.add(b"\x48\x83\xf8\x01")  # cmp rax, 1
    jump(b"\x0f\x8c", "gone")  # jl
    jump(b"\x0f\x84", "answer")  # je
    code.add(b"\xbb", struct.pack("<I", _MEMORY + 2 * _POINTER))  # mov ebx, the list of paths
    code.name("next")
    code.add(b"\x4c\x8b\x23", b"\x48\x83\xc3\x08", b"\x4d\x85\xe4")  # mov r12, [rbx]; add rbx, 8; test r12, r12
    jump(b"\x0f\x84", "answer")  # je
    call(269, _AT_FDCWD, b"\x4c\x89\xe6", _X_OK)  # faccessat(…, r12, …)
    code.add(b"\x85\xc0")  # test eax, eax
    jump(b"\x0f\x85", "next")  # jne
    argv, envp = (struct.pack("<I", _MEMORY + offset) for offset in (0, _POINTER))
    call(59, b"\x4c\x89\xe7", b"\x48\x8b\x34\x25" + argv, b"\x48\x8b\x14\x25" + envp)  # execve(r12, [argv], [envp])
    code.add(b"\x83\xf8", struct.pack("<b", -_EACCES))  # cmp eax, -EACCES: a directory
    jump(b"\x0f\x84", "next")  # je
    code.name("answer")
    call(1, LINE, _MEMORY, 1)  # write
    jump(b"\xe9", "again")  # jmp
    code.name("gone")
    call(231, 0)  # exit_group
    for at, distance, _ in code.jumps():
        code.put(at, distance - 4)  # from the next instruction
    return code.content()


def _aarch64() -> bytes:
    """The Arm architecture reference manual, C6; the numbers of the calls are those of asm-generic/unistd.h."""
    code = _Code()

    def word(value: int) -> None:
        code.add(struct.pack("<I", value))

    def load(register: int, value: int) -> None:
        if value < 0:
            word(0x92800000 | ~value << 5 | register)  # movn
            return
        word(0xD2800000 | (value & 0xFFFF) << 5 | register)  # movz
        if value >> 16:
            word(0xF2A00000 | value >> 16 << 5 | register)  # movk, lsl 16

    def call(number: int, *arguments: int | None) -> None:
        """A system call; an argument that is None is in its register."""
        for register, argument in enumerate(arguments):
            if argument is not None:
                load(register, argument)
        load(8, number)
        word(0xD4000001)  # svc

    less, equal, zero, not_zero, always = 0x5400000B, 0x54000000, 0xB4000000, 0xB5000000, 0x14000000
    call(52, _PROGRAM, 0)  # fchmod
    call(57, _PROGRAM)  # close
    call(167, _PR_SET_NAME, _CODE + _NAME)  # prctl
    call(25, LINE, _F_SETFD, _FD_CLOEXEC)  # fcntl
    code.name("again")
    call(63, LINE, _MEMORY, LARGEST)  # read
    word(0xF100041F)  # cmp x0, 1
    code.jump(less, "gone")
    code.jump(equal, "answer")
    load(19, _MEMORY + 2 * _POINTER)
    code.name("next")
    word(0xF8408674)  # ldr x20, [x19], 8
    code.jump(zero | 20, "answer")
    word(0xAA1403E1)  # mov x1, x20
    call(48, _AT_FDCWD, None, _X_OK)  # faccessat
    code.jump(not_zero, "next")
    load(3, _MEMORY)
    word(0xAA1403E0)  # mov x0, x20
    word(0xF9400061)  # ldr x1, [x3]
    word(0xF9400462)  # ldr x2, [x3, 8]
    call(221)  # execve
    word(0xB1003400 | 0x1F)  # cmn x0, EACCES
    code.jump(equal, "next")
    code.name("answer")
    call(64, LINE, _MEMORY, 1)  # write
    code.jump(always, "again")
    code.name("gone")
    call(94, 0)  # exit_group
    for at, distance, instruction in code.jumps():
        steps = distance // 4
        code.put(at, instruction | (steps & 0x3FFFFFF if instruction == always else (steps & 0x7FFFF) << 5))
    return code.content()
