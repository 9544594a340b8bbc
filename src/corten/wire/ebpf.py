"""Extended BPF, assembled: the program by which cgroup v2 decides on device nodes.

Source: Linux, ``include/uapi/linux/bpf.h`` (``struct bpf_insn``, ``struct bpf_cgroup_dev_ctx``) and
``Documentation/bpf/standardization/instruction-set.rst``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

Instruction = tuple[int, int, int, int, int]
"""(operation, destination, source, offset of a jump, constant)"""
DeviceRule = tuple[bool, str, int, int, str]
"""(allow, ``a``|``b``|``c``, major, minor, access of ``r``, ``w``, ``m``); -1 is any number."""

_LOAD_WORD, _MOVE, _MOVE_REGISTER, _AND, _SHIFT_RIGHT = 0x61, 0xB4, 0xBC, 0x54, 0x74
_JUMP_NOT_EQUAL, _JUMP, _JUMP_ANY_SET, _EXIT = 0x56, 0x05, 0x46, 0x95
_RESULT, _CONTEXT, _TYPE, _WANTED, _MAJOR, _MINOR = 0, 1, 2, 3, 4, 5
_TYPES = {"b": 1, "c": 2}
_ACCESS = {"m": 1, "r": 2, "w": 4}


def device_filter(rules: Sequence[DeviceRule]) -> bytes:
    """The BPF_CGROUP_DEVICE program of rules of which the last that speaks of an access wins, as in version 1.

    From the last rule to the first: one that allows takes its bits from what is still wanted, one that denies a bit
    that is still wanted ends it. What no rule speaks of is denied.
    """
    program = [*_decode_context()]
    for rule in reversed(rules):
        program += _rule(rule)
    program += _answer(0)
    return b"".join(_encode(instruction) for instruction in program)


def _decode_context() -> Iterable[Instruction]:
    """struct bpf_cgroup_dev_ctx: the type in the low half of a word, the access in its high half; major; minor."""
    yield _LOAD_WORD, _TYPE, _CONTEXT, 0, 0
    yield _MOVE_REGISTER, _WANTED, _TYPE, 0, 0
    yield _AND, _TYPE, 0, 0, 0xFFFF
    yield _SHIFT_RIGHT, _WANTED, 0, 0, 16
    yield _LOAD_WORD, _MAJOR, _CONTEXT, 4, 0
    yield _LOAD_WORD, _MINOR, _CONTEXT, 8, 0


def _rule(rule: DeviceRule) -> list[Instruction]:
    allow, kind, major, minor, letters = rule
    access = sum(_ACCESS[letter] for letter in set(letters))
    if kind == "a":  # as in version 1: of every device, whatever else the rule says
        return _allowed(7) if allow else _denied(7)
    body = _allowed(access) if allow else _denied(access)
    for register, value in ((_MINOR, minor), (_MAJOR, major), (_TYPE, _TYPES[kind])):
        if value >= 0:
            body = [(_JUMP_NOT_EQUAL, register, 0, len(body), value), *body]
    return body


def _allowed(access: int) -> list[Instruction]:
    return [(_AND, _WANTED, 0, 0, ~access & 7), (_JUMP_NOT_EQUAL, _WANTED, 0, 2, 0), *_answer(1)]


def _denied(access: int) -> list[Instruction]:
    return [(_JUMP_ANY_SET, _WANTED, 0, 1, access), (_JUMP, 0, 0, 2, 0), *_answer(0)]


def _answer(value: int) -> list[Instruction]:
    return [(_MOVE, _RESULT, 0, 0, value), (_EXIT, 0, 0, 0, 0)]


def _encode(instruction: Instruction) -> bytes:
    operation, destination, source, offset, constant = instruction
    return struct.pack("=BBhi", operation, source << 4 | destination, offset, constant)
