"""The operation that loads the system call filter."""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

from corten.spec.operation import Context, Operation, operation
from corten.sys import seccomp


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class SeccompFilter(Operation):
    """Refuse the system calls that a container has no use for."""

    kind: ClassVar[str] = "process.seccomp"
    group: ClassVar[str] = "privileges"
    poises: ClassVar[bool] = True

    program: str
    """The compiled filter, in hexadecimal."""
    flags: int = 0
    """SECCOMP_FILTER_FLAG_…"""

    def what(self) -> str:
        return f"{len(self.program) // 16} instructions"

    def why(self) -> str:
        return "Some forty system calls (kernel modules, clocks, swap, keys) are refused, whoever asks in here."

    def shell(self) -> str:
        return "# seccomp(SECCOMP_SET_MODE_FILTER): no shell command loads a filter"

    def rehearse(self, context: Context) -> None:
        seccomp.load(_assembled(self.program), _NO_FLAG)

    def run(self, context: Context) -> None:
        seccomp.load(_assembled(self.program), self.flags)


_assembled = functools.lru_cache(maxsize=2)(bytes.fromhex)
_NO_FLAG = 1 << 31
"""The kernel knows none such, and loads nothing (EINVAL)."""
