"""Operations on namespaces, and what lives in them: names, kernel settings."""

from __future__ import annotations

import dataclasses
import os
from typing import ClassVar

from corten.runtime.sysctl import sysctl_path
from corten.spec.operation import CLONE, HOST, PARENT, Context, Operation, operation
from corten.sys import process

FLAGS = {
    "mount": process.CLONE_NEWNS,
    "cgroup": process.CLONE_NEWCGROUP,
    "uts": process.CLONE_NEWUTS,
    "ipc": process.CLONE_NEWIPC,
    "user": process.CLONE_NEWUSER,
    "pid": process.CLONE_NEWPID,
    "network": process.CLONE_NEWNET,
}
_WHY = {
    "mount": "its own view of what is mounted where",
    "uts": "its own host name",
    "ipc": "its own shared memory and message queues",
    "user": "its own user ids, so that root inside is nobody outside",
    "pid": "its own process numbers, in which the command is number 1",
    "network": "its own interfaces, addresses, routes and ports",
}
_SHELL = {"mount": "--mount", "uts": "--uts", "ipc": "--ipc", "user": "--user", "pid": "--pid", "network": "--net"}
_GROUP = "namespaces"


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class NewNamespaces(Operation):
    """Clone the container's init into namespaces of its own: one system call makes them all."""

    kind: ClassVar[str] = "namespace.clone"
    stage: ClassVar[str] = CLONE
    group: ClassVar[str] = _GROUP

    names: tuple[str, ...]

    def what(self) -> str:
        return ", ".join(self.names)

    def why(self) -> str:
        return "The container gets " + "; ".join(_WHY[name] for name in self.names) + "."

    def shell(self) -> str:
        return f"unshare {' '.join(_SHELL[name] for name in self.names)} --fork --kill-child"

    def flags(self) -> int:
        """The CLONE_NEW… bits."""
        bits = 0
        for name in self.names:
            bits |= FLAGS[name]
        return bits

    def run(self, context: Context) -> None:
        raise NotImplementedError("the launch itself clones")


@dataclasses.dataclass(frozen=True, slots=True)
class _Join(Operation):
    """Enter a namespace that exists."""

    group: ClassVar[str] = _GROUP
    of_host: ClassVar[bool] = True

    name: str
    path: str

    def what(self) -> str:
        return f"{self.name} namespace {self.path}"

    def why(self) -> str:
        return f"Asked for: the {self.name} namespace is shared with who owns it already."

    def shell(self) -> str:
        return f"nsenter {_SHELL.get(self.name, '--' + self.name)}={self.path}"

    def run(self, context: Context) -> None:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            process.setns(descriptor, FLAGS[self.name])
        finally:
            os.close(descriptor)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class JoinNamespace(_Join):
    """Enter a namespace that exists, from the init."""

    kind: ClassVar[str] = "namespace.join"


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class JoinForChildren(_Join):
    """Enter a pid namespace: it takes only processes that are born into it, so the monitor chooses it first."""

    kind: ClassVar[str] = "namespace.join-for-children"
    stage: ClassVar[str] = HOST


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class EnterContainer(Operation):
    """Enter all namespaces of a running container at once, by its init's pidfd (Linux 5.8)."""

    kind: ClassVar[str] = "namespace.enter"
    group: ClassVar[str] = _GROUP
    of_host: ClassVar[bool] = True

    names: tuple[str, ...]

    def what(self) -> str:
        return ", ".join(self.names)

    def why(self) -> str:
        return "The command is to see what the container's own processes see."

    def shell(self) -> str:
        return 'nsenter --target "$PID" --all'

    def run(self, context: Context) -> None:
        bits = 0
        for name in self.names:
            bits |= FLAGS[name]
        process.setns(context.target, bits)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class CgroupNamespace(Operation):
    """A view of control groups whose root is the container's own group."""

    kind: ClassVar[str] = "namespace.cgroup"
    group: ClassVar[str] = _GROUP

    def what(self) -> str:
        return "cgroup namespace"

    def why(self) -> str:
        return "Made after the group is joined, so that the container's own group is the root of what it sees."

    def shell(self) -> str:
        return "unshare --cgroup"

    def ahead(self) -> bool:
        return True

    def run(self, context: Context) -> None:
        process.unshare(process.CLONE_NEWCGROUP)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class UserMap(Operation):
    """Write the id maps of the user namespace: (inside, outside, count) ranges."""

    kind: ClassVar[str] = "namespace.user-map"
    stage: ClassVar[str] = PARENT
    group: ClassVar[str] = _GROUP
    of_host: ClassVar[bool] = True

    uids: tuple[tuple[int, int, int], ...]
    gids: tuple[tuple[int, int, int], ...]

    def what(self) -> str:
        return "user and group ids"

    def why(self) -> str:
        return "Says which ids outside stand behind the ids inside; every other id is nobody."

    def shell(self) -> str:
        lines = [f"{inside} {outside} {count}" for inside, outside, count in self.uids]
        return f"newuidmap $PID {' '.join(lines)}"

    def run(self, context: Context) -> None:
        if os.geteuid():  # user_namespaces(7): who is not root outside must give up setgroups(2), to map its group
            _write(f"/proc/{context.init_pid}/setgroups", "deny")
        for name, ranges in (("uid_map", self.uids), ("gid_map", self.gids)):
            text = "".join(f"{inside} {outside} {count}\n" for inside, outside, count in ranges)
            _write(f"/proc/{context.init_pid}/{name}", text)


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Hostname(Operation):
    """The host name, and the NIS domain name if there is one."""

    kind: ClassVar[str] = "uts.hostname"
    group: ClassVar[str] = _GROUP
    poises: ClassVar[bool] = True

    name: str
    domain: str = ""

    def what(self) -> str:
        return self.name

    def why(self) -> str:
        return "The name that the container calls itself by."

    def shell(self) -> str:
        return f"hostname {self.name}"

    def rehearse(self, context: Context) -> None:
        self.run(context)  # another name will follow

    def run(self, context: Context) -> None:
        if self.name:
            process.set_hostname(self.name)
        if self.domain:
            process.set_domainname(self.domain)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Sysctl(Operation):
    """One kernel setting that belongs to the container's own namespaces."""

    kind: ClassVar[str] = "sysctl.write"
    group: ClassVar[str] = _GROUP

    name: str
    value: str

    def what(self) -> str:
        return self.name

    def why(self) -> str:
        return "A setting of the container's own network or ipc namespace; the host's stays as it is."

    def shell(self) -> str:
        return f"sysctl -w {self.name}={self.value}"

    def ahead(self) -> bool:
        return True

    def run(self, context: Context) -> None:
        # The host's /proc/sys is the one in sight; what a namespace owns is answered for the writer's own.
        with open(f"/proc/sys/{sysctl_path(self.name)}", "w") as file:
            file.write(self.value)
