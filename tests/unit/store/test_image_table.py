"""The table of images: what is read again after a write is what who opens it anew reads."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from corten.errors import CortenError
from corten.spec import reference as references
from corten.spec.image import Image
from corten.store.images import ImageStore, manifest_of

Seen = dict[str, tuple[tuple[str, ...], str, str]]


def config(name: str, *above: str) -> bytes:
    """The configuration of an image without layers, after such steps."""
    history = [{"created": "2026-01-02T03:04:05Z", "created_by": line, "empty_layer": True} for line in (*above, name)]
    document = {"architecture": "amd64", "os": "linux", "config": {"Labels": {"name": name}}, "history": history,
                "rootfs": {"type": "layers", "diff_ids": []}}  # fmt: skip
    return json.dumps(document).encode()


def seen(store: ImageStore) -> Seen:
    return {one.id: (tuple(map(str, one.references)), one.parent, one.config.labels["name"]) for one in store.images()}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


def opened(place: Path) -> ImageStore:
    return ImageStore(place, sqlite3.connect(place / "db", isolation_level=None))


def steps(store: ImageStore) -> list[Image]:
    """Three images, each made of the one before."""
    first, second, third = config("a"), config("b", "a"), config("c", "a", "b")
    (one,) = store.add_steps([(first, [], "")])
    two, three = store.add_steps([(second, [], one.id), (third, [], "sha256:" + "1" * 64)])
    return [one, two, three]


def test_what_a_write_changed_is_read_again(place: Path) -> None:
    store = opened(place)
    one, two, three = steps(store)
    name, other = references.parse_tagged("x:1"), references.parse_tagged("x:2")
    store.tag(one.id, name)
    store.tag(two.id, other)
    assert seen(store) == seen(opened(place))
    assert store.tag(two.id, name).references == (name, other)  # taken from another
    assert store.get(one.id).references == ()
    store.untag(other)
    store.remove(three.id)
    assert seen(store) == seen(opened(place)) == {
        one.id: ((), "", "a"), two.id: ((str(name),), one.id, "b"),
    }  # fmt: skip


def test_a_step_is_found_by_what_it_was_made_of(place: Path) -> None:
    store = opened(place)
    one, two, _ = steps(store)
    assert [image.id for image in store.steps_of("")] == [one.id]
    assert [image.id for image in store.steps_of(one.id)] == [two.id]
    assert [image.id for image in opened(place).steps_of(one.id)] == [two.id]
    store.remove(two.id)
    assert store.steps_of(one.id) == []


def test_what_came_from_elsewhere_is_no_step(place: Path) -> None:
    store = opened(place)
    raw, base = config("b", "a"), config("a")
    below = store.add(manifest_of(base, ())[0], base, [])
    store.add(manifest_of(raw, ())[0], raw, [], parent=below.id)  # as an archive tells
    assert store.steps_of(below.id) == store.steps_of("") == []
    store.add_steps([(raw, [], below.id)])  # made here as well
    assert [image.id for image in store.steps_of(below.id)] == [image.id for image in store.children(below.id)]


def test_a_write_that_fails_changes_nothing(place: Path) -> None:
    store = opened(place)
    before = steps(store)
    with pytest.raises(CortenError):
        store.add_steps([(config("d"), [], ""), (config("e"), [], None)])  # type: ignore[list-item]
    assert [one.id for one in store.images()] == [one.id for one in opened(place).images()]
    assert len(store.images()) == len(before)


def test_the_manifest_of_a_step_is_written_when_it_is_asked_for(place: Path) -> None:
    store = opened(place)
    one, *_ = steps(store)
    assert not store.blobs.has(one.manifest.digest)
    content = json.loads(store.manifest(one))
    assert (content["config"]["digest"], content["layers"]) == (one.id, [])
    assert store.blobs.read(one.id, limit=1 << 20) == one.raw
