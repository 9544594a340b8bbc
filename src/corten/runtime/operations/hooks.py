"""Operations that run a bundle's hooks during a start."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from corten.runtime.command import resolve
from corten.runtime.hooks import run_hook
from corten.spec.operation import Context, Operation, operation
from corten.spec.runtime import Hook

_GROUP = "command"


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class RuntimeHooks(Operation):
    """Wait until the runtime has run the hooks that are its own: in its namespaces, before the pivot."""

    kind: ClassVar[str] = "hooks.runtime"
    group: ClassVar[str] = _GROUP

    paths: tuple[str, ...]

    def what(self) -> str:
        return " ".join(self.paths) or "none"

    def why(self) -> str:
        return "The bundle asks for programs of the host to be run when the namespaces are there."

    def shell(self) -> str:
        return f"# outside: for hook in {self.what()}; do $hook < state.json; done"

    def run(self, context: Context) -> None:
        context.await_hooks()


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class ContainerHooks(Operation):
    """Run hooks in the container's namespaces: before the pivot, or, ``at_start``, instead of the command, just
    before it, by its own files and with its own privileges."""

    kind: ClassVar[str] = "hooks.container"
    group: ClassVar[str] = _GROUP

    hooks: tuple[tuple[str, tuple[str, ...], tuple[str, ...], int | None], ...]
    """(path, args, env, timeout in seconds)"""
    at_start: bool = False

    def what(self) -> str:
        return " ".join(hook[0] for hook in self.hooks)

    def why(self) -> str:
        return f"The bundle asks for it: {'before the command' if self.at_start else 'when all is mounted'}."

    def shell(self) -> str:
        return f"for hook in {self.what()}; do $hook < state.json; done"

    def run(self, context: Context) -> None:
        if self.at_start:
            context.ready()
        for hook in (Hook(*fields) for fields in self.hooks):
            if self.at_start:
                resolve(hook.path, "")  # a file of the image: it may be a link to this very program (CVE-2019-5736)
            run_hook(hook, context.state_at_start if self.at_start else context.state)
