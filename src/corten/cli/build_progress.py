"""How a build goes, as people see it: the steps on standard error; the image's ID where asked for."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_LAST = 20
"""Lines of a command that failed."""


class Shown:
    """Takes the documents of a build's stream; :attr:`id` is the image's when it is through."""

    def __init__(self, mode: str) -> None:
        """``mode`` is quiet, plain or tty."""
        self.id = ""
        self._view: Plain = _Quiet() if mode == "quiet" else _live() if mode == "tty" else Plain()
        self.tick = self._view.tick
        """Seconds after which :meth:`all` is to hear of nothing rather than to wait on; 0 for as long as it takes."""

    def all(self, said: Iterable[list[dict[str, Any]]]) -> int:
        """Show all of it; the exit code."""
        try:
            for documents in said:
                for document in documents:
                    if (code := self._taken(document)) is not None:
                        return code
                self._view.show()
        finally:
            self._view.close()
        return 0

    def _taken(self, document: dict[str, Any]) -> int | None:
        """One document; where it is the last, as of a failure, the exit code."""
        if aux := document.get("aux"):
            self.id = aux.get("ID", self.id)
        elif "last" in document:
            self._view.last(document["last"])
        elif "excerpt" in document:
            self._view.clear()
            self._view.write(f"{document['excerpt']}\n" if document["excerpt"] else "")
        elif detail := document.get("errorDetail"):
            return self._view.failed(detail)
        else:
            self._view.take(document)
        return None


def _live() -> Plain:
    from .build_live import Live

    return Live()


class Plain:
    """Lines, as they come."""

    tick = 0.0

    def __init__(self) -> None:
        self._unwritten: list[str] = []

    def write(self, text: str) -> None:
        """Text for standard error, which flushes each line: what is told at a time is written at once."""
        self._unwritten.append(text)

    def show(self) -> None:
        """Write what has come to be said."""
        if self._unwritten:
            sys.stderr.write("".join(self._unwritten))
            sys.stderr.flush()
            self._unwritten.clear()

    def take(self, document: dict[str, Any]) -> None:
        """One document."""
        text = document.get("stream")
        if text is None:
            status, name = document.get("status", ""), document.get("id", "")
            if document.get("progressDetail"):
                return
            text = f"{name}: {status}\n" if name else f"{status}\n"
        self.write(text)

    def last(self, text: str) -> None:
        """The last that a failed command wrote, once more: other stages may have written since."""
        self.clear()
        rule = "-" * 6
        self.write(f"{rule}\n{_last_lines(text)}{rule}\n")

    def clear(self) -> None:
        """Something else is to be written."""

    def failed(self, detail: dict[str, Any]) -> int:
        """Say what stopped it; the exit code."""
        self.write(f"ERROR: {detail.get('message', '')}\n")
        return 1

    def close(self) -> None:
        """The end."""
        self.show()


class _Quiet(Plain):
    """Nothing but what stopped it, with the last lines of the command."""

    def take(self, document: dict[str, Any]) -> None:
        return

    def last(self, text: str) -> None:
        self.write(_last_lines(text))


def _last_lines(text: str) -> str:
    """As many as are of use, whole."""
    return "".join(f"{line}\n" for line in text.splitlines()[-_LAST:])
