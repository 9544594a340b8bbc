"""Stages as the classic builder goes through them: every instruction makes an image of the image before it.

A step is known by the image that it was made of and by its line in the history, which for files has a digest of them:
who asks for the same step of the same image gets the image that it made then. An instruction that is another than
before, or is made anew, therefore has all that follow it made anew, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import msgspec

from corten.build.arguments import Scope
from corten.build.configuring import configured, shell_of
from corten.build.expansion import Rules, expand
from corten.build.ground import Ground, Output, Record
from corten.build.instructions import Add, Arg, Copy, Expose, Instruction, Label, Onbuild, Run
from corten.build.stage import Options, Other, StageRun
from corten.build.state import Layer, State
from corten.errors import InvalidInput


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What a step made when it was done before. ``image`` is the ID of the image that it made, where that is to be
    taken as it is."""

    layer: Layer | None
    created: str
    image: str = ""


class Steps(Protocol):
    """The images of steps, as a build sees them. A ``parent`` is an image's ID, '' for none."""

    def turn(self, parent: str, line: str) -> AbstractAsyncContextManager[object]:
        """Of two stages that come to the same step, one makes it."""

    async def find(self, parent: str, before: State, line: str) -> Found | None:
        """What a step of that line in the history made of an image."""

    def made(self, parent: str, line: str, record: Record) -> None:
        """The step has been done anew: the other stages of the build need not."""

    async def keep(self, parent: str, state: State, document: bytes) -> None:
        """Let a step's state, whose configuration document is given, be an image."""


class ClassicRun(StageRun):
    """The run of one stage."""

    hostname = ""

    def __init__(
        self, ground: Ground, options: Options, output: Output, other: Other, state: State, scope: Scope, name: str, *,
        steps: Steps, parent: str,
    ) -> None:  # fmt: skip
        """``parent`` is the image that the stage begins with."""
        if not (parent or state.history or state.layers):
            config = {name: value for name, value in state.config.items() if name != "WorkingDir"}
            state = dataclasses.replace(state, config=config)
        super().__init__(ground, options, output, other, state, scope, name)
        self._steps, self._parent = steps, parent
        self._line = ""
        self._found: Found | None = None
        self._record: Record | None = None
        self._copied: Copy | Add | None = None
        self._ran: Run | None = None

    async def do(self, instruction: Instruction) -> None:
        """Follow one instruction, and let what it made be an image. Raises as :meth:`StageRun.do`."""
        before, scope = self.state, self.scope
        self._line, self._found, self._record = "", None, None
        await super().do(instruction)
        if isinstance(instruction, Arg):  # ENV wins, whichever comes first
            self.scope = dataclasses.replace(self.scope, variables={**self.scope.variables, **self.scope.environment})
        if self._record is None:
            self._line = f"{self._comment} {self._configuring(instruction, before, scope)}"
            await self._configured(before)
        await self._settle(before)

    async def label(self, label: Label) -> None:
        """Add what the user asks for, as an instruction of its own."""
        before = self.state
        self._found, self._record = None, None
        self.state = configured(label, before) or before
        self._line = f"{self._comment} {self.state.history[-1]['created_by']}"
        await self._configured(before)
        await self._settle(before)

    def end(self) -> None:
        """Tell the ID of its image."""
        if self.state.image:
            self._output.status({"aux": {"ID": self.state.image}})

    # --- files

    async def _run(self, one: Run) -> None:
        self._ran = one
        await super()._run(one)

    async def _files(self, one: Copy | Add) -> None:
        self._copied = one
        await super()._files(one)

    async def _made(self, key: str, about: str, parts: Mapping[str, str], make: Callable[[], Any]) -> Record:
        self._line = self._making(key, about)
        if self._fresh:
            self._record = await self._anew(about, make)
            self._steps.made(self._parent, self._line, self._record)
            return self._record
        async with self._steps.turn(self._parent, self._line):
            self._found = await self._steps.find(self._parent, self.state, self._line)
            if self._found is not None:
                self._output.cached()
                self._record = Record(self._found.layer, self._found.created, about)
            else:
                self._record = await self._anew(about, make)
                self._steps.made(self._parent, self._line, self._record)
        return self._record

    async def _anew(self, about: str, make: Callable[[], Any]) -> Record:
        layer: Layer | None = await make()
        created = self._ground.moment()
        return Record(msgspec.structs.replace(layer, created=created) if layer else None, created, about)

    def _making(self, key: str, about: str) -> str:
        """How a step that makes files stands in the history: a RUN with all that its command was given, files with
        the digest of what is copied and how."""
        kind, _, rest = about.partition(" ")
        if kind == "RUN" and self._ran is not None:
            line = " ".join([*self.scope.in_history(), rest])
            plain = not (self._ran.mounts or self._ran.command.files or self._ran.network != "default")
            return line if plain else f"{line} #(key:{key})"
        if self._copied is not None and kind == self._copied.keyword:
            one = self._copied
            given = {"chown": one.chown, "chmod": one.chmod}
            flags = "".join(f"--{name}={value} " for name, value in given.items() if value)
            return f"{self._comment}{kind} {flags}multi:{key} in {one.destination} "
        return f"{self._comment}{about}"

    # --- configuration

    async def _configured(self, before: State) -> None:
        if not self._fresh:
            self._found = await self._steps.find(self._parent, before, self._line)
        if self._found is not None:
            self._output.cached()
        created = self._found.created if self._found else self._ground.moment()
        self._record = Record(None, created)
        if self._found is None:
            self._steps.made(self._parent, self._line, self._record)

    @property
    def _comment(self) -> str:
        """What the line of an instruction that runs nothing begins with."""
        return f"{' '.join(shell_of(self.state))} #(nop) "

    def _configuring(self, one: Instruction, before: State, scope: Scope) -> str:
        """How an instruction that makes no file stands in the history."""
        if isinstance(one, Arg):
            return f"ARG {' '.join(self._defaults(one, scope))}"
        if isinstance(one, Onbuild):
            return f"ONBUILD {one.trigger}"
        line: str = self.state.history[-1]["created_by"] if len(self.state.history) > len(before.history) else ""
        if isinstance(one, Expose):
            ports = line.removeprefix("EXPOSE [").removesuffix("]").split(" ")
            return f"EXPOSE {' '.join(sorted(ports))}"
        return line or one.original

    def _defaults(self, one: Arg, scope: Scope) -> list[str]:
        """The names, with the values that they have unless the user gives others."""
        found = []
        for definition in one.definitions:
            value = definition.default
            if value is not None:
                try:
                    value = expand(value, scope.variables, Rules(self._options.escape)).text
                except InvalidInput:  # one that is not made use of
                    value = definition.default
            found.append(definition.name if value is None else f"{definition.name}={value}")
        return found

    # --- the image

    async def _settle(self, before: State) -> None:
        record = self._record
        assert record is not None
        entry: dict[str, Any] = {"created": record.created, "created_by": self._line}
        if self.state.author:
            entry["author"] = self.state.author
        if record.layer is None:
            entry["empty_layer"] = True
        history = (*before.history, entry)
        state = dataclasses.replace(self.state, history=history, created=record.created, image="")
        document = state.document()
        if self._found is not None and self._found.image:
            state = dataclasses.replace(state, image=self._found.image)
        else:
            state = dataclasses.replace(state, image=state.id)
        await self._steps.keep(self._parent, state, document)
        self.state, self._parent = state, state.image
