"""No control groups: none are mounted, or none of them is this user's to change."""

from __future__ import annotations

from collections.abc import Sequence

from corten.errors import Unsupported
from corten.runtime.cgroups import Statistics
from corten.spec.operation import Operation
from corten.spec.runtime import Resources

_HINT = (
    "a group is handed to a user by systemd: start the engine in its session "
    "(systemd-run --user --scope -p Delegate=yes corten …)"
)


class NoControlGroups:
    """Runs containers without counting or limiting them; what cannot be done without groups says so."""

    controllers: frozenset[str] = frozenset()
    present = False

    def __init__(self, version: int) -> None:
        self.version = version

    def operations(self, path: str, resources: Resources) -> Sequence[Operation]:
        return ()

    def visible(self) -> tuple[tuple[str, str], ...]:
        return ()

    def directories(self, path: str) -> tuple[str, ...]:
        return ()

    def update(self, path: str, resources: Resources) -> None:
        if resources != Resources():
            raise _unsupported("change limits")

    def join_files(self, path: str) -> tuple[str, ...]:
        return ()

    def leave_files(self) -> tuple[str, ...]:
        return ()

    def freeze(self, path: str) -> None:
        raise _unsupported("pause")

    def thaw(self, path: str) -> None:
        raise _unsupported("unpause")

    def frozen(self, path: str) -> bool:
        return False

    def statistics(self, path: str) -> Statistics:
        raise _unsupported("read statistics")

    def favour(self, path: str, containers: int) -> None:
        """Nothing: there is nobody beside it."""

    def oom_kills(self, path: str) -> int:
        return 0

    def out_of_memory(self, path: str) -> bool:
        return False

    def memory_pressure(self, path: str) -> int | None:
        return None

    def processes(self, path: str) -> list[int]:
        raise _unsupported("list processes")

    def below(self, path: str) -> set[str]:
        return set()

    def kill(self, path: str) -> None:
        """Nothing: a pid namespace ends with its first process."""

    def remove(self, path: str) -> bool:
        return True


def _unsupported(what: str) -> Unsupported:
    return Unsupported(f"{what}: this engine has no control groups", hint=_HINT)
