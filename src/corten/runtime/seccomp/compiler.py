"""From ``linux.seccomp`` of the OCI runtime specification to a filter program.

System call numbers of one outcome form intervals; a balanced tree of comparisons finds the interval. Some eight
instructions decide a call, and the kernel loads the program nine times faster than one comparison a call.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from corten.errors import InvalidInput
from corten.runtime.seccomp.tables import AARCH64, I386, X86_64
from corten.sys.machine import MACHINE
from corten.wire import bpf
from corten.wire.bpf import Program

_KILL_PROCESS, _LARGEST = 0x80000000, 4096
_ACTIONS = {
    "SCMP_ACT_KILL_PROCESS": _KILL_PROCESS, "SCMP_ACT_KILL": 0, "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_TRAP": 0x00030000, "SCMP_ACT_ERRNO": 0x00050000, "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000, "SCMP_ACT_ALLOW": 0x7FFF0000,
}  # fmt: skip
_WITH_VALUE = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_MACHINES: Mapping[str, Sequence[tuple[str, int, Mapping[str, int]]]] = {
    "x86_64": (("SCMP_ARCH_X86_64", 0xC000003E, X86_64), ("SCMP_ARCH_X86", 0x40000003, I386)),
    "aarch64": (("SCMP_ARCH_AARCH64", 0xC00000B7, AARCH64),),
}
_X32 = 0x40000000
"""The x32 interface has its numbers from here on; no container gets it: ENOSYS, as of a kernel without it."""

Outcome = tuple[tuple[tuple[tuple[int, str, int, int], ...], int], ...]
"""Rules of one system call, in order: (conditions, action); the last has none."""


def compile_profile(seccomp: Mapping[str, Any], machine: str = MACHINE) -> bytes:
    """The program. Raises InvalidInput for an action, operator or argument index that is not known."""
    default = _action(seccomp, "defaultAction", "defaultErrnoRet")
    wanted = seccomp.get("architectures") or [_MACHINES[machine][0][0]]
    program: Program = [bpf.ret(_KILL_PROCESS)]
    for name, audit, table in reversed(_MACHINES[machine]):
        if name in wanted or table is _MACHINES[machine][0][2]:
            tree = _tree(list(_intervals(_outcomes(seccomp, table, default), default)))
            calls = [bpf.load(bpf.NUMBER), *_without_x32(tree, machine, table)]
            program = bpf.if_equal(audit, calls, program)
    program = [bpf.load(bpf.ARCHITECTURE), *program]
    if len(program) > _LARGEST:
        raise InvalidInput(f"compile seccomp profile: {len(program)} instructions, the kernel takes {_LARGEST}")
    return bpf.assemble(program)


def _without_x32(tree: Program, machine: str, table: Mapping[str, int]) -> Program:
    if machine != "x86_64" or table is not X86_64:
        return tree
    return bpf.if_at_least(_X32, [bpf.ret(_ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS)], tree)


def _action(rule: Mapping[str, Any], key: str, value_key: str) -> int:
    name = rule.get(key)
    if name not in _ACTIONS:
        raise InvalidInput(f"read seccomp profile: action {name!r} is not known")
    value = rule.get(value_key)
    if name in _WITH_VALUE:
        return int(_ACTIONS[name] | ((errno.EPERM if value is None else int(value)) & 0xFFFF))
    return _ACTIONS[name]


def _outcomes(seccomp: Mapping[str, Any], table: Mapping[str, int], default: int) -> dict[int, Outcome]:
    """Number to rules. A rule without conditions decides for good; several with conditions are tried in order."""
    found: dict[int, Outcome] = {}
    for rule in seccomp.get("syscalls") or ():
        action = _action(rule, "action", "errnoRet")
        conditions = tuple(_conditions(rule.get("args") or ()))
        for name in rule.get("names") or ():
            number = table.get(name)
            if number is not None and not _is_decided(found.get(number, ())):
                found[number] = (*found.get(number, ()), (conditions, action))
    return {number: rules if _is_decided(rules) else (*rules, ((), default)) for number, rules in found.items()}


def _is_decided(rules: Outcome) -> bool:
    return bool(rules) and not rules[-1][0]


def _conditions(args: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str, int, int]]:
    for arg in args:
        index, operator = int(arg["index"]), str(arg["op"])
        if not 0 <= index <= 5 or operator not in _COMPARISONS:
            raise InvalidInput(f"read seccomp profile: condition {operator} on argument {index} is not known")
        yield index, operator, int(arg["value"]), int(arg.get("valueTwo", 0))


def _intervals(outcomes: Mapping[int, Outcome], default: int) -> Iterator[tuple[int, Outcome]]:
    """(first number, outcome) of each run of numbers with one outcome, from 0 on."""
    otherwise: Outcome = (((), default),)
    previous: Outcome | None = None
    for number in range(max(outcomes, default=0) + 2):
        outcome = outcomes.get(number, otherwise)
        if outcome != previous:
            yield number, outcome
            previous = outcome


def _tree(intervals: Sequence[tuple[int, Outcome]]) -> Program:
    if len(intervals) == 1:
        return _decide(intervals[0][1])
    middle = len(intervals) // 2
    return bpf.if_at_least(intervals[middle][0], _tree(intervals[middle:]), _tree(intervals[:middle]))


def _decide(rules: Outcome) -> Program:
    conditions, action = rules[0]
    if not conditions:
        return [bpf.ret(action)]
    otherwise = _decide(rules[1:])
    program: Program = [bpf.ret(action)]
    for condition in reversed(conditions):
        program = _compare(condition, program, otherwise)
    return program


def _compare(condition: tuple[int, str, int, int], yes: Program, no: Program) -> Program:
    """A 64-bit comparison in two 32-bit halves, the high one first."""
    index, operator, value, value_two = condition
    return _COMPARISONS[operator](index, value & (1 << 64) - 1, value_two & (1 << 64) - 1, yes, no)


def _halves(index: int) -> tuple[bpf.Instruction, bpf.Instruction]:
    low = bpf.ARGUMENTS + 8 * index  # both machines are little-endian
    return bpf.load(low), bpf.load(low + 4)


def _equal(index: int, value: int, _: int, yes: Program, no: Program) -> Program:
    low, high = _halves(index)
    return [high, *bpf.if_equal(value >> 32, [low, *bpf.if_equal(value & 0xFFFFFFFF, yes, no)], no)]


def _masked_equal(index: int, value: int, value_two: int, yes: Program, no: Program) -> Program:
    """(argument & value) == value_two."""
    low, high = _halves(index)
    lower = [low, bpf.mask(value & 0xFFFFFFFF), *bpf.if_equal(value_two & 0xFFFFFFFF, yes, no)]
    return [high, bpf.mask(value >> 32), *bpf.if_equal(value_two >> 32, lower, no)]


def _greater(index: int, value: int, _: int, yes: Program, no: Program) -> Program:
    low, high = _halves(index)
    same = bpf.if_equal(value >> 32, [low, *bpf.if_greater(value & 0xFFFFFFFF, yes, no)], no)
    return [high, *bpf.if_greater(value >> 32, yes, same)]


def _at_least(index: int, value: int, _: int, yes: Program, no: Program) -> Program:
    low, high = _halves(index)
    same = bpf.if_equal(value >> 32, [low, *bpf.if_at_least(value & 0xFFFFFFFF, yes, no)], no)
    return [high, *bpf.if_greater(value >> 32, yes, same)]


_COMPARISONS = {
    "SCMP_CMP_EQ": _equal,
    "SCMP_CMP_NE": lambda index, value, two, yes, no: _equal(index, value, two, no, yes),
    "SCMP_CMP_GT": _greater,
    "SCMP_CMP_GE": _at_least,
    "SCMP_CMP_LT": lambda index, value, two, yes, no: _at_least(index, value, two, no, yes),
    "SCMP_CMP_LE": lambda index, value, two, yes, no: _greater(index, value, two, no, yes),
    "SCMP_CMP_MASKED_EQ": _masked_equal,
}
