"""What a build says, as dockerd's classic builder says it. Stages are built at the same time, and told one after the
other: a later one's lines wait until the earlier ones are through. A client with a live view is told at once, and of
which stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from corten.engine.ingest import Report
from corten.spec import digest as digests

_RED, _PLAIN = "\x1b[91m", "\x1b[0m"


class Outputs:
    """The outputs of one build's stages, by their place among them."""

    def __init__(self) -> None:
        self._stages: list[StageOutput] = []
        self._live = 0
        self._report: Report | None = None
        self._quiet = False
        self.total = 0
        self.explains = self.is_live = False

    def start(self, report: Report, total: int, *, quiet: bool, why: bool, live: bool = False) -> None:
        """From now on, tell; with ``why`` also why a step is not in the cache, with ``live`` all stages at once."""
        self._report, self._quiet, self.total, self.explains, self.is_live = report, quiet, total, why, live

    def of(self, place: int) -> StageOutput:
        """That of a stage; those before it are there as well."""
        while len(self._stages) <= place:
            self._stages.append(StageOutput(self, len(self._stages)))
        return self._stages[place]

    def line(self, text: str) -> None:
        """A line of the build's own."""
        self.tell({"stream": f"{text}\n"})

    def tell(self, value: Mapping[str, Any]) -> None:
        """One document of the stream."""
        if self._report is not None and not self._quiet:
            self._report(dict(value))

    def emit(self, place: int, value: Mapping[str, Any]) -> None:
        """A stage's: now, or when its turn comes."""
        if self.is_live:
            self.tell({**value, "stage": place})
        elif place == self._live:
            self.tell(value)
        else:
            self._stages[place].waiting.append(value)

    def ended(self, place: int) -> None:
        """A stage is through; so are, maybe, some after it."""
        self._stages[place].over = True
        while self._live < len(self._stages) and self._stages[self._live].over:
            self._live += 1
            if self._live < len(self._stages):
                self._tell_waiting(self._live)

    def flush(self) -> None:
        """The build is over, well or not: tell what waits."""
        for place in range(self._live, len(self._stages)):
            self._tell_waiting(place)

    def _tell_waiting(self, place: int) -> None:
        waiting, self._stages[place].waiting = self._stages[place].waiting, []
        for value in waiting:
            self.tell(value)


class StageOutput:
    """See :class:`corten.build.ground.Output`."""

    def __init__(self, outputs: Outputs, place: int) -> None:
        self._outputs, self._place = outputs, place
        self.waiting: list[Mapping[str, Any]] = []
        self.over = False

    def begin(self, number: int, text: str) -> None:
        """A step begins."""
        self.say(f"Step {number}/{self._outputs.total} : {text}")

    def say(self, text: str) -> None:
        """A line."""
        self._outputs.emit(self._place, {"stream": f"{text}\n"})

    def wrote(self, stream: int, data: bytes) -> None:
        """What a command wrote; stderr in red, as dockerd has it."""
        text = data.decode(errors="replace")
        self._outputs.emit(self._place, {"stream": text if stream == 1 else f"{_RED}{text}{_PLAIN}"})

    def status(self, value: Mapping[str, object]) -> None:
        """Progress of a pull."""
        self._outputs.emit(self._place, value)

    def cached(self) -> None:
        """The step was made before."""
        self.say(" ---> Using cache")

    def why(self, reasons: Sequence[str]) -> None:
        """Why it is not."""
        for reason in reasons if self._outputs.explains else ():
            self.say(f" ---> Not in the cache: {reason}")

    def made(self, id: str) -> None:
        """The step is done."""
        self.say(f" ---> {digests.short(id)}")

    def stopped(self) -> None:
        """It is this stage that stops the build."""
        if self._outputs.is_live:
            self._outputs.emit(self._place, {"stopped": True})

    def end(self) -> None:
        """The stage is through."""
        self._outputs.ended(self._place)
