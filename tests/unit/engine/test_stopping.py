"""Which signals a PID 1 without a handler is deaf to."""

from __future__ import annotations

import os
import signal

import pytest

from corten.engine.model import Container, ContainerConfig, HostConfig, State
from corten.engine.stopping import _is_deaf


def container(pid: int, **host: str) -> Container:
    return Container(
        id="1" * 64, name="one", created="", image="", config=ContainerConfig(), host=HostConfig(**host), path="",
        args=[], layers=[], state=State(pid=pid),
    )  # fmt: skip


@pytest.mark.parametrize(("number", "deaf"), [
    (signal.SIGUSR2, True), (signal.SIGINT, False), (signal.SIGKILL, False), (signal.SIGSTOP, False),
    (signal.SIGCONT, False),
])  # fmt: skip
def test_a_handler_is_waited_for_only_where_one_is_needed(number: int, deaf: bool) -> None:
    """This process, as PID 1 of its namespace, would hear SIGINT and not SIGUSR2."""
    assert _is_deaf(container(os.getpid()), number) is deaf


def test_the_pid_1_of_others_is_not_asked() -> None:
    assert not _is_deaf(container(os.getpid(), pid_mode="host"), signal.SIGUSR2)
