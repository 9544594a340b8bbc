"""Classic BPF, assembled: the instructions that a seccomp filter is made of (linux/filter.h, seccomp(2))."""

from __future__ import annotations

import struct

NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data; each argument has eight bytes."""

EQUAL, GREATER, AT_LEAST = 0x15, 0x25, 0x35
"""Tests of a jump; unsigned."""
_LD_ABS, _JA, _AND, _RET = 0x20, 0x05, 0x54, 0x06
_FAR = 255

Instruction = tuple[int, int, int, int]
Program = list[Instruction]


def load(offset: int) -> Instruction:
    """A = the 32-bit word at ``offset``."""
    return _LD_ABS, 0, 0, offset


def mask(value: int) -> Instruction:
    """A &= value."""
    return _AND, 0, 0, value


def ret(value: int) -> Instruction:
    """End with this action."""
    return _RET, 0, 0, value


def jump(test: int, value: int, yes: int, no: int) -> Instruction:
    """Go on ``yes`` instructions further where A passes ``test`` against ``value``, else ``no`` further."""
    return test, yes, no, value


def branch(test: int, value: int, yes: Program, no: Program) -> Program:
    """Both ways end in a return; ``no`` follows at once. A conditional jump reaches 255 instructions, no further."""
    if len(no) <= _FAR:
        return [jump(test, value, len(no), 0), *no, *yes]
    return [jump(test, value, 0, 1), (_JA, 0, 0, len(no)), *no, *yes]


def assemble(program: Program) -> bytes:
    """The array of struct sock_filter."""
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
