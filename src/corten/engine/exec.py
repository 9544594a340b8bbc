"""Execs: further processes inside running containers."""

from __future__ import annotations

import dataclasses

from corten.engine.attach import Attachment
from corten.engine.model import ExecRequest


@dataclasses.dataclass(frozen=True, slots=True)
class Exec:
    """One exec. ``exit_code`` is None until it ended."""

    id: str
    container: str
    request: ExecRequest
    entrypoint: str
    arguments: tuple[str, ...]
    detach_keys: str = ""
    running: bool = False
    pid: int = 0
    exit_code: int | None = None


class Execs:
    """The execs of one engine; they are forgotten with their container, or when the engine ends."""

    def create(self, container_ref: str, request: ExecRequest) -> str:
        """The ID of a new exec. NotFound, Conflict when the container does not run or is paused, InvalidInput."""
        raise NotImplementedError

    def inspect(self, id: str) -> Exec:
        """What is known of it. NotFound ``No such exec instance: …``."""
        raise NotImplementedError

    async def start(
        self, id: str, *, detach: bool = False, tty: bool = False, console_size: tuple[int, int] | None = None
    ) -> Attachment | None:
        """Run it; its stdio, or None with ``detach``. CommandNotFound, CommandNotRunnable; Conflict when it ran."""
        raise NotImplementedError

    async def resize(self, id: str, height: int, width: int) -> None:
        """Tell its terminal the size in characters."""
        raise NotImplementedError
