"""Operations that fill the root: mounts, device nodes, what is hidden and what is read-only."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from typing import ClassVar

from corten.errors import CortenError, InvalidInput
from corten.runtime.operations.options import parse
from corten.runtime.operations.paths import exists, link, opened, resolved, target
from corten.spec.operation import Context, Operation, operation
from corten.spec.runtime import WITHIN
from corten.sys import mounts
from corten.sys.mounts import mount
from corten.sys.terminal import peer

_GROUP = "file system"
_DEVICES = "devices"
_PLAIN = ("proc", "sysfs")
"""Mounts whose place must be a real directory: a symlink there would let an image choose what is mounted over."""
_HIDDEN = (
    "in a user namespace the kernel allows it only where the host's own is wholly visible; inside another container "
    "parts of it are hidden"
)
_OVER_PROC = (
    "cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime", "sys/kernel/ns_last_pid",
)  # fmt: skip
"""What may be mounted over inside /proc: figures that lxcfs answers for one container."""

_REASONS = {
    "proc": "Shows the processes of the container's own pid namespace: ps and top read it.",
    "sysfs": "Shows the kernel's devices and, in net/, the container's own interfaces.",
    "devpts": "Pseudo-terminals of the container's own.",
    "mqueue": "POSIX message queues of the container's ipc namespace.",
    "tmpfs": "Memory that looks like a directory, gone with the container.",
}


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Mount(Operation):
    """Mount a file system of the kernel's."""

    kind: ClassVar[str] = "mount"
    group: ClassVar[str] = _GROUP

    type: str
    source: str
    target: str
    options: tuple[str, ...] = ()

    def what(self) -> str:
        return self.target

    def why(self) -> str:
        return _REASONS.get(self.type, f"Asked for: a {self.type} file system.")

    def shell(self) -> str:
        options = f" -o {','.join(self.options)}" if self.options else ""
        return f'mount -t {self.type} {self.source}{options} "$ROOT{self.target}"'

    def ahead(self) -> bool:
        # A tmpfs elsewhere is one container's own wish, and without a mode takes that of the image's directory.
        return self.type in _REASONS and (self.type != "tmpfs" or f"{self.target}/".startswith("/dev/"))

    def places(self) -> tuple[str, ...]:
        return (self.target,)

    def place(self, root: int) -> contextlib.AbstractContextManager[int]:
        """The mount point inside ``root``, made where it is missing."""
        return target(root, self.target, directory=True, plain=self.type in _PLAIN)

    def run(self, context: Context) -> None:
        options = parse(self.options)
        plain = self.type in _PLAIN
        was_there = exists(context.root, self.target, plain=plain)
        with self.place(context.root) as place:
            data = options.data
            if self.type == "tmpfs" and was_there and "mode=" not in data:  # /run stays as open as the image has it
                data = ",".join(filter(None, (data, f"mode={stat.S_IMODE(os.fstat(place).st_mode):o}")))
            if not plain:
                _spare_proc(context, place)
            try:
                mount(self.source, link(place), self.type, options.flags, data)
            except PermissionError as error:
                if not plain:
                    raise
                raise CortenError("operation not permitted", hint=_HIDDEN) from error
        if options.propagation:
            with opened(context.root, self.target) as mounted:
                mount("", link(mounted), flags=options.propagation)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class BindMount(Operation):
    """Show a file or directory of the host inside the container."""

    kind: ClassVar[str] = "mount.bind"
    group: ClassVar[str] = _GROUP

    source: str
    target: str
    options: tuple[str, ...] = ()

    def what(self) -> str:
        return f"{self._path} at {self.target}"

    @property
    def _path(self) -> str:
        """The source as it is told: what is looked up inside of what."""
        return self.source.replace(WITHIN, "/")

    def why(self) -> str:
        if self.target in ("/etc/hosts", "/etc/hostname", "/etc/resolv.conf"):
            return "Written by the engine for this container; the image's own file would not know its name or address."
        return "A volume or a directory of the host, the same files seen from two places."

    def shell(self) -> str:
        options = parse(self.options, "bind")
        read_only = options.flags & mounts.MS_RDONLY
        place = f'"$ROOT{self.target}"'
        again = f" && mount -o remount,bind,ro {place}" if read_only else ""
        return f"mount --{'rbind' if options.recursive else 'bind'} {self._path} {place}{again}"

    def places(self) -> tuple[str, ...]:
        return (self.target,)

    def sources(self) -> tuple[tuple[str, bool], ...]:
        return ((self.source, parse(self.options, "bind").recursive),)

    def foreseen(self, own: str) -> bool:
        return self.source.startswith(f"{own}/")

    def rehearse(self, context: Context) -> None:
        os.close(context.source("/", recursive=parse(self.options, "bind").recursive))
        with target(context.root, "/proc", directory=True):
            return

    def run(self, context: Context) -> None:
        options = parse(self.options, "bind")
        opened_before = context.trees.pop(self.target, -1)
        tree = opened_before if opened_before >= 0 else context.source(self.source, recursive=options.recursive)
        try:
            directory = stat.S_ISDIR(os.fstat(tree).st_mode)
            if options.attributes():
                mounts.set_attributes(tree, options.attributes(), recursive=False)
            if options.recursive_attributes:
                mounts.set_attributes(tree, options.recursive_attributes, recursive=True)
            with target(context.root, self.target, directory=directory) as place:
                if self.source != "/proc":
                    _spare_proc(context, place)
                mounts.move_mount(tree, place)
        finally:
            os.close(tree)
        if options.propagation:
            with opened(context.root, self.target) as mounted:
                mount("", link(mounted), flags=options.propagation)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class OpenShared(Operation):
    """Open a directory whose mounts are to be shared with the host, before the ties to it are cut.

    The copy stays in its peer group (mount_namespaces(7)), and is all that does: whatever else is mounted here
    stays here.
    """

    kind: ClassVar[str] = "mount.open-shared"
    group: ClassVar[str] = _GROUP
    of_host: ClassVar[bool] = True

    source: str
    target: str
    recursive: bool

    def what(self) -> str:
        return self.source

    def why(self) -> str:
        return "Asked for: what is mounted below it, inside or outside, appears on both sides."

    def shell(self) -> str:
        return f"# keep {self.source} open as it is: the next step makes every other mount private"

    def run(self, context: Context) -> None:
        context.trees[self.target] = context.source(self.source, recursive=self.recursive)


