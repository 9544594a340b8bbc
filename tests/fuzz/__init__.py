"""Fuzz targets: a module each, whose ``one(data)`` takes whatever bytes and raises only if Corten is wrong.

``make fuzz`` runs them under atheris; ``tests/fuzz/corpus/TARGET`` holds what is worth trying again, and the unit tests
replay it.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent


def targets() -> list[str]:
    """The names of all targets."""
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def corpus(target: str) -> Path:
    """The directory of what a target is tried with first."""
    return HERE / "corpus" / target
