"""The corpus of every fuzz target, replayed: what once was found, or is worth trying, breaks nothing."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.fuzz import corpus, targets

INPUTS = [(target, path) for target in targets() for path in sorted(corpus(target).iterdir())]


@pytest.mark.parametrize(("target", "path"), INPUTS, ids=[f"{target}-{path.name}" for target, path in INPUTS])
def test_an_input_of_the_corpus(target: str, path: Path) -> None:
    importlib.import_module(f"tests.fuzz.{target}").one(path.read_bytes())


def test_every_target_has_a_corpus() -> None:
    assert {target for target, _ in INPUTS} == set(targets())