def _spare_proc(context: Context, place: int) -> None:
    """Refuse a mount over /proc: what is written there by name would go to files of the image (CVE-2019-16884)."""
    name = resolved(context.root, place)
    if f"{name}/".startswith("/proc/") and name.removeprefix("/proc/") not in _OVER_PROC:
        raise InvalidInput(f"{name} is inside /proc, which nothing is mounted over")


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class DeviceNodes(Operation):
    """Make the devices that every program expects, and those that were asked for."""

    kind: ClassVar[str] = "device.nodes"
    group: ClassVar[str] = _DEVICES

    nodes: tuple[tuple[str, str, int, int, int, int, int], ...]
    """(path, c|b|p, major, minor, mode, uid, gid)"""
    bind: bool = False
    """Show the host's nodes instead: in a user namespace, mknod(2) is not allowed."""

    def what(self) -> str:
        return " ".join(node[0] for node in self.nodes)

    def why(self) -> str:
        return "An empty /dev would fail nearly every program; no disk and no memory of the host is among these."

    def shell(self) -> str:
        lines = []
        for path, kind, major, minor, mode, _, _ in self.nodes:
            if self.bind:
                lines.append(f'touch "$ROOT{path}" && mount --bind {path} "$ROOT{path}"')
            else:
                lines.append(f'mknod -m {mode:o} "$ROOT{path}" {kind} {major} {minor}')
        return " && ".join(lines)

    def ahead(self) -> bool:
        return True

    def places(self) -> tuple[str, ...]:
        return tuple(node[0] for node in self.nodes)

    def sources(self) -> tuple[tuple[str, bool], ...]:
        return tuple((node[0], False) for node in self.nodes if self.bind)

    def run(self, context: Context) -> None:
        for node in self.nodes:
            if self.bind:
                BindMount(node[0], node[0]).run(context)
            else:
                self._make(context, *node)

    def _make(
        self, context: Context, path: str, kind: str, major: int, minor: int, mode: int, uid: int, gid: int
    ) -> None:
        directory, _, name = path.rpartition("/")
        file_type = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}[kind]
        with target(context.root, directory or "/", directory=True) as above:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=above)
            umask = os.umask(0)  # the mode is to be exact, and a later chmod could be led astray by a link
            try:
                os.mknod(name, file_type | mode, os.makedev(major, minor), dir_fd=above)
            finally:
                os.umask(umask)
            if uid or gid:
                os.chown(name, uid, gid, dir_fd=above, follow_symlinks=False)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class DeviceLinks(Operation):
    """The symbolic links of /dev."""

    kind: ClassVar[str] = "device.links"
    group: ClassVar[str] = _DEVICES

    links: tuple[tuple[str, str], ...] = (
        ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx"), ("core", "/proc/kcore"),
    )  # fmt: skip

    def what(self) -> str:
        return " ".join(f"/dev/{name}" for name, _ in self.links)

    def why(self) -> str:
        return "Names that shells and programs use for what they were started with."

    def shell(self) -> str:
        return " && ".join(f'ln -s {to} "$ROOT/dev/{name}"' for name, to in self.links)

    def ahead(self) -> bool:
        return True

    def places(self) -> tuple[str, ...]:
        return ("/dev",)

    def run(self, context: Context) -> None:
        with opened(context.root, "/dev") as dev:
            for name, to in self.links:
                with contextlib.suppress(FileExistsError):
                    os.symlink(to, name, dir_fd=dev)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class Console(Operation):
    """Open a terminal in the container's own devpts, and show it as /dev/console."""

    kind: ClassVar[str] = "device.console"
    group: ClassVar[str] = _DEVICES

    def what(self) -> str:
        return "/dev/console"

    def why(self) -> str:
        return "The terminal is the container's own; its other end goes to the monitor, which speaks to the client."

    def shell(self) -> str:
        return '# script -q /dev/null; touch "$ROOT/dev/console" && mount --bind "$(tty)" "$ROOT/dev/console"'

    def run(self, context: Context) -> None:
        with opened(context.root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY) as ptmx:
            context.console(os.dup(ptmx), peer(ptmx))
        with target(context.root, "/dev/console", directory=False) as place:
            mount(link(context.terminal), link(place), flags=mounts.MS_BIND)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class OpenTerminal(Operation):
    """Open a terminal in the devpts of the container that was entered."""

    kind: ClassVar[str] = "device.terminal"
    group: ClassVar[str] = _DEVICES

    def what(self) -> str:
        return "/dev/pts/ptmx"

    def why(self) -> str:
        return "The terminal is the container's own; its other end goes to the monitor, which speaks to the client."

    def shell(self) -> str:
        return "script -q /dev/null"

    def run(self, context: Context) -> None:
        root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with opened(root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY) as ptmx:
                context.console(os.dup(ptmx), peer(ptmx))
        finally:
            os.close(root)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class MaskPaths(Operation):
    """Hide files and directories of /proc and /sys that tell of the host, or change it."""

    kind: ClassVar[str] = "mount.mask"
    group: ClassVar[str] = _GROUP
    of_host: ClassVar[bool] = True

    paths: tuple[str, ...]

    def what(self) -> str:
        return " ".join(self.paths)

    def why(self) -> str:
        return "These are the whole machine's, not the container's: memory, keys, timers, firmware."

    def shell(self) -> str:
        return (
            f'for path in {self.what()}; do mount --bind /dev/null "$ROOT$path" || '
            f'mount -t tmpfs -o ro tmpfs "$ROOT$path"; done'
        )

    def ahead(self) -> bool:
        return True

    def places(self) -> tuple[str, ...]:
        return self.paths

    def run(self, context: Context) -> None:
        # The host's own /dev/null: the container's could be anything (CVE-2025-31133). Read-only, or root in here
        # could change the mode of the host's file; a device is written to all the same.
        null = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
        try:
            for path in self.paths:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    self._mask(context, path, null)
        finally:
            os.close(null)

    def _mask(self, context: Context, path: str, null: int) -> None:
        with opened(context.root, path) as place:
            if stat.S_ISDIR(os.fstat(place).st_mode):
                mount("tmpfs", link(place), "tmpfs", mounts.MS_RDONLY, "nr_blocks=1,nr_inodes=1")
            else:
                _attach(null, place, mounts.MOUNT_ATTR_RDONLY | mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NOEXEC)


