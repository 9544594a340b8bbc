from __future__ import annotations

import errno
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import InvalidInput
from corten.runtime.seccomp.compiler import compile_profile, load_flags
from corten.runtime.seccomp.profile import default_profile, resolve_profile
from corten.runtime.seccomp.tables import AARCH64, I386, X32, X86_64
from tests.support.bpf import run_filter, steps

X64, X86, ARM64 = 0xC000003E, 0x40000003, 0xC00000B7
ALLOW, KILL = 0x7FFF0000, 0x80000000
BOTH = {"architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]}
X32_BIT = 0x40000000


def refused(number: int = errno.EPERM) -> int:
    return 0x00050000 | number


DEFAULT = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL "
    "AUDIT_WRITE"
).split()
ARGUMENTS_DECIDE = {"clone", "personality", "socket"}
PROGRAM = compile_profile({**default_profile(DEFAULT), **BOTH}, "x86_64")


def profile(*rules: dict[str, Any], default: str = "SCMP_ACT_ERRNO", **others: Any) -> dict[str, Any]:
    return {"defaultAction": default, "syscalls": list(rules), **BOTH, **others}


def rule(*names: str, action: str = "SCMP_ACT_ALLOW", **others: Any) -> dict[str, Any]:
    return {"names": list(names), "action": action, **others}


@pytest.mark.parametrize(
    ("machine", "audit", "table", "bit"),
    [
        ("x86_64", X64, X86_64, 0),
        ("x86_64", X64, X32, X32_BIT),
        ("x86_64", X86, I386, 0),
        ("aarch64", ARM64, AARCH64, 0),
    ],
)
def test_every_number_gets_what_the_rules_say(machine: str, audit: int, table: dict[str, int], bit: int) -> None:
    rules = {**default_profile(DEFAULT), **BOTH}
    program = compile_profile(rules, machine)
    allowed = {name for rule in rules["syscalls"] if rule["action"].endswith("ALLOW") for name in rule["names"]}
    names = {number: name for name, number in table.items()}
    youngest = max(table[name] for rule in rules["syscalls"] for name in rule["names"] if name in table)
    for number in range(600):
        name = names.get(number)
        if name in ARGUMENTS_DECIDE:
            continue
        if name == "clone3":
            expected = refused(errno.ENOSYS)
        elif name in allowed:
            expected = ALLOW
        else:
            expected = refused(errno.ENOSYS if number > youngest else errno.EPERM)
        assert run_filter(program, bit | number, audit) == expected, (number, name)


@pytest.mark.parametrize("name", [
    "mount", "umount2", "unshare", "setns", "pivot_root", "init_module", "kexec_load", "keyctl", "add_key", "bpf",
    "io_uring_setup", "userfaultfd", "open_by_handle_at", "perf_event_open", "reboot", "settimeofday", "swapon",
    "fsopen", "move_mount", "lookup_dcookie", "pidfd_getfd", "kcmp", "syslog", "iopl", "acct", "quotactl",
])  # fmt: skip
def test_default_refuses(name: str) -> None:
    assert run_filter(PROGRAM, X86_64[name], X64) == refused()


@pytest.mark.parametrize("name", ["read", "execve", "ptrace", "chroot", "process_vm_readv", "statmount", "mknod"])
def test_default_allows(name: str) -> None:
    assert run_filter(PROGRAM, X86_64[name], X64) == ALLOW


@pytest.mark.parametrize(("capability", "name"), [
    ("SYS_ADMIN", "mount"), ("SYS_ADMIN", "unshare"), ("SYS_ADMIN", "clone3"), ("SYS_ADMIN", "bpf"), ("BPF", "bpf"),
    ("SYS_MODULE", "init_module"), ("SYS_TIME", "settimeofday"), ("SYS_BOOT", "reboot"), ("SYS_PTRACE", "kcmp"),
    ("DAC_READ_SEARCH", "open_by_handle_at"), ("SYS_NICE", "mbind"), ("SYSLOG", "syslog"),
    ("PERFMON", "perf_event_open"),
])  # fmt: skip
def test_a_capability_opens_what_it_is_for(capability: str, name: str) -> None:
    held = compile_profile({**default_profile([capability]), **BOTH}, "x86_64")
    assert run_filter(held, X86_64[name], X64) == ALLOW
    assert run_filter(PROGRAM, X86_64[name], X64) != ALLOW


def test_chroot_goes_with_its_capability() -> None:
    assert run_filter(compile_profile(default_profile([]), "x86_64"), X86_64["chroot"], X64) == refused()


