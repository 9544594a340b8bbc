"""The launcher's steps, as operations: ``--explain`` shows them before those of the container, as done already."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from corten.spec.operation import HOST, Context, Operation, operation
from corten.sys.standing import Range, Standing

_GROUP = "the engine's user namespace"


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class NewUserNamespace(Operation):
    """Move into a new user namespace, and a mount namespace that belongs to it."""

    kind: ClassVar[str] = "launcher.namespaces"
    stage: ClassVar[str] = HOST
    group: ClassVar[str] = _GROUP

    def what(self) -> str:
        return "user, mount"

    def why(self) -> str:
        return (
            "Only root may mount, and make other namespaces. In a user namespace of its own, an ordinary user is root "
            "over what belongs to that namespace, and over nothing else. All the user's containers live in it."
        )

    def shell(self) -> str:
        return "unshare --user --mount sleep infinity & PID=$!"

    def run(self, context: Context) -> None:
        raise NotImplementedError("the launcher itself enters it")


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class MapIds(Operation):
    """Say which ids outside stand behind those inside: (inside, outside, count)."""

    kind: ClassVar[str] = "launcher.ids"
    stage: ClassVar[str] = HOST
    group: ClassVar[str] = _GROUP

    uids: tuple[Range, ...]
    gids: tuple[Range, ...]

    def what(self) -> str:
        users, groups = (sum(count for _, _, count in ranges) for ranges in (self.uids, self.gids))
        return f"user ids: {users}, group ids: {groups}"

    def why(self) -> str:
        if len(self.uids) > 1:
            return (
                "Root inside is this user outside; the other ids inside are those that /etc/subuid and /etc/subgid "
                "grant this user. Set-user-ID helpers write the maps, because they check that."
            )
        return "Root inside is this user outside. It has no other ids, so every file and process in here is root's."

    def shell(self) -> str:
        enter = "nsenter --target $PID --user --mount"
        if len(self.uids) > 1:
            return f"newuidmap $PID {_words(self.uids)} && newgidmap $PID {_words(self.gids)} && {enter}"
        lines = (("uid_map", _words(self.uids)), ("setgroups", "deny"), ("gid_map", _words(self.gids)))
        return " && ".join([*(f"echo {text} > /proc/$PID/{name}" for name, text in lines), enter])

    def run(self, context: Context) -> None:
        raise NotImplementedError("the launcher's helper, who stayed outside, maps")


def _words(ranges: tuple[Range, ...]) -> str:
    return " ".join(str(number) for one in ranges for number in one)


def steps_of(standing: Standing) -> tuple[Operation, ...]:
    """The steps that lead to where an engine stands; none for the machine's root. An engine that joined the namespace
    of an earlier one reads them off as well."""
    return () if standing.initial else (NewUserNamespace(), MapIds(standing.uids, standing.gids))
