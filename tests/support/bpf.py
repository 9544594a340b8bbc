"""Interpreters of both kinds of BPF, as small as what our assemblers make needs."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_M32, _M64 = 0xFFFFFFFF, (1 << 64) - 1


def run_filter(program: bytes, number: int, architecture: int, arguments: Sequence[int] = ()) -> int:
    """The answer of a seccomp filter to one system call."""
    values = [*(one & _M64 for one in arguments), *[0] * 6][:6]
    data = struct.pack("=IIQ6Q", number & _M32, architecture, 0, *values)
    instructions = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        code, yes, no, value = instructions[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x05:
                at += value
            case 0x15:
                at += yes if accumulator == value else no
            case 0x25:
                at += yes if accumulator > value else no
            case 0x35:
                at += yes if accumulator >= value else no
            case 0x54:
                accumulator &= value
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"instruction {code:#x}")


def steps(program: bytes, number: int, architecture: int) -> int:
    """How many instructions decide a call without arguments."""
    instructions = list(struct.iter_unpack("=HBBI", program))
    at = taken = accumulator = 0
    data = struct.pack("=II", number, architecture) + bytes(56)
    while True:
        code, yes, no, value = instructions[at]
        at, taken = at + 1, taken + 1
        if code == 0x06:
            return taken
        if code == 0x20:
            (accumulator,) = struct.unpack_from("=I", data, value)
        elif code == 0x05:
            at += value
        else:
            passed = {0x15: accumulator == value, 0x25: accumulator > value, 0x35: accumulator >= value}[code]
            at += yes if passed else no


def run_device_filter(program: bytes, kind: int, access: int, major: int, minor: int) -> bool:
    """The answer of a BPF_CGROUP_DEVICE program to one use of a device."""
    context = struct.pack("=III", access << 16 | kind, major, minor)
    instructions = list(struct.iter_unpack("=BBhi", program))
    registers = [0] * 11
    at = 0
    while True:
        code, pair, offset, value = instructions[at]
        to, source = pair & 15, pair >> 4
        at += 1
        match code:
            case 0x61:
                (registers[to],) = struct.unpack_from("=I", context, offset)
            case 0xB4:
                registers[to] = value & _M32
            case 0xBC:
                registers[to] = registers[source] & _M32
            case 0x54:
                registers[to] &= value & _M32
            case 0x74:
                registers[to] = (registers[to] & _M32) >> value
            case 0x56:
                at += offset if registers[to] & _M32 != value & _M32 else 0
            case 0x46:
                at += offset if registers[to] & value & _M32 else 0
            case 0x05:
                at += offset
            case 0x95:
                return bool(registers[0])
            case _:
                raise AssertionError(f"instruction {code:#x}")