@pytest.mark.parametrize(("flags", "expected"), [
    (0x11, ALLOW), (0x003D0F00, ALLOW), (0x10000000, refused()), (0x00020000 | 0x11, refused()),
    (0x02000000, refused()), (0x40000000, refused()),
])  # fmt: skip
def test_clone_makes_threads_and_no_namespaces(flags: int, expected: int) -> None:
    assert run_filter(PROGRAM, X86_64["clone"], X64, [flags]) == expected


def test_only_whoever_may_anyway_clones_namespaces() -> None:
    program = compile_profile(default_profile(["SYS_ADMIN"]), "x86_64")
    assert run_filter(program, X86_64["clone"], X64, [0x10000000]) == ALLOW


@pytest.mark.parametrize("domain", range(64))
def test_sockets_by_domain(domain: int) -> None:
    expected = refused() if domain in (12, 19, 20, 23, 25, 34, 37, 38, 40) or domain > 45 else ALLOW
    assert run_filter(PROGRAM, X86_64["socket"], X64, [domain]) == expected
    assert run_filter(PROGRAM, I386["socket"], X86, [domain]) == expected


def test_a_domain_is_compared_whole() -> None:
    assert run_filter(PROGRAM, X86_64["socket"], X64, [2 | 1 << 32]) == refused()


@pytest.mark.parametrize(("value", "expected"), [
    (0, ALLOW), (8, ALLOW), (0x20000, ALLOW), (0x20008, ALLOW), (0xFFFFFFFF, ALLOW), (0x40000, refused()),
])  # fmt: skip
def test_personality(value: int, expected: int) -> None:
    assert run_filter(PROGRAM, X86_64["personality"], X64, [value]) == expected


def test_x32_has_the_same_rules_by_its_own_numbers() -> None:
    assert run_filter(PROGRAM, X32_BIT | X86_64["getpid"], X64) == ALLOW
    assert run_filter(PROGRAM, X32_BIT | 520, X64) == ALLOW  # its execve
    assert run_filter(PROGRAM, X32_BIT | X86_64["execve"], X64) == refused()  # no call of x32
    assert run_filter(PROGRAM, X32_BIT | X86_64["mount"], X64) == refused()
    assert run_filter(PROGRAM, X32_BIT | 528, X64) == refused()  # its kexec_load
    assert run_filter(PROGRAM, 520, X64) == refused(errno.ENOSYS)  # without the bit, beyond every call of x86-64
    assert run_filter(PROGRAM, X32_BIT | X86_64["socket"], X64, [40]) == refused()
    assert run_filter(PROGRAM, X32_BIT | X86_64["clone"], X64, [0x10000000]) == refused()
    for number in (X32_BIT | 0x3FFFFFFF, 0x80000000, 0xFFFFFFFF):
        assert run_filter(PROGRAM, number, X64) == refused(errno.ENOSYS)


def test_x32_is_not_there_when_not_named_and_other_machines_are_killed() -> None:
    without = compile_profile({**default_profile(DEFAULT), "architectures": ["SCMP_ARCH_X86_64"]}, "x86_64")
    assert run_filter(without, X32_BIT, X64) == refused(errno.ENOSYS)
    assert run_filter(PROGRAM, 0, ARM64) == KILL


def test_the_default_has_what_runs_on_this_machine_beside_its_own() -> None:
    named = default_profile(DEFAULT)["architectures"]
    assert resolve_profile({"archMap": [{"architecture": named[0], "subArchitectures": ["SCMP_ARCH_X86"]}]}, [])[
        "architectures"
    ] == [named[0], "SCMP_ARCH_X86"]
    assert resolve_profile({}, [])["architectures"] == named


def test_an_architecture_that_is_not_named_is_killed() -> None:
    only = compile_profile(profile(rule("read"), architectures=["SCMP_ARCH_X86_64"]), "x86_64")
    assert run_filter(only, I386["read"], X86) == KILL
    assert run_filter(only, X86_64["read"], X64) == ALLOW


def test_a_call_is_decided_in_a_dozen_instructions() -> None:
    assert max(steps(PROGRAM, number, X64) for number in range(512) if number not in _by_arguments()) <= 14
    assert len(PROGRAM) // 8 < 900


def _by_arguments() -> set[int]:
    return {X86_64[name] for name in ARGUMENTS_DECIDE}


