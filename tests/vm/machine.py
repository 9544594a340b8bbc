"""Boot it, show what it says, and learn how it ended."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.vm import disk, foreign, kernel

PROJECT = disk.PROJECT
CACHE = PROJECT / ".cache/vm"
_MARKER = "corten-vm exit status"
_QEMU = (
    "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "3G",
    "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
)  # fmt: skip
_KERNEL = "quiet loglevel=3 panic=-1 cgroup_no_v1=all random.trust_cpu=on mitigations=off"
_OWN = ("qemu-system-x86_64", *_QEMU, "-append", f"console=ttyS0 {_KERNEL}")
_FOREIGN = ("qemu-system-aarch64", "-machine", "virt", *_QEMU, "-append", f"console=ttyAMA0 {_KERNEL}")


class NoVerdict(Exception):
    """The machine ended, or was ended, before its command told an exit status."""


def problem(*, aarch64: bool = False) -> str:
    """Why no machine can be booted here; '' when one can."""
    if aarch64 and (lacking := foreign.problem()):
        return lacking
    if platform.machine() != "x86_64":
        return f"the machine's kernel is Debian's for x86-64, and this is {platform.machine()}"
    needed = {
        "qemu-system-x86_64": "qemu-system-x86",
        "apt-get": "apt",
        "dpkg-deb": "dpkg",
        "ldd": "libc-bin",
    }
    missing = [package for tool, package in needed.items() if not shutil.which(tool)]
    missing += [] if shutil.which("mke2fs", path=disk.search_path()) else ["e2fsprogs"]
    missing += [] if disk.BUSYBOX.exists() else ["busybox-static"]
    return f"not installed: {' '.join(missing)}" if missing else ""


def run(arguments: Sequence[str], *, seconds: float, aarch64: bool = False) -> int:
    """Run Python with these arguments in a fresh machine, its output on ours as it comes. Its exit status. Raises
    NoVerdict."""
    with tempfile.TemporaryDirectory(prefix="corten-vm-") as directory:
        scratch = Path(directory)
        tree = scratch / "disk"
        if aarch64:
            qemu, python, linux = _FOREIGN, "/usr/bin/python3", foreign.fetch(PROJECT, CACHE)
            shutil.copytree(linux.root, tree, symlinks=True, copy_function=os.link)
            busybox = tree / "bin/busybox"
        else:
            qemu, python, linux, busybox = _OWN, sys.executable, kernel.fetch(CACHE), disk.BUSYBOX
            disk.make_tree(tree, linux, [kernel.unpacked("apparmor", CACHE) / "sbin/apparmor_parser"])
        initramfs = disk.make_initramfs(linux, scratch, busybox)
        image = disk.make_disk(tree, scratch, shlex.join([python, *arguments]), _MARKER)
        drive = f"file={image},if=virtio,format=raw,cache=unsafe"
        argv = [*qemu, "-kernel", str(linux.image), "-initrd", str(initramfs), "-drive", drive]
        return _boot(argv, seconds)


def _boot(argv: Sequence[str], seconds: float) -> int:
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine:
        assert machine.stdout is not None
        overdue = threading.Timer(seconds, machine.kill)
        overdue.start()
        try:
            return _follow(machine.stdout)
        finally:
            overdue.cancel()
            machine.kill()


def _follow(console: Iterable[bytes]) -> int:
    for line in console:
        text = line.decode(errors="replace").rstrip("\r\n")
        if text.startswith(_MARKER):
            return int(text.removeprefix(_MARKER))
        print(text, flush=True)
    raise NoVerdict("the machine ended without a word of how its command did")
