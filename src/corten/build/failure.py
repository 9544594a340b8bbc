"""An error of a Dockerfile with its place: the sentence, the lines, and a mark at those that are wrong."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

from corten.build.expansion import printable
from corten.build.instructions import Location
from corten.errors import CortenError, DockerfileError

_AROUND = 2
_MOST = 12
_LONGEST = 500
"""Characters of a line."""


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """A Dockerfile's name and text, to make its errors from."""

    name: str
    text: str

    def error(self, cause: str, where: Location | None, instruction: str = "", expected: str = "") -> DockerfileError:
        """The error for such lines, None for the file as a whole."""
        return DockerfileError(
            printable(cause),
            source=self.name,
            line=where.first if where else 0,
            last_line=where.last if where else 0,
            instruction=printable(instruction),
            expected=expected,
            excerpt=self.excerpt(where) if where else "",
        )

    @contextlib.contextmanager
    def shown(self, where: Location) -> Iterator[None]:
        """An error of the block has these lines with it, unless it has others already."""
        try:
            yield
        except CortenError as error:
            error.excerpt = error.excerpt or self.excerpt(where)
            raise

    def excerpt(self, where: Location) -> str:
        """The lines with two around them, ``>>>`` before each that is meant; what is long is cut."""
        lines = [line.rstrip("\r") for line in self.text.split("\n")]
        last = min(where.last, where.first + _MOST - 1, len(lines))
        shown = range(max(1, where.first - _AROUND), min(len(lines), last + _AROUND) + 1)
        rows = [
            f"{number:4} | {'>>>' if where.first <= number <= last else '   '} {_cut(lines[number - 1])}".rstrip()
            for number in shown
        ]
        return "\n".join([f"{self.name}:{where.first}", "-" * 20, *rows, "-" * 20])


def _cut(line: str) -> str:
    return printable(line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…")
