"""Two hundred clients at once, half of them streaming, for a moment; ``make bench ARGS=load`` does it for a minute."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.load import STANDING_BY, load
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

_MIB = 1 << 20
CLIENTS, SECONDS = 200, 4


def test_nobody_fails_and_nothing_is_left(engine: Engine, busybox: str, workspace: Path) -> None:
    report = load(engine, CLIENTS, SECONDS)
    assert report.errors == []
    assert report.silent == 0
    assert report.lives > 0
    assert report.answers > CLIENTS
    assert len(report.pings) > CLIENTS
    assert report.descriptors_after <= report.descriptors_before + STANDING_BY
    # A quarter of a megabyte a client: what a lagging one may have waiting.
    assert report.memory_most - report.memory_before < CLIENTS * _MIB // 4
