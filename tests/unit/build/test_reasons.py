"""Why a step is not in the cache."""

from __future__ import annotations

from corten.build.reasons import differences, parts_of


def test_members_are_named() -> None:
    before = parts_of("RUN", words=["a"], variable={"A": "1", "B": "2"})
    now = parts_of("RUN", words=["b"], variable={"A": "1", "B": "3", "C": "4"})
    assert differences(before, now) == ["the command changed", "variable B changed", "variable C is new"]
    assert differences(now, before) == ["the command changed", "variable B changed", "variable C is gone"]


def test_what_it_stands_on() -> None:
    first, second = (parts_of("RUN", chain=chain, base="sha256:a") for chain in "12")
    other = parts_of("RUN", chain="3", base="sha256:b")
    assert differences(first, second) == ["what it stands on changed: a step before it"]
    assert differences(first, other) == ["the base image changed: it is sha256:b, and was sha256:a"]
    same = parts_of("RUN", chain="1", base="sha256:b")
    assert differences(first, same) == ["its result is not in the cache any more"]
    nothing = parts_of("RUN", chain="", base="")
    assert differences(first, nothing) == ["the base image changed: it is none, and was sha256:a"]


def test_nothing_new_and_nothing_known() -> None:
    parts = parts_of("COPY", destination="/a")
    assert differences(parts, parts) == ["its result is not in the cache any more"]
    assert differences(None, parts) == ["it has not been built before"]


def test_what_is_long_is_cut() -> None:
    before = parts_of("COPY", file={str(number): "1" for number in range(20)})
    now = parts_of("COPY", file={str(number): "2" for number in range(20)})
    found = differences(before, now)
    assert (len(found), found[-1]) == (9, "and 12 more")
    many = parts_of("COPY", file={str(number): "1" for number in range(6000)})
    assert sorted(many) == ["file", "kind"]


def test_long_values_are_known_by_their_digest() -> None:
    assert len(parts_of("RUN", script="x" * 1000)["script"]) == 64
