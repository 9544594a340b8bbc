"""Why a launch failed: which operation, on what, and the kernel's reason."""

from __future__ import annotations

import os
from typing import Any

from corten.errors import CommandNotFound, CommandNotRunnable, CortenError
from corten.spec.operation import Operation


class OperationFailed(CortenError):
    """An operation of the plan failed; everything done before it was taken back.

    ``operation`` is its kind, ``what`` its object; ``errno`` is 0 when no system call was to blame.
    """

    def __init__(
        self, operation: str, what: str, cause: str, *, errno: int = 0, hint: str = "", exit_code: int = 125
    ) -> None:
        verb = operation.rpartition(".")[2].replace("-", " ")
        super().__init__(cause if exit_code != CortenError.exit_code else f"{verb} {what}: {cause}", hint=hint)
        self.operation, self.what, self.cause = operation, what, cause
        self.errno, self.exit_code = errno, exit_code

    @classmethod
    def of(cls, step: Operation, error: BaseException) -> OperationFailed:
        """The report of what ``step`` raised."""
        if isinstance(error, cls):
            return error
        if isinstance(error, CommandNotFound | CommandNotRunnable):
            return cls(step.kind, step.what(), error.message, hint=error.hint, exit_code=error.exit_code)
        if isinstance(error, CortenError):
            return cls(step.kind, step.what(), error.message, hint=error.hint)
        if isinstance(error, OSError) and error.errno:
            return cls(step.kind, step.what(), _cause(step, error), errno=error.errno)
        return cls(step.kind, step.what(), repr(error))

    def encode(self) -> dict[str, Any]:
        """The JSON form that travels from the init to the monitor, and on to the engine."""
        return {
            "operation": self.operation, "object": self.what, "cause": self.cause,
            "errno": self.errno, "hint": self.hint, "exit_code": self.exit_code,
        }  # fmt: skip

    @classmethod
    def decode(cls, value: dict[str, Any]) -> OperationFailed:
        """The failure of its JSON form."""
        return cls(
            value["operation"], value["object"], value["cause"],
            errno=value["errno"], hint=value["hint"], exit_code=value["exit_code"],
        )  # fmt: skip


def _cause(step: Operation, error: OSError) -> str:
    text = (error.strerror or os.strerror(error.errno or 0)).lower()
    name = error.filename
    return f"{name}: {text}" if name and str(name) not in step.what() else text