COMPARE = {
    "SCMP_CMP_EQ": lambda argument, value, two: argument == value,
    "SCMP_CMP_NE": lambda argument, value, two: argument != value,
    "SCMP_CMP_LT": lambda argument, value, two: argument < value,
    "SCMP_CMP_LE": lambda argument, value, two: argument <= value,
    "SCMP_CMP_GT": lambda argument, value, two: argument > value,
    "SCMP_CMP_GE": lambda argument, value, two: argument >= value,
    "SCMP_CMP_MASKED_EQ": lambda argument, value, two: argument & value == two,
}
_values = st.one_of(st.integers(0, 4), st.integers(0, 2**64 - 1), st.integers(0, 3).map(lambda n: n << 32 | 1))
_conditions = st.builds(
    lambda index, op, value, two: {"index": index, "op": op, "value": value, "valueTwo": two},
    st.integers(0, 5), st.sampled_from(sorted(COMPARE)), _values, _values,
)  # fmt: skip
_rules = st.lists(
    st.builds(
        lambda args, number: rule("ioctl", action="SCMP_ACT_ERRNO", errnoRet=number, args=args),
        st.lists(_conditions, max_size=4), st.integers(10, 20),
    ), max_size=6,
)  # fmt: skip


@given(_rules, st.lists(_values, min_size=6, max_size=6))
def test_conditions_decide_as_the_specification_says(rules: list[dict[str, Any]], arguments: list[int]) -> None:
    program = compile_profile(profile(*rules, default="SCMP_ACT_ALLOW"), "x86_64")
    assert run_filter(program, X86_64["ioctl"], X64, arguments) == _expected(rules, arguments)


def _expected(rules: list[dict[str, Any]], arguments: list[int]) -> int:
    for one in rules:
        results = [
            COMPARE[arg["op"]](arguments[arg["index"]], arg["value"], arg["valueTwo"]) for arg in one["args"]
        ]
        twice = len({arg["index"] for arg in one["args"]}) < len(one["args"])
        if any(results) if twice else all(results):
            return refused(one["errnoRet"])
    return ALLOW


def test_a_permissive_default_lets_younger_calls_pass() -> None:
    program = compile_profile(profile(rule("read", action="SCMP_ACT_KILL"), default="SCMP_ACT_ALLOW"), "x86_64")
    assert run_filter(program, 1000, X64) == ALLOW
    assert run_filter(program, 0, X64) == 0


def test_an_empty_profile_compiles() -> None:
    assert run_filter(compile_profile(profile(default="SCMP_ACT_ALLOW"), "x86_64"), 59, X64) == ALLOW
    assert run_filter(compile_profile(profile(default="SCMP_ACT_KILL"), "x86_64"), 59, X64) == refused(errno.ENOSYS)


@pytest.mark.parametrize("broken", [
    profile(default="SCMP_ACT_NOTIFY"),
    profile(rule("read", action="ALLOW")),
    profile(rule("read", args=[{"index": 6, "op": "SCMP_CMP_EQ", "value": 0}])),
    profile(rule("read", args=[{"index": 0, "op": "==", "value": 0}])),
    {},
])  # fmt: skip
def test_a_profile_that_is_not_understood_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        compile_profile(broken, "x86_64")


def test_flags() -> None:
    assert load_flags({}) == 4
    assert load_flags({"flags": ["SECCOMP_FILTER_FLAG_LOG"]}) == 2
    assert load_flags({"flags": []}) == 0
    with pytest.raises(InvalidInput):
        load_flags({"flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]})
    with pytest.raises(InvalidInput):
        load_flags({"listenerPath": "/run/listener"})


def test_includes_and_excludes_of_a_users_file() -> None:
    given_rules = profile(
        rule("read"),
        rule("mount", includes={"caps": ["CAP_SYS_ADMIN"]}),
        rule("umount2", excludes={"caps": ["CAP_SYS_ADMIN"]}),
        rule("ptrace", includes={"minKernel": "4.8"}),
        rule("reboot", includes={"minKernel": "99.0"}),
        rule("modify_ldt", includes={"arches": ["s390x"]}),
        rule("kcmp", excludes={"arches": ["s390x"]}),
    )

    def names(held: list[str]) -> list[str]:
        return [name for one in resolve_profile(given_rules, held)["syscalls"] for name in one["names"]]

    assert names(["SYS_ADMIN"]) == ["read", "mount", "ptrace", "kcmp"]
    assert names([]) == ["read", "umount2", "ptrace", "kcmp"]


def test_programs_jump_forward_and_end_in_a_return() -> None:
    instructions = list(struct.iter_unpack("=HBBI", PROGRAM))
    assert instructions[-1][0] == 0x06
    for at, (code, yes, no, value) in enumerate(instructions):
        reach = value if code == 0x05 else max(yes, no)
        assert at + 1 + reach < len(instructions) or code == 0x06
