"""What the spawner's log says of a starter that comes to nothing: a line for what failed, everything for what nobody
thought of."""

from __future__ import annotations

import os
import sys

import pytest

from corten.runtime.failure import OperationFailed
from corten.spawner import monitors
from corten.spawner.starter import Starter
from corten.sys import messages


def _said(error: BaseException) -> str:
    """What a starter, in a process of its own, writes when it cannot do its work."""

    def fail(starter: Starter) -> None:
        raise error

    read, write = os.pipe()
    monitor, (channel, line) = os.getpid(), messages.pair()
    with channel, line, os.fdopen(read) as log:
        pid = os.fork()
        if pid == 0:
            sys.stderr = os.fdopen(write, "w")
            monitors._launch(fail, channel, line, monitor)
        os.close(write)
        said = log.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    return said


def test_one_that_cannot_stand_by_leaves_a_line() -> None:
    failure = OperationFailed("mount.overlay", "/", "no such file or directory", errno=2)
    assert _said(failure) == "stand by: overlay /: no such file or directory\n"


@pytest.mark.parametrize("error", [messages.Closed("the engine"), BrokenPipeError(32, "Broken pipe")])
def test_an_engine_that_is_gone_leaves_a_line(error: OSError) -> None:
    assert _said(error) == f"start: who asked for it is gone: {error}\n"


@pytest.mark.parametrize("error", [ConnectionResetError(104, "Connection reset by peer"), ValueError("odd")])
def test_what_nobody_thought_of_is_told_whole(error: BaseException) -> None:
    said = _said(error)
    assert said.startswith("Traceback (most recent call last):")
    assert repr(error).partition("(")[0] in said
