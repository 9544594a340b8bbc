"""The machine's disk and initial RAM file system. The disk of one that is like this machine is made from what is
here: no network, no root."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.vm.kernel import Kernel, plain_module

PROJECT = Path(__file__).resolve().parents[2]
BUSYBOX = Path("/bin/busybox")
_TOOLS = ("ip", "nft", "mount", "umount", "unshare", "nsenter", "ps")
_UNUSED_LIBRARY = ("site-packages", "dist-packages", "test", "idlelib", "ensurepip", "lib2to3", "config-*")
_UNUSED_PACKAGES = ("mypy", "mypyc", "pip", "grimp")
_DIRECTORIES = ("bin", "dev", "etc", "proc", "root", "run", "sbin", "sys", "tmp", "var/lib", "usr/bin")

# /init of the RAM file system: insert what the disk needs, then start from the disk.
_EARLY = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
for module in {modules}; do /bin/busybox insmod /$module; done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /init
"""

_INIT = """#!/bin/busybox sh
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc none /proc
mount -t sysfs none /sys
mount -t securityfs none /sys/kernel/security
mount -t cgroup2 none /sys/fs/cgroup
mount -t devtmpfs none /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 none /dev/pts
mount -t tmpfs none /dev/shm
mount -t tmpfs none /run
ln -s /proc/self/fd /dev/fd
ip link set lo up
cd {project}
{command} < /dev/null
echo "{marker} $?"
poweroff -f
"""


def make_initramfs(kernel: Kernel, scratch: Path, busybox: Path) -> Path:
    """A cpio archive of the machine's busybox and the modules that reach the disk."""
    root = scratch / "initramfs"
    for name in ("bin", "dev", "root"):
        (root / name).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/busybox")
    order = kernel.load_order("virtio_pci", "virtio_blk", "ext4")
    for path in order:
        (root / path.name).write_bytes(plain_module(path))
    _script(root / "init", _EARLY.format(modules=" ".join(path.name for path in order)))
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    archive = scratch / "initramfs.cpio"
    with archive.open("wb") as output:
        cpio = [str(BUSYBOX), "cpio", "-o", "-H", "newc"]
        subprocess.run(
            cpio, cwd=root, input=names.encode(), stdout=output, stderr=subprocess.DEVNULL, check=True
        )
    return archive


def make_tree(root: Path, kernel: Kernel, tools: Sequence[Path]) -> None:
    """This Python and a few tools of this machine. ``tools`` are further programs, for /sbin, that stand alone."""
    for name in _DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    _copy_python(root)
    _copy_tools(root)
    for tool in tools:
        shutil.copy(tool, root / "sbin" / tool.name)
    shutil.copytree(kernel.modules, root / f"lib/modules/{kernel.release}", symlinks=True)


def make_disk(root: Path, scratch: Path, command: str, marker: str) -> Path:
    """An ext4 image of a tree with Python and busybox, and this project; its init runs ``command``."""
    for name in _DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
    _script(root / "init", _INIT.format(project=PROJECT, command=command, marker=marker))
    _copy_project(root)
    _link_applets(root)
    for name, line in (("passwd", "root:x:0:0:root:/root:/bin/sh"), ("group", "root:x:0:")):
        (root / "etc" / name).unlink(missing_ok=True)  # it may be another tree's as well
        (root / "etc" / name).write_text(f"{line}\n")
    image = scratch / "disk.ext4"
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-d", root, image, "3G"],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PATH": search_path()},
    )
    return image


def search_path() -> str:
    """PATH, with the directories that hold mke2fs and depmod also for ordinary users."""
    return os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _inside(root: Path, path: Path | str) -> Path:
    """The same absolute path below ``root``, its directory made."""
    target = root / str(path).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _copy_python(root: Path) -> None:
    """The interpreter, its library and the virtual environment, at their own paths."""
    library = Path(sysconfig.get_path("stdlib"))
    packages = Path(sysconfig.get_path("purelib"))
    for tree, unused in ((library, _UNUSED_LIBRARY), (packages, _UNUSED_PACKAGES)):
        ignored = shutil.ignore_patterns(*unused)
        shutil.copytree(tree, _inside(root, tree), ignore=ignored, dirs_exist_ok=True, symlinks=True)
    binary = Path(os.path.realpath(sys.executable))
    extensions = (path for tree in (library, packages) for path in _inside(root, tree).rglob("*.so*"))
    _copy_with_libraries(root, [binary, *(Path("/") / path.relative_to(root) for path in extensions)])
    for link in {sys.executable, str(Path(sys.prefix) / "bin/python")}:
        _link(root, Path(link), binary)
    configuration = Path(sys.prefix) / "pyvenv.cfg"
    if configuration.exists():
        shutil.copy(configuration, _inside(root, configuration))


def _link(root: Path, path: Path, target: Path) -> None:
    inside = _inside(root, path)
    if path != target and not inside.exists():
        inside.symlink_to(target)


def _copy_project(root: Path) -> None:
    for name in ("src", "tests", "scripts"):
        shutil.copytree(PROJECT / name, _inside(root, PROJECT / name), dirs_exist_ok=True)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, _inside(root, PROJECT / name))


def _link_applets(root: Path) -> None:
    """busybox under all its names but those of real tools."""
    listing = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    for name in set(listing.stdout.split()) - {"busybox", "sh"}:
        if not any(os.path.lexists(root / directory / name) for directory in ("bin", "sbin", "usr/bin", "usr/sbin")):
            (root / "sbin" / name).symlink_to("/bin/busybox")
    (root / "bin/sh").unlink(missing_ok=True)
    (root / "bin/sh").symlink_to("busybox")


def _copy_tools(root: Path) -> None:
    """The real tools of this machine."""
    found = [shutil.which(name, path=search_path()) for name in _TOOLS]
    _copy_with_libraries(root, [Path(os.path.realpath(path)) for path in found if path])
    for path in filter(None, found):
        _link(root, root / "usr/bin" / Path(path).name, Path(os.path.realpath(path)))


def _copy_with_libraries(root: Path, files: Iterable[Path]) -> None:
    """Copy ELF files, and every shared library that they load, to their own paths."""
    wanted = list(dict.fromkeys(files))
    listing = subprocess.run(["ldd", *wanted], capture_output=True, text=True, check=False).stdout
    libraries = [Path(path) for path in re.findall(r"(?:=> |^\s)(/\S+) \(0x", listing, re.MULTILINE)]
    for path in dict.fromkeys((*wanted, *libraries)):
        target = _inside(root, path)
        if not target.exists():
            shutil.copy(path, target)
