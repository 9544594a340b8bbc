"""How a build goes, as people see it: the steps on standard error; the image's ID where asked for."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from .options import Values

_LAST = 20
"""Lines of a command that failed."""


class Shown:
    """Takes the documents of a build's stream; :attr:`id` is the image's when it is through."""

    def __init__(self, values: Values) -> None:
        self.id = ""
        mode = "quiet" if values.quiet else values.progress
        live = mode == "tty" or (mode == "auto" and os.isatty(2))
        self._view: Plain = _Quiet() if mode == "quiet" else _live() if live else Plain()

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


def _live() -> Plain:
    from .build_live import Live

    return Live()


class Plain:
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
        self.note(text)
        sys.stderr.write(text)

    def note(self, text: str) -> None:
        """Remember the last lines of the step that runs."""
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


class _Quiet(Plain):
    """Nothing but what stopped it, with the last lines of the command."""

    def take(self, document: dict[str, Any]) -> None:
        return

    def last(self, text: str) -> None:
        sys.stderr.write(_last_lines(text))


def _last_lines(text: str) -> str:
    """As many as are of use, whole."""
    return "".join(f"{line}\n" for line in text.splitlines()[-_LAST:])
