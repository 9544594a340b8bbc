"""The corpus of every fuzz target, replayed: what once was found, or is worth trying, breaks nothing; nor does what is
near it, by changes that a seed chooses: the same at every run, and short."""

from __future__ import annotations

import importlib
import random
from pathlib import Path

import pytest

from tests.fuzz import corpus, targets

CHANGES = 40
_TELLING = (b"\0", b"\xff", b"/", b".", b"7", b"8", b"-", b'"', b"{", b"9" * 9)
INPUTS = [(target, path) for target in targets() for path in sorted(corpus(target).iterdir())]


@pytest.mark.parametrize(("target", "path"), INPUTS, ids=[f"{target}-{path.name}" for target, path in INPUTS])
def test_an_input_of_the_corpus(target: str, path: Path) -> None:
    one = importlib.import_module(f"tests.fuzz.{target}").one
    content, chance = path.read_bytes(), random.Random(path.name)
    one(content)
    for _ in range(CHANGES):
        one(changed(content, chance))


def changed(content: bytes, chance: random.Random) -> bytes:
    """Some bytes of it replaced, or a piece doubled, moved or left out."""
    data = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        start, size = chance.randrange(len(data) + 1), chance.choice((1, 2, 8, 512))
        match chance.randrange(4):
            case 0:
                data[start : start + size] = chance.randbytes(min(size, 8))
            case 1:
                data[start:start] = data[start : start + size]
            case 2:
                del data[start : start + size]
            case _:
                data[start : start + 1] = chance.choice(_TELLING)
    return bytes(data)


def test_every_target_has_a_corpus() -> None:
    assert {target for target, _ in INPUTS} == set(targets())
