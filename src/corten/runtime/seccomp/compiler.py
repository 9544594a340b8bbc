"""From ``linux.seccomp`` of the OCI runtime specification to a filter program.

System call numbers of one outcome form intervals; a balanced tree of comparisons finds the interval. Some eight
instructions decide a call, and the kernel loads the program nine times faster than one comparison a call.
"""

from __future__ import annotations

import errno
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from corten.errors import InvalidInput
from corten.runtime.seccomp.tables import AARCH64, I386, X32, X86_64
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
_X32, _X32_NAME = 0x40000000, "SCMP_ARCH_X32"
"""The bit that marks a call of the x32 interface. Without the architecture's name in the profile there is none:
ENOSYS, as of a kernel that was built without it, which most are."""

_NOT_THERE = _ACTIONS["SCMP_ACT_ERRNO"] | errno.ENOSYS
_PERMISSIVE = (_ACTIONS["SCMP_ACT_ALLOW"], _ACTIONS["SCMP_ACT_LOG"])
_FLAGS = {"SECCOMP_FILTER_FLAG_TSYNC": 1, "SECCOMP_FILTER_FLAG_LOG": 2, "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4}

Conditions = tuple[tuple[int, str, int, int], ...]
"""(argument, operator, value, second value), all of which must hold."""
Comparison = Callable[[int, int, int], Program]
Outcome = tuple[tuple[Conditions, int], ...]
"""Rules of one system call, in order: (conditions, action); the last has none."""


def compile_profile(seccomp: Mapping[str, Any], machine: str = MACHINE) -> bytes:
    """The program. Raises InvalidInput for an action, operator or argument index that is not known."""
    global _last
    if _last[0] is not seccomp or _last[1] != machine:  # nearly always it is the default profile, again
        _last = seccomp, machine, _compile(json.dumps(seccomp, sort_keys=True), machine)
    return _last[2]


_last: tuple[Mapping[str, Any], str, bytes] = {}, "", b""


@functools.lru_cache(maxsize=32)
def _compile(text: str, machine: str) -> bytes:
    seccomp = json.loads(text)
    default = _action(seccomp, "defaultAction", "defaultErrnoRet")
    wanted = seccomp.get("architectures") or [_MACHINES[machine][0][0]]
    program: Program = [bpf.ret(_KILL_PROCESS)]
    for name, audit, table in reversed(_MACHINES[machine]):
        if name in wanted or table is _MACHINES[machine][0][2]:
            calls = [bpf.load(bpf.NUMBER), *_calls(seccomp, table, default, x32=_X32_NAME in wanted)]
            program = bpf.branch(bpf.EQUAL, audit, calls, program)
    program = [bpf.load(bpf.ARCHITECTURE), *program]
    if len(program) > _LARGEST:
        raise InvalidInput(f"compile seccomp profile: {len(program)} instructions, the kernel takes {_LARGEST}")
    return bpf.assemble(program)


def load_flags(seccomp: Mapping[str, Any]) -> int:
    """The flags of seccomp(2). Unless the profile has flags, speculation stays as the machine has it. Raises
    InvalidInput for what is not known, a listener included."""
    flags = 0
    for name in seccomp.get("flags", ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]):
        if name not in _FLAGS:
            raise InvalidInput(f"read seccomp profile: flag {name!r} is not known")
        flags |= _FLAGS[name]
    if seccomp.get("listenerPath"):
        raise InvalidInput("read seccomp profile: a listener is not supported")
    return flags


def _calls(seccomp: Mapping[str, Any], table: Mapping[str, int], default: int, *, x32: bool) -> Program:
    """What decides a number of one machine; x32 is the other half of x86-64, with numbers of its own."""
    tree = _tree(list(_intervals(_outcomes(seccomp, table, default), default)))
    if table is not X86_64:
        return tree
    marked = [bpf.mask(~_X32 & 0xFFFFFFFF), *_calls(seccomp, X32, default, x32=False)] if x32 else [bpf.ret(_NOT_THERE)]
    return bpf.branch(bpf.AT_LEAST, _X32, marked, tree)


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
        alternatives = [(conditions, action) for conditions in _alternatives(rule.get("args") or ())]
        for name in rule.get("names") or ():
            number = table.get(name)
            if number is not None and not _is_decided(found.get(number, ())):
                found[number] = (*found.get(number, ()), *alternatives)
    return {number: rules if _is_decided(rules) else (*rules, ((), default)) for number, rules in found.items()}


def _alternatives(args: Sequence[Mapping[str, Any]]) -> Iterator[Conditions]:
    """Conditions hold together, unless two are on one argument: then each is a rule of its own, as runc has it."""
    conditions = tuple(_conditions(args))
    if len({index for index, *_ in conditions}) == len(conditions):
        yield conditions
    else:
        yield from ((condition,) for condition in conditions)


def _is_decided(rules: Outcome) -> bool:
    return bool(rules) and not rules[-1][0]


