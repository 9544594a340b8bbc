"""The live view of a build: what is on the screen, after what the engine has said."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from corten.cli.build_live import Live

_ORDER = re.compile("\x1b\\[(\\d+)A\x1b\\[J")


class Screen:
    """What the view's writes leave on a terminal."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.lines: list[str] = []

    def now(self) -> list[str]:
        """Its lines, after what was written."""
        text = self._capsys.readouterr().err
        while text:
            if order := _ORDER.match(text):
                del self.lines[-int(order[1]) :]
                text = text[order.end() :]
                continue
            line, _, text = text.partition("\n")
            assert line.isprintable()
            self.lines.append(line)
        return self.lines


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def screen(capsys: pytest.CaptureFixture[str]) -> Screen:
    return Screen(capsys)


def say(view: Live, *documents: tuple[int | None, str] | dict[str, Any]) -> None:
    for one in documents:
        if isinstance(one, dict):
            view.take(one)
        else:
            view.take({"stream": one[1], **({} if one[0] is None else {"stage": one[0]})})
    view.show()


def test_stages_that_run_at_the_same_time(screen: Screen, clock: list[float]) -> None:
    view = Live()
    say(view, (0, "Step 1/5 : FROM a\n"), (0, " ---> 0123456789ab\n"), (0, "Step 2/5 : RUN one\n"))
    clock[0] += 1.5
    say(view, (1, "Step 3/5 : FROM b\n"), (1, " ---> Using cache\n"), (1, " ---> 0123456789ab\n"))
    say(view, (1, "Step 4/5 : RUN two\n"), (0, " ---> Running in 0123456789ab\n"), (0, "out\n\x1b[91mer"))
    clock[0] += 2
    say(view, (0, "r\x1b[0m\n"), (1, "10%\r20%\r"))
    above = ["=> 1/5 : FROM a  0.0s", "=> 3/5 : FROM b  CACHED"]
    assert screen.now() == [
        *above, "[+] Building 3.5s (2/5)",
        "=> 2/5 : RUN one  3.5s", " | out", " | err", "=> 4/5 : RUN two  2.0s", " | 20%",
    ]  # fmt: skip
    clock[0] += 1
    say(view)  # time alone
    assert "=> 4/5 : RUN two  3.0s" in screen.now()
    say(view, (0, " ---> 0123456789ab\n"), (1, " ---> 0123456789ab\n"))
    above += ["=> 2/5 : RUN one  4.5s", "=> 4/5 : RUN two  3.0s"]
    assert screen.now() == above
    say(view, (None, "[Warning] Rule: what it is (line 1)\n"), (None, "Successfully built 0123456789ab\n"))
    view.close()
    assert screen.now() == [*above, "[Warning] Rule: what it is (line 1)", "Successfully built 0123456789ab"]


def test_a_step_that_fails_stops_the_others(screen: Screen, clock: list[float]) -> None:
    view = Live()
    say(view, (0, "Step 1/4 : RUN one\n"), (1, "Step 3/4 : RUN two\n"))
    say(view, {"stage": 1, "stopped": True})
    assert view.failed({"message": "it failed"}) == 1
    view.close()
    assert screen.now() == ["=> 3/4 : RUN two  ERROR", "=> 1/4 : RUN one  CANCELED", "ERROR: it failed"]


def test_a_stranger_gives_the_terminal_no_orders(screen: Screen, clock: list[float]) -> None:
    view = Live()
    say(view, (0, "Step 1/1 : RUN \x1b[2J\n"), (0, "a\x1b]0;title\x07b\n"), (None, "[Warning] \x1b[1A\n"))
    say(view, {"stage": 0, "id": "\x1b[1mlayer", "status": "Downloading", "progress": "[=>  ]"})
    assert screen.now()[-3:] == ["=> 1/1 : RUN  [2J  0.0s", " |  [1mlayer: Downloading [=>  ]", " | a ]0;title b"]


def test_why_a_step_is_done_stays(screen: Screen, clock: list[float]) -> None:
    view = Live()
    say(view, (0, "Step 1/1 : COPY a b\n"), (0, " ---> Not in the cache: file a changed\n"))
    assert screen.now()[0] == "   Not in the cache: file a changed"


def test_a_row_is_a_row(screen: Screen, clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((20, 4)))
    view = Live()
    say(view, (0, "Step 1/1 : RUN x\n"), (0, "y" * 100_000), (0, "\n" + "\u6f22" * 50 + "\nmore\nand more\n"))
    shown = screen.now()
    assert len(shown) == 3  # and the cursor's
    assert all(len(line) <= 19 for line in shown)
    say(view, (0, "\u6f22" * 50 + "\n"))
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((20, 40)))
    say(view)
    assert screen.now()[-1] == " | " + "\u6f22" * 8
