"""Suites that are Go test binaries.

A panic or a hang of one test takes the whole binary with it. The test that ran then has failed; the binary is started
again without it and without those that are done, until none is left.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tests.interop.outcomes import FAILED, PASSED, SKIPPED, Outcomes
from tests.interop.suite import Visit, call

_SILENCE = 40  # seconds without a word: the test that runs then hangs
_ENDS = {"pass": PASSED, "fail": FAILED, "skip": SKIPPED}
_ROUNDS = 40


def build(source: Path, package: str, binary: Path) -> None:
    """Compile a package's tests. Raises Unavailable."""
    if not binary.exists():
        env = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
        call(["go", "test", "-c", "-o", str(binary), f"./{package}"], cwd=source, env=env)


def module(name: str) -> Path:
    """The directory of a Go module ``path@version`` in Go's own cache. Raises Unavailable."""
    told = json.loads(call(["go", "mod", "download", "-json", name]))
    return Path(told["Dir"])


def vendored(name: str, place: Path) -> Path:
    """A copy, in ``place``, of a module that is one only by name: what it needs stands in its vendor.mod. Raises
    Unavailable."""
    if not (place / "go.mod").exists():
        shutil.copytree(module(name), place, dirs_exist_ok=True)
        place.chmod(0o755)
        for path in place.rglob("*"):
            path.chmod(path.stat().st_mode | 0o200)
        shutil.copy(place / "vendor.sum", place / "go.sum")
        (place / "vendor.mod").rename(place / "go.mod")
    return place


def run_binary(visit: Visit, binary: Path, directory: Path, skipped: tuple[str, ...] = ()) -> Outcomes:
    """Run a test binary in its package's directory, as often as it takes."""
    outcomes: Outcomes = {}
    for _ in range(_ROUNDS):
        round_ = _Round(visit, binary, directory, (*skipped, *_done(outcomes)))
        outcomes.update(round_.run())
        if not round_.broken:
            break
    return outcomes


def _done(outcomes: Outcomes) -> tuple[str, ...]:
    """What need not run again, as patterns of ``-test.skip``: a holder of tests only when it has ended itself."""
    return tuple("/".join(f"^{re.escape(part)}$" for part in name.split("/")) for name in outcomes)


@dataclasses.dataclass(slots=True)
class _Round:
    visit: Visit
    binary: Path
    directory: Path
    skipped: tuple[str, ...]
    broken: bool = False
    running: dict[str, None] = dataclasses.field(default_factory=dict)

    def run(self) -> Outcomes:
        argv = [str(self.binary), "-test.v=test2json", "-test.timeout=60m"]
        if self.skipped:
            argv.append(f"-test.skip={'|'.join(self.skipped)}")
        if self.visit.only:
            argv.append(f"-test.run={self.visit.only}")
        with self.visit.output.open("ab") as log:
            tests = subprocess.Popen(
                argv, cwd=self.directory, env={**os.environ, **self.visit.environment}, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            assert tests.stdout is not None
            try:
                return self._follow(tests.stdout, log)
            finally:
                os.killpg(tests.pid, signal.SIGKILL)  # with whatever they started and left
                tests.wait()

    def _follow(self, output: IO[bytes], log: IO[bytes]) -> Outcomes:
        said = b""
        for piece in _pieces(output):
            log.write(piece)
            said += piece
        told = subprocess.run(["go", "tool", "test2json"], input=said, stdout=subprocess.PIPE, check=True).stdout
        events = [json.loads(line) for line in told.splitlines()]
        found = self._outcomes(events)
        self.broken = bool(self.running)
        # What held the test that broke has not ended: the others that it holds are still to be run.
        innermost = [name for name in self.running if not any(other.startswith(f"{name}/") for other in self.running)]
        return {**found, **dict.fromkeys(innermost, FAILED)}

    def _outcomes(self, events: list[dict[str, Any]]) -> Outcomes:
        found: Outcomes = {}
        for event in events:
            name, action = event.get("Test"), event["Action"]
            if name is None:
                continue
            if action in ("run", "cont"):
                self.running[name] = None
            elif action in _ENDS or action == "pause":
                self.running.pop(name, None)
            if action in _ENDS:
                found[name] = _ENDS[action]
        return found


def _pieces(output: IO[bytes]) -> Iterator[bytes]:
    """A program's output as it comes, until it is silent for too long."""
    while True:
        ready, _, _ = select.select([output], [], [], _SILENCE)
        if not ready:  # it hangs, or has left somebody behind that has its output
            return
        piece = os.read(output.fileno(), 1 << 16)
        if not piece:
            return
        yield piece
