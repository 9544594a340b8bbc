"""Run a command to its end and keep what it said."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Result:
    """The end of a command: exit code and both streams, as text that keeps undecodable bytes."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Standard output, a line an item."""
        return self.out.splitlines()

    @property
    def raw(self) -> bytes:
        """Standard output's exact bytes."""
        return os.fsencode(self.out)

    def check(self) -> Result:
        """This result, or an AssertionError that shows what the command said."""
        assert self.code == 0, f"{' '.join(self.argv)}: exit {self.code}\n{self.out}{self.err}"
        return self


@dataclasses.dataclass(frozen=True, slots=True)
class Cli:
    """A command line bound to one engine: ``cli("run", "--rm", "busybox", "true", stdin=b"")``."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]

    def __call__(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = 60,
    ) -> Result:
        """Run one command; ``env`` is added to the private environment."""
        return run(
            self.command(*arguments), stdin=stdin, env={**self.environment, **(env or {})}, timeout=timeout
        )

    def command(self, *arguments: str) -> list[str]:
        """The argv of a command: for tests that start it themselves."""
        return [*self.argv, *arguments]


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60,
    cwd: str | None = None,
) -> Result:
    """Run ``argv`` to its end; without ``stdin`` it reads /dev/null. Raises subprocess.TimeoutExpired."""
    source: dict[str, object] = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    done = subprocess.run(
        list(argv),
        capture_output=True,
        env=dict(env) if env is not None else None,
        timeout=timeout,
        cwd=cwd,
        **source,  # type: ignore[call-overload]
    )
    return Result(tuple(argv), done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr))
