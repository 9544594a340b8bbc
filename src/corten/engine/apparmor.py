"""AppArmor: whether this kernel confines by it, and the profile of containers for which none is chosen.

As dockerd has its ``docker-default``: where AppArmor is on and its parser installed, a container that is not privileged
is confined by :data:`DEFAULT`, which is loaded into the kernel when the first start needs it, and again where somebody
has unloaded it since.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from corten.engine.model import HostConfig
from corten.engine.privileges import security
from corten.errors import Unavailable
from corten.sys import standing

DEFAULT = "corten-default"
_ENABLED = Path("/sys/module/apparmor/parameters/enabled")
_POLICY = Path("/sys/kernel/security/apparmor")
_PARSER = Path("/sbin/apparmor_parser")
_LONGEST_SAID = 2000
"""Characters of the parser's errors."""

# What docker-default denies: to mount, to trace or signal what is outside, and to write to or read what of /proc and
# /sys is the whole machine's; sysctls of the container's own namespaces, kernel/shm*, stay writable. Directories of
# processes have names that begin with a digit from 1 to 9. A file that was opened outside, or whose mount is gone,
# counts as one of the container's (attach_disconnected).
_PROFILE = f"""
profile {DEFAULT} flags=(attach_disconnected,mediate_deleted) {{
  network,
  capability,
  file,
  umount,
  deny mount,

  signal (receive) peer=unconfined,
  signal (send,receive) peer={DEFAULT},
  ptrace (trace,read,tracedby,readby) peer={DEFAULT},

  deny /proc/* w,
  deny /proc/{{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}}/** w,
  deny /proc/sys/[^k]** w,
  deny /proc/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny /proc/sysrq-trigger rwklx,
  deny /proc/kcore rwklx,

  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}}
"""


@functools.cache
def is_enabled() -> bool:
    """Whether this kernel confines by AppArmor."""
    try:
        return _ENABLED.read_text().startswith("Y")
    except OSError:
        return False


@functools.cache
def lacking() -> str:
    """Why containers are not confined by default though the kernel could; '' where they are, or it cannot."""
    if not is_enabled():
        return ""
    if not standing.of_process().initial:
        return "only root may load a profile"
    if not os.access(_PARSER, os.X_OK):
        return f"{_PARSER} is not there: install the package apparmor"
    return "" if (_POLICY / "profiles").exists() else f"{_POLICY} is not there: securityfs is not mounted"


def is_default() -> bool:
    """Whether containers are confined where nothing else is said."""
    return is_enabled() and not lacking()


def profile_of(host: HostConfig) -> str:
    """The profile that confines a container; '' for none. Without AppArmor, as by dockerd, none is looked at."""
    chosen = security(host).apparmor if is_enabled() else "unconfined"
    if not chosen and is_default() and not host.privileged:
        chosen = DEFAULT
    return "" if chosen == "unconfined" else chosen


def shown(host: HostConfig) -> str:
    """The same as inspect has it."""
    return profile_of(host) or ("unconfined" if is_default() else "")


def confinement(host: HostConfig) -> str:
    """As :func:`profile_of`, for a command that is about to run: the default profile is loaded where it is not. Raises
    Unavailable."""
    profile = profile_of(host)
    if profile == DEFAULT:
        _default.ensure()
    return profile


class _Default:
    """The default profile in the kernel. What it last was is known by the number that the kernel gives each change of
    its policy: reading that costs a start some microseconds, the list of all profiles a millisecond."""

    def __init__(self) -> None:
        self._revision = b""

    def ensure(self) -> None:
        """Load it where it is not. The first start after the machine's waits for that: about a tenth of a second."""
        revision = _revision()
        if revision and revision == self._revision:
            return
        if not _is_loaded():
            _load()
        self._revision = _revision()


_default = _Default()


def _revision() -> bytes:
    """Of the kernel's policy; b'' where it tells none."""
    try:
        file = os.open(_POLICY / "revision", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # Linux before 4.13
        return b""
    try:
        return os.read(file, 32)
    except BlockingIOError:  # no policy was ever loaded
        return b""
    finally:
        os.close(file)


def _is_loaded() -> bool:
    with (_POLICY / "profiles").open() as profiles:
        return any(line.rpartition(" (")[0] == DEFAULT for line in profiles)


def _load() -> None:
    import subprocess

    command = [str(_PARSER), "--skip-cache", "--replace"]
    done = subprocess.run(command, input=_PROFILE.encode(), capture_output=True, env={}, cwd="/", check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[:_LONGEST_SAID]
        raise Unavailable(
            f"load AppArmor profile {DEFAULT}: {said or f'{_PARSER} ended with {done.returncode}'}",
            hint="a container runs without it by --security-opt apparmor=unconfined",
        )
