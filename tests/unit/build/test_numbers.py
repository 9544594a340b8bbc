"""Numbers as Go reads them, and the nearest word."""

from __future__ import annotations

import pytest

from corten.build import numbers
from corten.build.suggestions import hinted, nearest

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("+0", 0),
        ("5s", 5 * SECOND),
        ("1.5s", 3 * SECOND // 2),
        (".5s", SECOND // 2),
        ("5.s", 5 * SECOND),
        ("1h2m3s", 3723 * SECOND),
        ("1ms2us3µs4μs5ns", 1_009_005),
        ("-1m", -60 * SECOND),
        ("0.0000000001s", 0),
        ("2562047h47m16.854775807s", 2**63 - 1),
    ],
)
def test_a_duration(text: str, expected: int) -> None:
    assert numbers.duration(text) == expected


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", 'time: invalid duration ""'),
        (".s", 'time: invalid duration ".s"'),
        ("-", 'time: invalid duration "-"'),
        ("1", 'time: missing unit in duration "1"'),
        ("1s2", 'time: missing unit in duration "1s2"'),
        ("1d", 'time: unknown unit "d" in duration "1d"'),
        ("2562047h47m16.854775808s", 'time: invalid duration "2562047h47m16.854775808s"'),
        ("9" * 5000 + "s", f'time: invalid duration "{"9" * 5000}s"'),
    ],
)
def test_a_duration_that_is_none(text: str, cause: str) -> None:
    with pytest.raises(ValueError) as caught:
        numbers.duration(text)
    assert str(caught.value) == cause


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("10", 10),
        ("1k", 1024),
        ("1KB", 1024),
        ("1KiB", 1024),
        ("1.5 m", 3 << 19),
        ("2b", 2),
        (".5g", 1 << 29),
    ],
)
def test_a_size(text: str, expected: int) -> None:
    assert numbers.size(text) == expected


@pytest.mark.parametrize("text", ["", "k", "-1", "1x", "1kx", "1ib", "1bb", "1  k"])
def test_a_size_that_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        numbers.size(text)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("FORM", "FROM"), ("RNU", "RUN"), ("ENTRYPONT", "ENTRYPOINT"), ("RUN", ""), ("SOMETHING", ""), ("R" * 10_000, "")],
)
def test_the_nearest_word(written: str, expected: str) -> None:
    known = ("FROM", "ENV", "RUN", "ENTRYPOINT")
    assert nearest(written, known) == expected
    assert hinted("no", written, known) == (f"no (did you mean {expected}?)" if expected else "no")
