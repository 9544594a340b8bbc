"""Signals: their names, and who can hear one, from /proc as proc(5) writes it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from corten.engine import signals
from corten.errors import InvalidInput

TERM = int(signal.SIGTERM)
WAITING = {"x86_64": "128"}.get(os.uname().machine, "137")
OTHERS = "0xca 0x7ffd 0x80 0x0 0x0 0x0 0x0 0x7ffd 0x7f3b"
"""The rest of a line of /proc/PID/task/TID/syscall."""


def thread(proc: Path, pid: int, tid: int, *, caught: int = 0, blocked: int = 0, call: str = "202") -> None:
    """Write one thread's files; caught and blocked are signal numbers."""
    task = proc / str(pid) / "task" / str(tid)
    task.mkdir(parents=True)
    masks = "".join(
        f"{name}:\t{(1 << (number - 1)) if number else 0:016x}\n"
        for name, number in (("SigPnd", TERM), ("SigBlk", blocked), ("SigIgn", TERM), ("SigCgt", caught))
    )
    (task / "status").write_text(f"Name:\tcat\nState:\tS (sleeping)\n{masks}CapInh:\tffffffffffffffff\n")
    (task / "syscall").write_text(f"{call} {OTHERS}\n" if call.isdigit() else f"{call}\n")


def test_a_default_action_is_not_heard(tmp_path: Path) -> None:
    thread(tmp_path, 7, 7, caught=signal.SIGHUP, blocked=signal.SIGCHLD)
    assert not signals.is_heard(7, TERM, proc=tmp_path)


@pytest.mark.parametrize("how", [{"caught": TERM}, {"blocked": TERM}, {"call": WAITING}])
def test_one_thread_that_hears_is_enough(tmp_path: Path, how: dict[str, int]) -> None:
    thread(tmp_path, 7, 7)
    thread(tmp_path, 7, 9, **how)  # type: ignore[arg-type]
    assert signals.is_heard(7, TERM, proc=tmp_path)


def test_the_highest_signal_is_found_in_its_mask(tmp_path: Path) -> None:
    thread(tmp_path, 7, 7, caught=64)
    assert signals.is_heard(7, 64, proc=tmp_path)
    assert not signals.is_heard(7, 63, proc=tmp_path)


def test_a_running_thread_waits_for_nothing(tmp_path: Path) -> None:
    thread(tmp_path, 7, 7, call="running")
    assert not signals.is_heard(7, TERM, proc=tmp_path)


def test_what_cannot_be_looked_at_counts_as_hearing(tmp_path: Path) -> None:
    assert signals.is_heard(7, TERM, proc=tmp_path)


def test_a_real_process_is_heard_as_it_is(tmp_path: Path) -> None:
    """This test's own process catches SIGINT, and does not block SIGUSR2."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    try:
        assert signals.is_heard(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not signals.is_heard(os.getpid(), signal.SIGUSR2)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    try:
        assert signals.is_heard(os.getpid(), signal.SIGUSR2)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})


@pytest.mark.parametrize(("text", "number"), [
    ("TERM", 15), ("sigterm", 15), ("15", 15), (" KILL ", 9), ("POLL", 29), ("RTMIN", 34), ("RTMIN+3", 37),
    ("SIGRTMAX-2", 62), ("64", 64),
])  # fmt: skip
def test_a_signal_has_many_names(text: str, number: int) -> None:
    assert signals.parse(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "NONE", "RTMIN+31", "RTMAX-31", "SIGSIGTERM", "1.5"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid signal"):
        signals.parse(text)


def test_numbers_have_names() -> None:
    assert (signals.name(15), signals.name(37)) == ("SIGTERM", "SIGRTMIN+3")
