"""Debian's root file system, by mmdebstrap or debootstrap, from this machine's own mirror."""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from corten.errors import CortenError, InvalidInput

from .archive_files import packed
from .bootstrap import tool
from .transfer import pieces

DEFAULT_SUITE = "stable"
_MIRROR = "http://deb.debian.org/debian"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SUITE = re.compile(r"[a-z][a-z0-9-]*")
_CREDENTIALS = re.compile(r"//[^/@]*@")
_ONE_LINE = re.compile(r"^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+\S+\s+.*\bmain\b", re.MULTILINE)
_DEB822 = re.compile(r"^URIs:\s*(\S+)", re.MULTILINE)
_HINT = "install it: apt-get install mmdebstrap"


@contextmanager
def root_file_system(suite: str) -> Iterator[Iterator[bytes]]:
    """A tar stream of a minimal Debian. Raises CortenError, naming the package that is missing."""
    if not _SUITE.fullmatch(suite):
        raise InvalidInput(f"bootstrap debian:{suite}: {suite!r} is not the name of a suite")
    if mmdebstrap := tool("mmdebstrap"):
        with _by_mmdebstrap(mmdebstrap, suite) as content:
            yield content
    elif debootstrap := tool("debootstrap"):
        with _by_debootstrap(debootstrap, suite) as content:
            yield content
    else:
        raise CortenError(f"bootstrap debian:{suite}: neither mmdebstrap nor debootstrap is installed", hint=_HINT)


@contextmanager
def _by_mmdebstrap(program: str, suite: str) -> Iterator[Iterator[bytes]]:
    """mmdebstrap writes the archive to its standard output; apt runs in it with a configuration of its own."""
    argv = [program, "--quiet", "--variant=minbase", "--format=tar", *_keyring("--keyring="), suite, "-", mirror()]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, env=_environment()
        )
        output = cast("IO[bytes]", process.stdout)
        try:
            yield _checked(process, pieces(output.fileno()), said.fileno(), program)
        finally:
            output.close()
            process.terminate()
            process.wait()


def _checked(process: subprocess.Popen[bytes], content: Iterator[bytes], log: int, program: str) -> Iterator[bytes]:
    """The content; its end is an end only when the program says so: half an image must not be kept."""
    yield from content
    if process.wait():
        raise _failure(program, process.returncode, log)


def _failure(program: str, code: int, log: int) -> CortenError:
    said = os.pread(log, 1 << 20, 0).decode("utf-8", "replace").splitlines()
    return CortenError(f"{os.path.basename(program)}: exit code {code}", hint="\n".join(said[-12:]))


@contextmanager
def _by_debootstrap(program: str, suite: str) -> Iterator[Iterator[bytes]]:
    if os.geteuid() != 0:
        raise CortenError(f"bootstrap debian:{suite}: debootstrap needs root", hint=_HINT)
    directory = tempfile.mkdtemp(prefix="corten-debian-", dir="/var/tmp")
    try:
        with tempfile.TemporaryFile() as said:
            argv = [program, "--variant=minbase", *_keyring("--keyring="), suite, directory, mirror()]
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=_environment(), check=False
            )
            if done.returncode:
                raise _failure(program, done.returncode, said.fileno())
        _clean(directory)
        yield packed(f"{directory}/.", "", follow=False)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _clean(directory: str) -> None:
    """What debootstrap leaves of this machine and moment."""
    for path in ("etc/hostname", "etc/resolv.conf", "etc/machine-id"):
        if os.path.lexists(os.path.join(directory, path)):
            os.unlink(os.path.join(directory, path))
    for pattern in ("var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*_*", "var/log/*.log"):
        for path in glob.glob(os.path.join(directory, pattern)):
            os.unlink(path)


def _keyring(option: str) -> list[str]:
    return [f"{option}{_KEYRING}"] if os.path.exists(_KEYRING) else []


def _environment() -> dict[str, str]:
    """What the program may know of this machine: the way to programs, to the mirror, and nothing else."""
    kept = ("PATH", "TMPDIR", "http_proxy", "https_proxy", "no_proxy")
    own = {name: os.environ[name] for name in kept if name in os.environ}
    return {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root", **own}


def mirror(directory: str = "/etc/apt") -> str:
    """The address of the machine's own Debian mirror, without credentials; Debian's where it has none."""
    files = [*glob.glob(f"{directory}/sources.list"), *sorted(glob.glob(f"{directory}/sources.list.d/*"))]
    for path in files:
        if not path.endswith((".list", ".sources")):
            continue
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
        pattern = _DEB822 if path.endswith(".sources") else _ONE_LINE
        for address in pattern.findall(text):
            if address.rstrip("/").endswith("/debian"):
                return _CREDENTIALS.sub("//", str(address))
    return _MIRROR
