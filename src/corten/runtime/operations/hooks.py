"""Operations that run a bundle's hooks during a start."""

from __future__ import annotations

import dataclasses
import json
from typing import ClassVar

from corten.errors import CortenError
from corten.runtime.command import resolve
from corten.runtime.failure import OperationFailed
from corten.runtime.hooks import run_hook
from corten.spec.operation import Context, Operation, operation
from corten.spec.plan import Plan
from corten.spec.runtime import Hook

_GROUP = "command"


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class RuntimeHooks(Operation):
    """Wait until the runtime has run the hooks that are its own: in its namespaces, before the pivot."""

    kind: ClassVar[str] = "hooks.runtime"
    group: ClassVar[str] = _GROUP
    of_host: ClassVar[bool] = True
    """Hooks are programs of the host's, and may look at its files also from within the container's namespaces."""

    paths: tuple[str, ...]
    hooks: tuple[tuple[str, tuple[str, ...], tuple[str, ...], int | None], ...] = ()
    """(path, args, env, timeout in seconds), where a starter runs them; the OCI command line has them itself."""
    told: str = ""
    """The container's state, as JSON, but for its status and pid; '' where the OCI command line tells it."""

    def what(self) -> str:
        return " ".join(self.paths) or "none"

    def why(self) -> str:
        return "The bundle asks for programs of the host to be run when the namespaces are there."

    def shell(self) -> str:
        return f"# outside: for hook in {self.what()}; do $hook < state.json; done"

    def run(self, context: Context) -> None:
        context.await_hooks()

    def outside(self, pid: int) -> bytes:
        """Run the hooks for a container whose init is ``pid``; what the init is told. Raises OperationFailed."""
        states = [json.dumps({**json.loads(self.told), "status": one, "pid": pid}) for one in ("creating", "created")]
        try:
            for fields in self.hooks:
                run_hook(Hook(*fields), states[0].encode())
        except CortenError as error:
            raise OperationFailed.of(self, error) from error
        return json.dumps(states).encode()


def outside(plan: Plan, pid: int) -> bytes:
    """:meth:`RuntimeHooks.outside` of a plan that has such."""
    (step,) = (one for one in plan.steps if isinstance(one, RuntimeHooks))
    return step.outside(pid)


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
