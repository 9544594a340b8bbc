"""Two hundred clients at once, half of them streaming, for a moment; ``make bench ARGS=load`` does it for a minute."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
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


def test_a_crowd_at_the_door(engine: Engine, busybox: str) -> None:
    """A client that does not block is told EAGAIN by a full queue, and Node's and Python's fail then."""
    with contextlib.ExitStack() as stack:
        os.kill(engine.pid, signal.SIGSTOP)
        stack.callback(os.kill, engine.pid, signal.SIGCONT)
        for _ in range(2 * CLIENTS):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect(str(engine.socket))
