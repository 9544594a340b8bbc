"""How a build goes, as people see it: the steps on standard error, plain or live; the image's ID where asked for."""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .options import Values

_LAST = 20
"""Lines of a command that failed."""
_SHOWN = 6
"""Lines of a running one, on a terminal."""


class Shown:
    """Takes the documents of a build's stream; :attr:`id` is the image's when it is through."""

    def __init__(self, values: Values) -> None:
        self.id = ""
        mode = "quiet" if values.quiet else values.progress
        live = mode == "tty" or (mode == "auto" and os.isatty(2))
        self._view: _Plain = _Quiet() if mode == "quiet" else _Live() if live else _Plain()

    def all(self, documents: Iterable[dict[str, Any]]) -> int:
        """Show all of it; the exit code."""
        try:
            for document in documents:
                if aux := document.get("aux"):
                    self.id = aux.get("ID", self.id)
                elif "last" in document:
                    self._view.last(document["last"])
                elif "excerpt" in document:
                    self._view.clear()
                    sys.stderr.write(f"{document['excerpt']}\n" if document["excerpt"] else "")
                elif detail := document.get("errorDetail"):
                    return self._view.failed(detail)
                else:
                    self._view.take(document)
        finally:
            self._view.close()
        return 0


class _Plain:
    """Lines, as they come."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def take(self, document: dict[str, Any]) -> None:
        """One document."""
        text = document.get("stream")
        if text is None:
            status, name = document.get("status", ""), document.get("id", "")
            if document.get("progressDetail"):
                return
            text = f"{name}: {status}\n" if name else f"{status}\n"
        self._note(text)
        sys.stderr.write(text)

    def _note(self, text: str) -> None:
        if text.startswith("Step "):
            self.lines.clear()
        elif not text.startswith(" ---> "):
            self.lines.append(text.replace("\x1b[91m", "").replace("\x1b[0m", ""))
            del self.lines[:-_LAST]

    def last(self, text: str) -> None:
        """The last that a failed command wrote, once more: other stages may have written since."""
        self.clear()
        rule = "-" * 6
        sys.stderr.write(f"{rule}\n{_last_lines(text)}{rule}\n")

    def clear(self) -> None:
        """Something else is to be written."""

    def failed(self, detail: dict[str, Any]) -> int:
        """Say what stopped it; the exit code."""
        sys.stderr.write(f"ERROR: {detail.get('message', '')}\n")
        return 1

    def close(self) -> None:
        """The end."""
        sys.stderr.flush()


class _Quiet(_Plain):
    """Nothing but what stopped it, with the last lines of the command."""

    def take(self, document: dict[str, Any]) -> None:
        return

    def last(self, text: str) -> None:
        sys.stderr.write(_last_lines(text))


class _Live(_Plain):
    """The steps with their times; below the running one, its last lines, which go when it is done."""

    def __init__(self) -> None:
        super().__init__()
        self._step, self._since, self._drawn = "", time.monotonic(), 0
        self._cached = False

    def take(self, document: dict[str, Any]) -> None:
        text = document.get("stream")
        if text is None:
            self._note(f"{document.get('id', '')} {document.get('status', '')}\n")
        elif text.startswith("Step "):
            self._done()
            self._step, self._since, self._cached = text.removeprefix("Step ").rstrip("\n"), time.monotonic(), False
        elif text == " ---> Using cache\n":
            self._cached = True
        elif text.startswith(" ---> Not in the cache: "):
            self.clear()
            sys.stderr.write(f"   {text.removeprefix(' ---> ')}")
        elif text.startswith(" ---> "):
            return
        elif text.startswith("Successfully "):
            self._done()
            sys.stderr.write(text)
            return
        self._note(text or "")
        self._draw()

    def _draw(self) -> None:
        self.clear()
        if not self._step:
            return
        try:
            columns = os.get_terminal_size(2).columns
        except OSError:
            columns = 80
        tail = "".join(self.lines).splitlines()[-_SHOWN:]
        rows = [f"=> {self._step}", *(f" | {_printable(line)}" for line in tail)]
        sys.stderr.write("".join(f"{row[: columns - 1]}\n" for row in rows))
        sys.stderr.flush()
        self._drawn = len(rows)

    def _done(self) -> None:
        self.clear()
        if self._step:
            took = "CACHED" if self._cached else f"{time.monotonic() - self._since:.1f}s"
            sys.stderr.write(f"=> {self._step}  {took}\n")
        self._step = ""

    def clear(self) -> None:
        if self._drawn:
            sys.stderr.write(f"\x1b[{self._drawn}A\x1b[J")
            self._drawn = 0

    def failed(self, detail: dict[str, Any]) -> int:
        self.clear()
        if self._step:
            sys.stderr.write(f"=> ERROR {self._step}\n")
        self._step = ""
        return super().failed(detail)

    def close(self) -> None:
        self._done()
        super().close()


def _last_lines(text: str) -> str:
    """As many as are of use, whole."""
    return "".join(f"{line}\n" for line in text.splitlines()[-_LAST:])


def _printable(line: str) -> str:
    """The line as it may stand in a live view: an escape sequence of a command's is not obeyed there."""
    return "".join(char if char.isprintable() else " " for char in line)

