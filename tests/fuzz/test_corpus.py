"""The fuzzers' corpus, read as it is and with changes that a seed chooses: the same at every run, and short."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
INPUTS = sorted(path for path in CORPUS.rglob("*") if path.is_file())
CHANGES = 40
_TELLING = (b"\0", b"\xff", b"/", b".", b"7", b"8", b"-", b'"', b"{", b"9" * 9)


def test_every_target_has_a_corpus() -> None:
    assert {path.parent.name for path in INPUTS} == set(TARGETS)


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_is_in_the_corpus_and_near_it(path: Path) -> None:
    target, content, chance = TARGETS[path.parent.name], path.read_bytes(), random.Random(path.name)
    target(content)
    for _ in range(CHANGES):
        target(changed(content, chance))


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
