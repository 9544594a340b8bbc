"""Indexes inside indexes: all is found, in an order that a registry takes, and nothing without an end."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from corten.errors import DataCorrupt
from corten.spec import nesting
from corten.spec.descriptor import OCI_INDEX, OCI_MANIFEST, Descriptor, Index
from corten.spec.digest import Digest
from corten.spec.platform import Platform

_AMD, _ARM = Platform("linux", "amd64"), Platform("linux", "arm64")


def entry(name: str, kind: str = OCI_MANIFEST, platform: Platform | None = None) -> Descriptor:
    digest = Digest("sha256:" + hashlib.sha256(name.encode()).hexdigest())
    return Descriptor(kind, digest, 1, platform, (("an", "annotation"),))


def index(*entries: Descriptor) -> Index:
    return Index(OCI_INDEX, entries)


class Shelf:
    """Indexes by the digests of their entries; what was looked into."""

    def __init__(self, **named: Sequence[Descriptor]) -> None:
        self._found = {entry(name).digest: index(*entries) for name, entries in named.items()}
        self.asked: list[Digest] = []

    def look(self, one: Descriptor) -> Index | None:
        self.asked.append(one.digest)
        return self._found.get(one.digest)


def digests(*names: str) -> list[Digest]:
    return [entry(name).digest for name in names]


def test_what_is_inside_comes_before_what_is_around_it() -> None:
    deepest = [entry("four")]
    shelf = Shelf(a=[entry("one"), entry("b", OCI_INDEX), entry("two")], b=[entry("c", OCI_INDEX)], c=deepest)
    found = list(nesting.unfold(index(entry("zero"), entry("a", OCI_INDEX), entry("last")), shelf.look))
    assert [one.digest for one in found] == digests("zero", "one", "four", "c", "b", "two", "a", "last")
    assert [one.digest for one in nesting.images(index(entry("a", OCI_INDEX)), shelf.look)] == digests(
        "one", "four", "two"
    )
    assert {one.annotations for one in found} == {()}


def test_a_platform_is_that_of_the_index_around_it_unless_it_is_told() -> None:
    shelf = Shelf(a=[entry("untold"), entry("b", OCI_INDEX), entry("told", platform=_ARM)], b=[entry("deep")])
    found = nesting.unfold(index(entry("a", OCI_INDEX, _AMD), entry("none")), shelf.look)
    assert [one.platform for one in found] == [_AMD, _AMD, _AMD, _ARM, _AMD, None]


def test_what_is_not_looked_into_is_an_entry_like_others() -> None:
    found = list(nesting.unfold(index(entry("unknown", OCI_INDEX), entry("one")), Shelf().look))
    assert [one.digest for one in found] == digests("unknown", "one")
    assert nesting.images(index(entry("unknown", OCI_INDEX)), Shelf().look) == []


def _tower(height: int) -> Shelf:
    return Shelf(**{f"i{at}": [entry(f"i{at + 1}", OCI_INDEX)] for at in range(height)}, **{f"i{height}": []})


def test_depth_is_bounded() -> None:
    assert len(list(nesting.unfold(index(entry("i0", OCI_INDEX)), _tower(nesting.MAX_DEPTH - 2).look))) == 3
    shelf = _tower(nesting.MAX_DEPTH - 1)
    with pytest.raises(DataCorrupt, match="more than 4 are one in the other"):
        list(nesting.unfold(index(entry("i0", OCI_INDEX)), shelf.look))
    assert len(shelf.asked) == nesting.MAX_DEPTH - 1  # it is not even asked for


def test_indexes_that_double_each_other_end() -> None:
    """Three of them, each with the next a thousand times, are a thousand million."""
    wide = {f"i{at}": [entry(f"i{at + 1}", OCI_INDEX)] * 1000 for at in range(2)}
    shelf = Shelf(**wide, i2=[])
    with pytest.raises(DataCorrupt, match="more than 64 indexes"):
        list(nesting.unfold(index(*[entry("i0", OCI_INDEX)] * 1000), shelf.look))
    assert len(shelf.asked) <= nesting.MAX_INDEXES


def test_the_number_of_manifests_is_bounded() -> None:
    shelf = Shelf(a=[entry("one")] * 3000)
    assert len(list(nesting.unfold(index(entry("a", OCI_INDEX)), shelf.look))) == 3001
    with pytest.raises(DataCorrupt, match="more than 4096 manifests"):
        list(nesting.unfold(index(*[entry("a", OCI_INDEX)] * 2), shelf.look))
