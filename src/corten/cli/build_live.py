"""A build on a terminal: the steps that are done above, those that run below, each with its time and what it writes."""

from __future__ import annotations

import os
import time

from .build_progress import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHOWN = 6
"""Lines of commands that run, of all stages together; each has one at least."""
_KEPT = 20
"""Lines that a stage remembers."""
_LONGEST = 4096
"""Characters of a line that has not ended."""
_SHORT = 12
"""Digits of the ID of what a step made."""


class _Stage:
    """One stage: the step that runs, since when, and the last that it wrote. Pulls have a line for each layer."""

    def __init__(self) -> None:
        self.step, self.since, self.how = "", 0.0, ""
        self.lines: list[str] = []
        self.layers: dict[str, str] = {}

    def begin(self, step: str) -> None:
        """The next step."""
        self.step, self.since, self.how = step, time.monotonic(), ""
        self.lines, self.layers = [], {}

    def wrote(self, text: str) -> None:
        """Some of what a command writes, cut anywhere."""
        whole = (self.lines.pop() if self.lines else "") + text.replace("\x1b[91m", "").replace("\x1b[0m", "")
        self.lines = (self.lines + whole.split("\n"))[-_KEPT:]
        self.lines[-1] = self.lines[-1][-_LONGEST:]

    def pulls(self, document: dict[str, Any]) -> None:
        """Progress of a pull."""
        told = f"{document.get('status', '')} {document.get('progress', '')}".strip()
        name = document.get("id", "")
        self.layers[name] = f"{name}: {told}" if name else told

    @property
    def took(self) -> str:
        """Its time, or that it needed none."""
        return self.how or f"{time.monotonic() - self.since:.1f}s"

    def rows(self, most: int) -> list[str]:
        """The running step, and its last lines."""
        said = (line.rstrip("\r").rpartition("\r")[2] for line in (*self.layers.values(), *self.lines))
        tail = [line for line in said if line.strip()][-most:]
        return [f"=> {self.step}  {self.took}", *(f" | {line}" for line in tail)]


class Live(Plain):
    """What is below the steps that are done is drawn anew whenever something is said, and as time goes by."""

    tick = 0.5

    def __init__(self) -> None:
        super().__init__()
        self._began, self._drawn = time.monotonic(), 0
        self._stages: dict[int, _Stage] = {}
        self._done = self._total = 0

    # --- what the engine says

    def take(self, document: dict[str, Any]) -> None:
        place, text = document.get("stage"), document.get("stream")
        if place is None:
            self._own(document)
        elif document.get("stopped"):
            self._ended(self._stage(place), "ERROR")
        elif text is None:
            self._stage(place).pulls(document)
        else:
            self._of(self._stage(place), text)

    def _stage(self, place: int) -> _Stage:
        return self._stages.setdefault(place, _Stage())

    def _own(self, document: dict[str, Any]) -> None:
        """What is said of the build as a whole stays to be read."""
        self.clear()
        text = document.get("stream")
        self.write(_printable(f"{document.get('status', '')}" if text is None else text.rstrip("\n")) + "\n")

    def _of(self, stage: _Stage, text: str) -> None:
        if text.startswith("Step "):
            self._ended(stage)
            stage.begin(text.removeprefix("Step ").rstrip("\n"))
            self._total = int(stage.step.partition("/")[2].partition(" ")[0])
        elif text == " ---> Using cache\n":
            stage.how = "CACHED"
        elif text.startswith(" ---> Not in the cache: "):
            self.clear()
            self.write(f"   {_printable(text.removeprefix(' ---> ').rstrip())}\n")
        elif text.startswith(" ---> "):
            if len(text.split()[-1]) == _SHORT and " " not in text[6:]:  # what the step made
                self._ended(stage)
        else:
            stage.wrote(text)

    def _ended(self, stage: _Stage, how: str = "") -> None:
        """Its step is done: it stays above."""
        if not stage.step:
            return
        self.clear()
        stage.how = how or stage.how
        self._done += 1
        self.write(f"=> {_printable(stage.step)}  {stage.took}\n")
        stage.step = ""

    # --- what is drawn

    def show(self) -> None:
        self.clear()
        if running := [stage for stage in self._stages.values() if stage.step]:
            self._draw(running)
        super().show()

    def _draw(self, running: list[_Stage]) -> None:
        try:
            columns, lines = os.get_terminal_size(2)
        except OSError:
            columns, lines = 80, 24
        each = max(1, _SHOWN // len(running))
        rows = [f"[+] Building {time.monotonic() - self._began:.1f}s ({self._done}/{self._total})"]
        for stage in running:
            rows += stage.rows(each)
        rows = rows[: max(1, lines - 1)]  # what has left the screen cannot be drawn anew
        self.write("".join(f"{_cut(_printable(row), columns - 1)}\n" for row in rows))
        self._drawn = len(rows)

    def clear(self) -> None:
        if self._drawn:
            self.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def failed(self, detail: dict[str, Any]) -> int:
        self._give_up()
        return super().failed(detail)

    def close(self) -> None:
        self._give_up()
        super().close()

    def _give_up(self) -> None:
        """What runs no longer does."""
        for stage in self._stages.values():
            self._ended(stage, "CANCELED")
        self.clear()


def _printable(line: str) -> str:
    """The line as it may stand in a live view: an escape sequence of a stranger's is not obeyed there."""
    return line if line.isprintable() else "".join(char if char.isprintable() else " " for char in line)


def _cut(line: str, columns: int) -> str:
    """As much of a line as one row of the screen has place for."""
    if line.isascii():
        return line[:columns]
    from unicodedata import combining, east_asian_width

    at = width = 0
    for at, char in enumerate(line):
        width += 0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1
        if width > columns:
            return line[:at]
    return line
