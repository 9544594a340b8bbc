"""The disk of an aarch64 machine, made of Debian's packages and PyPI's wheels: nothing of this machine's runs there."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.vm.kernel import Kernel, index_modules

_PACKAGES = (
    "linux-image-cloud-arm64", "python3", "busybox-static", "iproute2", "nftables", "util-linux", "mount", "procps",
    "passwd", "apparmor",
)  # fmt: skip
_FURTHER = ("pytest", "pytest-timeout", "hypothesis", "dnspython", "jsonschema", "PyYAML", "docker")
"""Of the project's extra ``test``, what the tests that run there import."""
_UNUSED = (
    "./dev/*", "./usr/share/doc", "./usr/share/locale", "./usr/share/man", "./boot/System.map*",
    "./bin/kmod", "./bin/lsmod", *(f"./sbin/{name}" for name in ("depmod", "insmod", "lsmod", "modprobe", "rmmod")),
)  # fmt: skip
"""busybox's reads an index of modules that either depmod writes."""


def problem() -> str:
    """Why no such disk can be made here; '' when one can."""
    missing = [tool for tool in ("mmdebstrap", "qemu-system-aarch64") if not shutil.which(tool)]
    return f"not installed: {' '.join(missing)} (packages mmdebstrap, qemu-system-arm)" if missing else ""


def fetch(project: Path, cache: Path) -> Kernel:
    """The tree of the disk, with its kernel, from the cache or made. Raises CalledProcessError."""
    target = cache / "aarch64"
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            root = Path(scratch) / "root"
            _unpack(root, Path(scratch) / "root.tar")
            index_modules(root)
            _install(project, root)
            os.rename(root, target)
    [release] = os.listdir(target / "lib/modules")
    return Kernel(target, release)


def _unpack(root: Path, archive: Path) -> None:
    """Packages, unpacked: none of their scripts, which are for another machine, is run."""
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    options = ["--quiet", "--variant=extract", "--architectures=arm64", f"--include={','.join(_PACKAGES)}"]
    subprocess.run(["mmdebstrap", *options, suite, archive, "http://deb.debian.org/debian"], check=True)
    root.mkdir()
    unused = [f"--exclude={pattern}" for pattern in _UNUSED]
    subprocess.run(["tar", "-xpf", archive, "-C", root, *unused], check=True)


def _install(project: Path, root: Path) -> None:
    """What the project and its tests need of PyPI, for that machine and its Python."""
    declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    wanted = [*declared["dependencies"], *(
        one for one in declared["optional-dependencies"]["test"] if one.startswith(_FURTHER)
    )]  # fmt: skip
    [library] = (root / "usr/lib").glob("python3.*")
    version = library.name.removeprefix("python")
    platforms = [f"--platform=manylinux_{glibc}_aarch64" for glibc in ("2_17", "2_28", "2_34")]
    options = ["--quiet", "--only-binary=:all:", f"--python-version={version}", *platforms]
    target = root / f"usr/local/lib/python{version}/dist-packages"
    subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", target, *wanted], check=True)
    (target / "corten.pth").write_text(f"{project}/src\n")
