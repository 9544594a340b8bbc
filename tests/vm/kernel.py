"""Debian's packages, the cloud kernel among them: downloaded and unpacked, never installed."""

from __future__ import annotations

import dataclasses
import lzma
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

_PACKAGE = "linux-image-cloud-amd64"


@dataclasses.dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel package."""

    root: Path
    release: str

    @property
    def image(self) -> Path:
        """The bootable file."""
        return self.root / f"boot/vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        """Its modules, with the indexes that modprobe reads."""
        return self.root / f"lib/modules/{self.release}"

    def load_order(self, *names: str) -> list[Path]:
        """The module files to insert, in order, for some modules by name. Raises KeyError."""
        needs = dict(_dependency(line) for line in (self.modules / "modules.dep").read_text().splitlines())
        by_name = {_name(path): path for path in needs}
        order: list[Path] = []
        for path in (by_name[name] for name in names if name not in self._built_in()):
            order += [self.modules / each for each in (*reversed(needs[path]), path)]
        return list(dict.fromkeys(order))

    def _built_in(self) -> set[str]:
        return {_name(path) for path in (self.modules / "modules.builtin").read_text().split()}


def _name(path: str) -> str:
    return Path(path).name.partition(".")[0].replace("-", "_")


def _dependency(line: str) -> tuple[str, list[str]]:
    module, _, needed = line.partition(":")
    return module, needed.split()


def plain_module(path: Path) -> bytes:
    """A module's ELF bytes; newer Debian releases compress them with xz."""
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def fetch(cache: Path) -> Kernel:
    """The newest package's kernel, from the cache or downloaded. Raises LookupError, CalledProcessError."""
    target = unpacked(_real_package(), cache, index_modules)
    [release] = os.listdir(target / "lib/modules")
    return Kernel(target, release)


def unpacked(package: str, cache: Path, finish: Callable[[Path], object] = lambda _: None) -> Path:
    """The directory of a package's files, from the cache or downloaded. Raises CalledProcessError."""
    target = cache / package
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _download(package, Path(scratch))
            finish(Path(scratch) / "root")
            os.rename(Path(scratch) / "root", target)
    return target


def _real_package() -> str:
    listing = subprocess.run(["apt-cache", "depends", _PACKAGE], capture_output=True, text=True, check=True)
    for line in listing.stdout.splitlines():
        if line.strip().startswith("Depends: linux-image-"):
            return line.split()[1]
    raise LookupError(f"apt knows no {_PACKAGE}: run apt-get update")


def _download(package: str, scratch: Path) -> None:
    subprocess.run(
        ["apt-get", "download", "-qq", package], cwd=scratch, check=True, stderr=subprocess.DEVNULL
    )
    [archive] = scratch.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", archive, scratch / "root"], check=True)


def index_modules(root: Path) -> None:
    """Write what modprobe reads. Raises CalledProcessError."""
    release = os.listdir(root / "lib/modules")[0]
    depmod = shutil.which("depmod", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    tool = [depmod] if depmod else ["/bin/busybox", "depmod"]
    subprocess.run([*tool, "-b", root, release], check=True)
