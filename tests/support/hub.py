"""``corten registry serve`` of an engine, and its end."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from tests.support.engine import Engine
from tests.support.process import end
from tests.support.registry import free_port


class Hub:
    """One registry process of an engine's; a context manager. ``within`` is a command that becomes its, such as
    ``nsenter``."""

    def __init__(
        self, engine: Engine, *arguments: str, within: Sequence[str] = (), port: int = 0, address: str = "127.0.0.1"
    ) -> None:
        self.port = port or free_port()
        self.host = f"{address}:{self.port}"
        cli = engine.cli
        words = cli.command("registry", "serve", "--address", self.host, *arguments)
        self._log = engine.root.parent / f"{engine.root.name}.hub"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*within, *words], env=dict(cli.environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=log,
            )  # fmt: skip
        assert self._process.stdout is not None
        self.said = self._process.stdout.readline().decode()
        if not self.said:
            self._process.wait()
            raise AssertionError(f"the registry did not start: {self.notes()}")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def notes(self) -> str:
        """What it said on standard error."""
        return self._log.read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._process)
        assert self._process.stdout is not None
        self._process.stdout.close()
