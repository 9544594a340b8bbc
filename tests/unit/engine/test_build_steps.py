"""The steps that an image's history tells of, as a cache of builds."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, cast

import pytest

from corten.build.classic import Found
from corten.build.state import Layer, State
from corten.engine.build_steps import _Source
from corten.engine.images import Images
from corten.spec import digest as digests
from corten.spec import image as images
from corten.spec.descriptor import OCI_LAYER, OCI_MANIFEST, Descriptor
from corten.spec.digest import Digest
from corten.spec.image import Image

TIME = "2026-01-02T03:04:05Z"
LAYERS = [Digest(f"sha256:{number}" + "0" * 63) for number in (1, 2)]
ENTRIES: list[dict[str, Any]] = [
    {"created": TIME, "created_by": "base"},
    {"created": TIME, "created_by": "ENV", "empty_layer": True},
    {"created": TIME, "created_by": "RUN"},
]


class NoImages:
    def find(self, id: str) -> None:
        return None


def image(history: list[dict[str, Any]] = ENTRIES, layers: list[Digest] = LAYERS) -> Image:
    document = {"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": layers}, "history": history}
    raw = json.dumps(document).encode()
    blobs = tuple(Descriptor(OCI_LAYER, one, 7) for one in layers)
    manifest = Descriptor(OCI_MANIFEST, digests.of(b""), 0)
    return Image(digests.of(raw), images.decode(raw), raw, manifest, blobs, (7,) * len(layers))


def state(steps: int, layers: int) -> State:
    below = tuple(Layer(one, 7, OCI_LAYER, one) for one in LAYERS[:layers])
    return State(layers=below, history=tuple(ENTRIES[:steps]))


def step(of: Image, before: State, line: str) -> Found | None:
    return _Source(of, cast("Images", NoImages())).step(before, line)


def test_the_steps_of_a_history() -> None:
    source = image()
    assert step(source, state(1, 1), "ENV") == Found(None, TIME)
    last = step(source, state(2, 1), "RUN")
    assert last == Found(Layer(LAYERS[1], 7, OCI_LAYER, LAYERS[1], TIME), TIME, source.id)


@pytest.mark.parametrize(
    ("before", "line"),
    [
        (state(1, 1), "ENV other"),  # another step
        (state(3, 2), "more"),  # no step is left
        (state(2, 2), "RUN"),  # other files
        (state(2, 0), "RUN"),
        (dataclasses.replace(state(1, 1), history=({"created": TIME, "created_by": "other"},)), "ENV"),
    ],
)
def test_what_is_no_step_of_it(before: State, line: str) -> None:
    assert step(image(), before, line) is None


def test_a_history_that_tells_of_more_layers_than_there_are() -> None:
    assert step(image(layers=LAYERS[:1]), state(2, 1), "RUN") is None
