"""Operations on control groups: make, limit, join, show."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from typing import ClassVar

from corten.runtime.operations.files import BindMount
from corten.runtime.operations.options import parse
from corten.runtime.operations.paths import link, opened, target
from corten.spec.operation import HOST, INIT, Context, Operation, operation
from corten.sys import mounts
from corten.sys.mounts import mount

_LIMITS = "limits"
_DEVICES_WHY = "Root in a container could make a node of the host's disk; the kernel refuses to open it."


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class CgroupCreate(Operation):
    """Make one directory of the container's group; it goes when the container has ended."""

    kind: ClassVar[str] = "cgroup.create"
    stage: ClassVar[str] = HOST
    group: ClassVar[str] = _LIMITS

    mount: str
    path: str
    inherit: tuple[str, ...] = ()
    """Files that v1's cpuset leaves empty in a new group, copied from the parent at each level."""
    delegate: tuple[str, ...] = ()
    """Controllers that v2 must enable at each level above."""

    def what(self) -> str:
        return f"{self.mount}/{self.path}"

    def why(self) -> str:
        return "A control group counts what the container's processes use, and is where limits on it are set."

    def shell(self) -> str:
        return f"mkdir -p {self.what()}"

    def ahead(self) -> bool:
        return True

    def run(self, context: Context) -> None:
        # The usual case: everything above stands as it must, and one system call makes the group.
        try:
            _make(self.what())
        except FileNotFoundError:
            self._make_all()
        else:
            if not self._is_whole():
                self._make_all()

    def _is_whole(self) -> bool:
        """Whether the group has what it must have from those above it."""
        if self.delegate:
            with open(f"{self.what()}/cgroup.controllers") as file:
                present = file.read().split()
            with open(f"{self.mount}/cgroup.controllers") as file:
                return all(name in present for name in file.read().split() if name in self.delegate)
        return not any(_is_empty(f"{self.what()}/{file}") for file in self.inherit)

    def _make_all(self) -> None:
        at = self.mount
        for name in self.path.split("/"):
            above, at = at, f"{at}/{name}"
            if self.delegate:
                enable(above, self.delegate)
            _make(at)
            for file in self.inherit:
                if _is_empty(f"{at}/{file}"):
                    _copy(f"{above}/{file}", f"{at}/{file}")
            if self.inherit and at != self.what():
                # Those below get the files from the kernel: a write costs 4 ms, it rebuilds scheduling domains.
                write(f"{at}/cgroup.clone_children", "1")

    def undo(self, context: Context) -> None:
        remove_groups(self.what())


def _make(path: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o755)


def _is_empty(path: str) -> bool:
    with open(path) as file:
        return not file.read().strip()


def _copy(source: str, target: str) -> None:
    with open(source) as file:
        write(target, file.read().strip())


def remove_groups(path: str) -> bool:
    """Remove a group and those below it, however deep; False while one has processes."""
    groups = [path]
    try:
        with contextlib.suppress(OSError):  # the usual case: nothing is below, nobody is inside
            os.rmdir(path)
            return True
        for group in groups:  # which grows meanwhile
            groups += [entry.path for entry in os.scandir(group) if entry.is_dir()]
    except FileNotFoundError:
        return True
    except OSError:
        return False
    gone = True
    for group in reversed(groups):
        try:
            os.rmdir(group)
        except FileNotFoundError:
            continue
        except OSError:  # those beside it may go all the same
            gone = False
    return gone


def enable(directory: str, controllers: tuple[str, ...]) -> None:
    """Hand controllers down to the groups below ``directory`` (cgroup v2). What it does not have is left out: the
    limit that needs it says so when it is written."""
    with open(f"{directory}/cgroup.controllers") as file:
        present = file.read().split()
    with open(f"{directory}/cgroup.subtree_control") as file:
        done = file.read().split()
    wanted = [f"+{name}" for name in controllers if name in present and name not in done]
    if wanted:
        write(f"{directory}/cgroup.subtree_control", " ".join(wanted))


