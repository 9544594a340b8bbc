"""What the tests of a suite came to."""

from __future__ import annotations

import xml.etree.ElementTree as xml
from collections.abc import Iterable, Mapping
from pathlib import Path

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
Outcomes = dict[str, str]


def of_junit(report: Path) -> Outcomes:
    """The tests of a JUnit report, as pytest writes it. Raises OSError, xml.ParseError."""
    cases = xml.parse(report).iter("testcase")
    return {f"{case.get('classname')}::{case.get('name')}": _of_case(case) for case in cases}


def _of_case(case: xml.Element) -> str:
    if case.find("skipped") is not None:
        return SKIPPED
    return FAILED if case.find("failure") is not None or case.find("error") is not None else PASSED


def leaves(outcomes: Mapping[str, str]) -> Outcomes:
    """Without the tests that only hold others: of Go's ``A`` and ``A/b``, the latter."""
    holders = {name[:end] for name in outcomes for end in _slashes(name)}
    return {name: outcome for name, outcome in outcomes.items() if name not in holders}


def _slashes(name: str) -> Iterable[int]:
    return (place for place, letter in enumerate(name) if letter == "/")


def count(outcomes: Mapping[str, str], outcome: str) -> int:
    """How many tests came to this."""
    return sum(found == outcome for found in outcomes.values())
