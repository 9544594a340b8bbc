from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.wire.ebpf import DeviceRule, device_filter
from tests.support.bpf import run_device_filter

BLOCK, CHARACTER = 1, 2
MKNOD, READ, WRITE = 1, 2, 4
_LETTERS = {"m": MKNOD, "r": READ, "w": WRITE}
NOTHING: DeviceRule = (False, "a", -1, -1, "rwm")


def allowed(rules: list[DeviceRule], kind: int, access: int, major: int, minor: int) -> bool:
    return run_device_filter(device_filter(rules), kind, access, major, minor)


def test_no_rule_allows_nothing() -> None:
    assert not allowed([], CHARACTER, READ, 1, 3)


def test_everything() -> None:
    assert allowed([(True, "a", -1, -1, "rwm")], BLOCK, READ | WRITE | MKNOD, 8, 0)


@pytest.mark.parametrize(("kind", "access", "major", "minor", "expected"), [
    (CHARACTER, READ | WRITE, 1, 3, True),
    (CHARACTER, READ, 1, 4, False),
    (BLOCK, READ, 1, 3, False),
    (CHARACTER, MKNOD, 99, 99, True),
    (CHARACTER, MKNOD | READ, 99, 99, False),
    (CHARACTER, READ, 136, 7, True),
    (CHARACTER, READ, 5, 1, True),
    (CHARACTER, WRITE, 5, 1, False),
])  # fmt: skip
def test_rules_like_a_containers(kind: int, access: int, major: int, minor: int, expected: bool) -> None:
    rules: list[DeviceRule] = [
        NOTHING, (True, "c", -1, -1, "m"), (True, "c", 1, 3, "rwm"), (True, "c", 136, -1, "rwm"),
        (True, "c", 5, 1, "rw"),
        (False, "c", 5, 1, "w"),
    ]  # fmt: skip
    assert allowed(rules, kind, access, major, minor) is expected


_rules = st.lists(
    st.tuples(
        st.booleans(), st.sampled_from("abc"), st.integers(-1, 2), st.integers(-1, 2),
        st.sets(st.sampled_from("rwm"), min_size=1).map("".join),
    ), max_size=8,
)  # fmt: skip


@given(_rules, st.integers(1, 2), st.integers(1, 7), st.integers(0, 2), st.integers(0, 2))
def test_the_last_rule_of_each_access_wins(
    rules: list[DeviceRule], kind: int, access: int, major: int, minor: int
) -> None:
    verdicts = {bit: False for bit in (MKNOD, READ, WRITE) if access & bit}
    for allow, letter, its_major, its_minor, letters in rules:
        every = letter == "a"
        if every or ("abc".index(letter) == kind and its_major in (-1, major) and its_minor in (-1, minor)):
            bits = 7 if every else sum(_LETTERS[one] for one in letters)
            verdicts.update((bit, allow) for bit in verdicts if bit & bits)
    assert allowed(rules, kind, access, major, minor) is all(verdicts.values())
