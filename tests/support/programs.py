"""Static programs of a few system calls, assembled by hand: what no shell can do, and no compiler is needed for."""

from __future__ import annotations

import dataclasses
import platform
import struct
from collections.abc import Sequence

_MACHINE = platform.machine()
_BASE, _HEADERS = 0x400000, 64 + 56
_ROOM = 256
"""Bytes behind the data that a program may write to."""
_NUMBERS = {
    "x86_64": {"rt_sigprocmask": 14, "rt_sigtimedwait": 128, "signalfd4": 289, "read": 0, "exit_group": 231},
    "aarch64": {"rt_sigprocmask": 135, "rt_sigtimedwait": 137, "signalfd4": 74, "read": 63, "exit_group": 94},
}
_BLOCK = 0
_SET_SIZE = 8


@dataclasses.dataclass(frozen=True, slots=True)
class Data:
    """An argument: the address of the program's data, and ``offset``."""

    offset: int = 0


class Result:
    """An argument: what the call before it returned."""


Argument = int | Data | Result
Call = tuple[str, *tuple[Argument, ...]]


def programs_problem() -> str:
    """Why none can be assembled here; '' when they can."""
    return "" if _MACHINE in _NUMBERS else f"no program is assembled for {_MACHINE}"


def sigwait(number: int) -> bytes:
    """Blocks a signal, waits for it in rt_sigtimedwait(2), and exits with its number."""
    return program(_set_of(number), [
        ("rt_sigprocmask", _BLOCK, Data(), 0, _SET_SIZE),
        ("rt_sigtimedwait", Data(), 0, 0, _SET_SIZE),
        ("exit_group", Result()),
    ])  # fmt: skip


def signalfd(number: int) -> bytes:
    """Blocks a signal, reads it from a signalfd(2), and exits with the size of what it read: 128."""
    return program(_set_of(number), [
        ("rt_sigprocmask", _BLOCK, Data(), 0, _SET_SIZE),
        ("signalfd4", -1, Data(), _SET_SIZE, 0),
        ("read", Result(), Data(_SET_SIZE), 128),
        ("exit_group", Result()),
    ])  # fmt: skip


def _set_of(number: int) -> bytes:
    return struct.pack("<Q", 1 << (number - 1))


def program(data: bytes, calls: Sequence[Call]) -> bytes:
    """An ELF executable of one segment: the calls, one after the other, and the data."""
    assemble = {"x86_64": _x86_64, "aarch64": _aarch64}[_MACHINE]
    size = sum(len(assemble(call, 0)) for call in calls)
    place = _BASE + _HEADERS + size + -size % 8
    code = b"".join(assemble(call, place) for call in calls).ljust(place - _BASE - _HEADERS, b"\0")
    total = _HEADERS + len(code) + len(data)
    machine = {"x86_64": 62, "aarch64": 183}[_MACHINE]
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 7, 0, _BASE, _BASE, total, total + _ROOM, 0x10000)
    return header + segment + code + data


def _value(argument: int | Data, place: int) -> int:
    return place + argument.offset if isinstance(argument, Data) else argument


def _x86_64(call: Call, place: int) -> bytes:
    """Results are in rax, arguments in rdi, rsi, rdx, r10."""
    name, *arguments = call
    code = b""
    for argument, load, move in zip(
        arguments,
        (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba"),  # movabs register, value
        (b"\x48\x89\xc7", b"\x48\x89\xc6", b"\x48\x89\xc2", b"\x49\x89\xc2"),  # mov register, rax
        strict=False,
    ):
        code += move if isinstance(argument, Result) else load + struct.pack("<q", _value(argument, place))
    return code + b"\xb8" + struct.pack("<I", _NUMBERS["x86_64"][name]) + b"\x0f\x05"  # mov eax, number; syscall


def _aarch64(call: Call, place: int) -> bytes:
    """Results are in x0, arguments in x0 to x3: a result may only be the first argument, where it is already."""
    name, *arguments = call
    code = b""
    for register, argument in enumerate(arguments):
        if not isinstance(argument, Result):
            code += _move(register, _value(argument, place))
    return code + _move(8, _NUMBERS["aarch64"][name]) + struct.pack("<I", 0xD4000001)  # svc #0


def _move(register: int, value: int) -> bytes:
    """movz, and movk for the other three quarters."""
    quarters = [value >> shift & 0xFFFF for shift in (0, 16, 32, 48)]
    first, *rest = (
        (0xD2800000 if index == 0 else 0xF2800000) | index << 21 | quarter << 5 | register
        for index, quarter in enumerate(quarters)
    )
    return b"".join(struct.pack("<I", word) for word in (first, *rest))