def _conditions(args: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str, int, int]]:
    for arg in args:
        index, operator = int(arg["index"]), str(arg["op"])
        if not 0 <= index <= 5 or operator not in _COMPARISONS:
            raise InvalidInput(f"read seccomp profile: condition {operator} on argument {index} is not known")
        yield index, operator, int(arg["value"]), int(arg.get("valueTwo", 0))


def _intervals(outcomes: Mapping[int, Outcome], default: int) -> Iterator[tuple[int, Outcome]]:
    """(first number, outcome) of each run of numbers with one outcome, from 0 on.

    Calls younger than any that the profile knows are "not there" instead of refused: C libraries then do without.
    """
    otherwise: Outcome = (((), default),)
    previous: Outcome | None = None
    for number in range(max(outcomes, default=-1) + 1):
        outcome = outcomes.get(number, otherwise)
        if outcome != previous:
            yield number, outcome
            previous = outcome
    younger = otherwise if default in _PERMISSIVE else (((), _NOT_THERE),)
    if younger != previous:
        yield max(outcomes, default=-1) + 1, younger


def _tree(intervals: Sequence[tuple[int, Outcome]]) -> Program:
    if len(intervals) == 1:
        return [instruction for rule in intervals[0][1] for instruction in _rule(*rule)]
    middle = len(intervals) // 2
    return bpf.branch(bpf.AT_LEAST, intervals[middle][0], _tree(intervals[middle:]), _tree(intervals[:middle]))


def _rule(conditions: Conditions, action: int) -> Program:
    """The action where all conditions hold; what follows the rule where one fails."""
    blocks = [_COMPARISONS[operator](index, value, two) for index, operator, value, two in conditions]
    length = sum(map(len, blocks)) + 1
    program: Program = []
    for block in blocks:
        passed = len(program) + len(block)
        for code, yes, no, value in block:
            here = len(program) + 1
            ends = {_PASS: passed - here, _FAIL: length - here}
            program.append((code, ends.get(yes, yes), ends.get(no, no), value))
    return [*program, bpf.ret(action)]


# Comparisons are of 64 bits, in two halves of 32, the high one first.
_PASS, _FAIL = -1, -2
"""Ends of a jump: behind the comparison, behind its whole rule."""


def _halves(index: int) -> tuple[bpf.Instruction, bpf.Instruction]:
    low = bpf.ARGUMENTS + 8 * index  # every machine of ours is little-endian
    return bpf.load(low), bpf.load(low + 4)


def _split(value: int) -> tuple[int, int]:
    return value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF


def _equal(index: int, value: int, _: int) -> Program:
    (low, high), (lower, upper) = _halves(index), _split(value)
    return [high, bpf.jump(bpf.EQUAL, upper, 0, _FAIL), low, bpf.jump(bpf.EQUAL, lower, 0, _FAIL)]


def _unequal(index: int, value: int, _: int) -> Program:
    (low, high), (lower, upper) = _halves(index), _split(value)
    return [high, bpf.jump(bpf.EQUAL, upper, 0, _PASS), low, bpf.jump(bpf.EQUAL, lower, _FAIL, 0)]


def _masked_equal(index: int, value: int, value_two: int) -> Program:
    """(argument & value) == value_two."""
    (low, high), (lower, upper), (lower_two, upper_two) = _halves(index), _split(value), _split(value_two)
    return [
        high, bpf.mask(upper), bpf.jump(bpf.EQUAL, upper_two, 0, _FAIL),
        low, bpf.mask(lower), bpf.jump(bpf.EQUAL, lower_two, 0, _FAIL),
    ]  # fmt: skip


def _above(test: int) -> Comparison:
    def block(index: int, value: int, _: int) -> Program:
        (low, high), (lower, upper) = _halves(index), _split(value)
        return [
            high, bpf.jump(bpf.GREATER, upper, _PASS, 0), bpf.jump(bpf.EQUAL, upper, 0, _FAIL),
            low, bpf.jump(test, lower, 0, _FAIL),
        ]  # fmt: skip

    return block


def _below(test: int) -> Comparison:
    """What does not pass ``test``."""

    def block(index: int, value: int, _: int) -> Program:
        (low, high), (lower, upper) = _halves(index), _split(value)
        return [
            high, bpf.jump(bpf.GREATER, upper, _FAIL, 0), bpf.jump(bpf.EQUAL, upper, 0, _PASS),
            low, bpf.jump(test, lower, _FAIL, 0),
        ]  # fmt: skip

    return block


_COMPARISONS: Mapping[str, Comparison] = {
    "SCMP_CMP_EQ": _equal,
    "SCMP_CMP_NE": _unequal,
    "SCMP_CMP_GT": _above(bpf.GREATER),
    "SCMP_CMP_GE": _above(bpf.AT_LEAST),
    "SCMP_CMP_LT": _below(bpf.AT_LEAST),
    "SCMP_CMP_LE": _below(bpf.GREATER),
    "SCMP_CMP_MASKED_EQ": _masked_equal,
}