def write(path: str, value: str) -> None:
    """One write(2): the kernel takes a value whole, or says why not."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class CgroupWrite(Operation):
    """Set one limit."""

    kind: ClassVar[str] = "cgroup.write"
    stage: ClassVar[str] = HOST
    group: ClassVar[str] = _LIMITS
    poises: ClassVar[bool] = True

    path: str
    value: str
    reason: str
    optional: bool = False
    """A kernel without this file (swap accounting) has nothing to limit, and Docker warned of it at create."""

    def what(self) -> str:
        return self.path

    def why(self) -> str:
        return self.reason

    def shell(self) -> str:
        return f"echo '{self.value}' > {self.path}"

    def run(self, context: Context) -> None:
        try:
            write(self.path, self.value)
        except FileNotFoundError:
            if not self.optional:
                raise


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class CgroupRealtime(Operation):
    """Give the group a share of the processors for its real-time processes (cgroup v1); microseconds."""

    kind: ClassVar[str] = "cgroup.realtime"
    stage: ClassVar[str] = HOST
    group: ClassVar[str] = _LIMITS

    mount: str
    path: str
    period: int | None
    runtime: int | None

    def what(self) -> str:
        return f"{self.mount}/{self.path}/cpu.rt_runtime_us"

    def why(self) -> str:
        return "A group has no real-time processes unless it has time for them; those above it are given as much more."

    def shell(self) -> str:
        files = {"rt_period": self.period, "rt_runtime": self.runtime}
        group = f"{self.mount}/{self.path}"
        return " && ".join(f"echo {value} > {group}/cpu.{name}_us" for name, value in files.items() if value)

    def run(self, context: Context) -> None:
        from corten.runtime.cgroups.realtime import give

        give(self.mount, self.path, self.period, self.runtime)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class CgroupDeviceRules(Operation):
    """Say which device nodes may be used (cgroup v1): rules for the files ``devices.allow`` and ``devices.deny``."""

    kind: ClassVar[str] = "cgroup.devices"
    stage: ClassVar[str] = HOST
    group: ClassVar[str] = _LIMITS
    poises: ClassVar[bool] = True

    path: str
    rules: tuple[tuple[str, str], ...]
    """(file, rule), in their order; the kernel takes one a write."""

    def what(self) -> str:
        return self.path

    def why(self) -> str:
        return _DEVICES_WHY

    def shell(self) -> str:
        return f"cd {self.path} && " + " && ".join(f"echo '{rule}' > {file}" for file, rule in self.rules)

    def run(self, context: Context) -> None:
        for file, rule in self.rules:
            write(f"{self.path}/{file}", rule)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class CgroupDeviceFilter(Operation):
    """Say which device nodes may be used (cgroup v2: a program in the kernel decides)."""

    kind: ClassVar[str] = "cgroup.device-filter"
    stage: ClassVar[str] = HOST
    group: ClassVar[str] = _LIMITS
    poises: ClassVar[bool] = True

    path: str
    rules: tuple[tuple[bool, str, int, int, str], ...]

    def what(self) -> str:
        return self.path

    def why(self) -> str:
        return _DEVICES_WHY

    def shell(self) -> str:
        return f"# attach a BPF_CGROUP_DEVICE program of {len(self.rules)} rules to {self.path}"

    def run(self, context: Context) -> None:
        from corten.sys.bpf import attach_device_filter
        from corten.wire.ebpf import device_filter

        attach_device_filter(self.path, device_filter(self.rules))


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class CgroupJoin(Operation):
    """Put the container's init, and with it all that it starts, into the group."""

    kind: ClassVar[str] = "cgroup.join"
    stage: ClassVar[str] = INIT
    group: ClassVar[str] = _LIMITS

    files: tuple[str, ...]

    def what(self) -> str:
        return self.files[0] if self.files else "no group"

    def why(self) -> str:
        return "From here on, everything that this process and its children use is counted and limited."

    def shell(self) -> str:
        return " && ".join(f"echo 0 > {file}" for file in self.files) or "# no control group"

    def ahead(self) -> bool:
        return True

    def run(self, context: Context) -> None:
        for file in self.files:
            try:
                write(file, "0")
            except OSError as error:
                if error.errno == errno.ENOSPC:  # cpuset without cpus: say which file
                    raise OSError(error.errno, "no cpus or memory nodes in the group", file) from error
                raise


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class CgroupMounts(Operation):
    """Show the container its control groups."""

    kind: ClassVar[str] = "mount.cgroup"
    group: ClassVar[str] = "file system"

    target: str
    controllers: tuple[tuple[str, str], ...]
    """(name of the directory, options of the mount) of version 1; none is version 2."""
    options: tuple[str, ...]
    groups: tuple[str, ...] = ()
    """Of version 1 without a cgroup namespace: the container's own group in each, shown instead of the whole tree."""

    def what(self) -> str:
        return self.target

    def why(self) -> str:
        return "Runtimes in the container (a JVM, Go) read their limits here."

    def shell(self) -> str:
        if not self.controllers:
            return f'mount -t cgroup2 cgroup -o {",".join(self.options)} "$ROOT{self.target}"'
        lines = [f'mount -t tmpfs tmpfs "$ROOT{self.target}"']
        for index, (name, data) in enumerate(self.controllers):
            how = f"--bind {self.groups[index]}" if self.groups else f"-t cgroup cgroup -o {data}"
            lines.append(f'mkdir "$ROOT{self.target}/{name}" && mount {how} "$ROOT{self.target}/{name}"')
        return " && ".join(lines)

    def ahead(self) -> bool:
        return not self.groups

    def places(self) -> tuple[str, ...]:
        return (self.target,)

    def sources(self) -> tuple[tuple[str, bool], ...]:
        recursive = parse(self.options, "bind").recursive
        return tuple((group, recursive) for group in self.groups)

    def run(self, context: Context) -> None:
        options = parse(self.options)
        with target(context.root, self.target, directory=True, plain=True) as place:
            if not self.controllers:
                mount("cgroup", link(place), "cgroup2", options.flags)
                return
            flags = options.flags & ~mounts.MS_RDONLY
            mount("tmpfs", link(place), "tmpfs", flags, "mode=755")
        with opened(context.root, self.target, plain=True) as top:
            for index, (name, data) in enumerate(self.controllers):
                os.mkdir(name, 0o755, dir_fd=top)
                if not self.groups:
                    mount("cgroup", f"{link(top)}/{name}", "cgroup", options.flags, data)
                for alias in data.split(","):
                    if alias != name:
                        os.symlink(name, alias, dir_fd=top)
                if self.groups:
                    BindMount(self.groups[index], f"{self.target}/{name}", self.options).run(context)
            if options.flags & mounts.MS_RDONLY:
                mounts.set_attributes(top, mounts.MOUNT_ATTR_RDONLY, recursive=False)
