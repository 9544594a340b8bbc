"""A build on a terminal: the steps as they go, and below the running one what it writes."""

from __future__ import annotations

import os
import time

from .build_progress import Plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHOWN = 6
"""Lines of a running command."""


class Live(Plain):
    """The steps with their times; below the running one, its last lines, which go when it is done."""

    def __init__(self) -> None:
        super().__init__()
        self._step, self._since, self._drawn = "", time.monotonic(), 0
        self._cached = False

    def take(self, document: dict[str, Any]) -> None:
        text = document.get("stream")
        if text is None:
            self.note(f"{document.get('id', '')} {document.get('status', '')}\n")
        elif text.startswith("Step "):
            self._done()
            self._step, self._since, self._cached = text.removeprefix("Step ").rstrip("\n"), time.monotonic(), False
        elif text == " ---> Using cache\n":
            self._cached = True
        elif text.startswith(" ---> Not in the cache: "):
            self.clear()
            self.write(f"   {text.removeprefix(' ---> ')}")
        elif text.startswith(" ---> "):
            return
        elif text.startswith("Successfully "):
            self._done()
            self.write(text)
            return
        self.note(text or "")

    def show(self) -> None:
        self.clear()
        if self._step:
            self._draw()
        super().show()

    def _draw(self) -> None:
        try:
            columns = os.get_terminal_size(2).columns
        except OSError:
            columns = 80
        tail = "".join(self.lines).splitlines()[-_SHOWN:]
        rows = [f"=> {self._step}", *(f" | {_printable(line)}" for line in tail)]
        self.write("".join(f"{row[: columns - 1]}\n" for row in rows))
        self._drawn = len(rows)

    def _done(self) -> None:
        self.clear()
        if self._step:
            took = "CACHED" if self._cached else f"{time.monotonic() - self._since:.1f}s"
            self.write(f"=> {self._step}  {took}\n")
        self._step = ""

    def clear(self) -> None:
        if self._drawn:
            self.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def failed(self, detail: dict[str, Any]) -> int:
        self.clear()
        if self._step:
            self.write(f"=> ERROR {self._step}\n")
        self._step = ""
        return super().failed(detail)

    def close(self) -> None:
        self._done()
        super().close()


def _printable(line: str) -> str:
    """The line as it may stand in a live view: an escape sequence of a command's is not obeyed there."""
    return "".join(char if char.isprintable() else " " for char in line)