def _attach(source: int, place: int, attributes: int, *, recursive: bool = False) -> None:
    """Show what is at one descriptor at another, too."""
    tree = mounts.open_tree(source, recursive=recursive)
    try:
        mounts.set_attributes(tree, attributes, recursive=recursive)
        mounts.move_mount(tree, place)
    finally:
        os.close(tree)


@operation
@dataclasses.dataclass(frozen=True, slots=True)
class ReadOnlyPaths(Operation):
    """Make parts of /proc and /sys read-only."""

    kind: ClassVar[str] = "mount.read-only"
    group: ClassVar[str] = _GROUP

    paths: tuple[str, ...]

    def what(self) -> str:
        return " ".join(self.paths)

    def why(self) -> str:
        return "Settings of the whole machine may be read, not written."

    def shell(self) -> str:
        return (
            f'for path in {self.what()}; do mount --rbind "$ROOT$path" "$ROOT$path" && '
            f'mount -o remount,bind,ro "$ROOT$path"; done'
        )

    def ahead(self) -> bool:
        return True

    def places(self) -> tuple[str, ...]:
        return self.paths

    def run(self, context: Context) -> None:
        for path in self.paths:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._protect(context, path)

    def _protect(self, context: Context, path: str) -> None:
        with opened(context.root, path) as place:
            _attach(place, place, mounts.MOUNT_ATTR_RDONLY, recursive=True)
