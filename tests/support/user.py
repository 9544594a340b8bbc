"""An ordinary user of this machine, made for the tests: with granted ids or without, and a Python that it may read."""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import http
from tests.support.command import Cli, Result, run
from tests.support.engine import PROJECT
from tests.support.process import kill_all, parent, processes, wait_until

_TOOLS = ("useradd", "userdel", "usermod", "setpriv", "newuidmap", "newgidmap", "unshare")
_NOBODY = 65534
_FIRST, _COUNT = 1_000_000, 65536


def user_problem() -> str:
    """Why no ordinary user can be tested here; '' when one can."""
    if os.geteuid() != 0:
        return "needs root, to make users"
    if missing := [tool for tool in _TOOLS if not shutil.which(tool)]:
        return f"not installed: {' '.join(missing)}"
    if not _python():
        return "no Python of this version, and its packages, that an ordinary user may read"
    allowed = run([*_as(_NOBODY, _NOBODY), "unshare", "--user", "--mount", "true"])
    return "" if allowed.code == 0 else f"ordinary users make no user namespaces here: {allowed.err.strip()}"


def _as(uid: int, gid: int) -> list[str]:
    return ["setpriv", "--reuid", str(uid), "--regid", str(gid), "--clear-groups", "--"]


@functools.cache
def _python() -> str:
    """An interpreter of this version, so that compiled packages fit, that anybody may execute; '' without one."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    path = ":".join(map(str, _packages()))
    for candidate in (os.path.realpath(sys.executable), f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        # By way of a shell: setpriv(1) itself still has root's capabilities when it looks for what to execute.
        check = [*_as(_NOBODY, _NOBODY), "sh", "-c", '"$0" -c "import corten.daemon"', candidate]
        if os.path.exists(candidate) and run(check, env={"PYTHONPATH": path, "PATH": os.environ["PATH"]}).code == 0:
            return candidate
    return ""


def _packages() -> list[Path]:
    import msgspec

    return [PROJECT / "src", Path(msgspec.__file__).resolve().parents[1]]


class Installation:
    """Corten in a virtual environment that every user may read, like one that ``pip install`` made."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ct-", dir=os.environ.get("CORTEN_TEST_DIR")))
        self.directory.chmod(0o755)
        venv = self.directory / "venv"
        run([_python(), "-m", "venv", "--without-pip", str(venv)]).check()
        (site,) = venv.glob("lib/python*/site-packages")
        (site / "corten.pth").write_text("\n".join(map(str, _packages())))
        for name in ("corten", "corten-runtime"):
            text = (PROJECT / "scripts" / name).read_text().split("\n", 1)[1]
            (venv / "bin" / name).write_text(f"#!{venv}/bin/python\n{text}")
            (venv / "bin" / name).chmod(0o755)
        self.corten = venv / "bin/corten"

    def remove(self) -> None:
        """Delete it."""
        shutil.rmtree(self.directory, ignore_errors=True)


class User:
    """One user, with a home and a runtime directory; ``granted``: with subordinate ids, from ``first_id`` on."""

    def __init__(self, installation: Installation, *, granted: bool) -> None:
        self.name = f"ct-{uuid.uuid4().hex[:8]}"
        self.installation = installation
        self.home = installation.directory / self.name
        self.runtime = installation.directory / f"{self.name}-run"
        self.first_id = _free_ids() if granted else 0
        # A system user gets no subordinate ids of its own accord.
        options = ("--system", "--no-create-home", "--home-dir", str(self.home), "--user-group")
        run(["useradd", *options, self.name]).check()
        entry = pwd.getpwnam(self.name)
        self.uid, self.gid = entry.pw_uid, entry.pw_gid
        try:
            self._furnish()
        except BaseException:
            self.remove()
            raise

    def _furnish(self) -> None:
        if self.first_id:
            ids = f"{self.first_id}-{self.first_id + _COUNT - 1}"
            run(["usermod", "--add-subuids", ids, "--add-subgids", ids, self.name]).check()
        for directory in (self.home, self.runtime):
            directory.mkdir(mode=0o700)
            os.chown(directory, self.uid, self.gid)

    # --- its places

    @property
    def root(self) -> Path:
        """The data root of its engine."""
        return self.home / ".local/share/corten"

    @property
    def run_directory(self) -> Path:
        """Where its engine's sockets are."""
        return self.runtime / "corten"

    @property
    def socket(self) -> Path:
        """Where its engine's API listens."""
        return self.run_directory / "corten.sock"

    def environment(self) -> dict[str, str]:
        """That of a login, and nothing of the test's."""
        return {
            "HOME": str(self.home), "USER": self.name, "LOGNAME": self.name, "LANG": "C.UTF-8", "TZ": "UTC",
            "PATH": f"{self.installation.corten.parent}:{os.environ['PATH']}", "XDG_RUNTIME_DIR": str(self.runtime),
        }  # fmt: skip

    # --- what it does

    @property
    def cli(self) -> Cli:
        """The corten command as this user."""
        return Cli((*_as(self.uid, self.gid), str(self.installation.corten)), self.environment())

    def box(self, *arguments: str) -> Result:
        """Run a container without a network, which is gone afterwards."""
        return self.cli("run", "--rm", "--network", "none", *arguments)

    def command(self) -> list[str]:
        """The argv in front of one that is to run as this user."""
        return _as(self.uid, self.gid)

    def run(self, *argv: str) -> Result:
        """Any command as this user."""
        return run([*self.command(), *argv], env=self.environment())

    def inspect(self, container: str) -> dict[str, Any]:
        """What the API says of a container."""
        told: dict[str, Any] = http.request(self.socket, "GET", f"/containers/{container}/json").check().json
        return told

    def init(self, container: str) -> int:
        """The pid of a running container's init."""
        pid: int = self.inspect(container)["State"]["Pid"]
        return pid

    def monitor(self, container: str) -> int:
        """The pid of a running container's monitor."""
        return parent(self.init(container))

    @property
    def engine(self) -> int:
        """Its engine's process id, as the data root's lock has it."""
        return int((self.root / "lock").read_text())

    def processes(self) -> set[int]:
        """Every living process of this user's ids, the granted ones included."""
        return {pid for pid in processes() if self._owns(pid)}

    def _owns(self, pid: int) -> bool:
        try:
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        except (OSError, ValueError):
            return False
        uid = int(status["Uid"].split()[0])
        mine = uid == self.uid or (self.first_id and self.first_id <= uid < self.first_id + _COUNT)
        return bool(mine) and status["State"][0] not in "ZX"

    # --- its end

    def remove(self) -> None:
        """Kill all that is left of it, and delete it; may be called twice."""
        kill_all(self.processes())
        wait_until(lambda: not self.processes(), f"the end of {self.name}'s processes")
        run(["userdel", self.name])
        for directory in (self.home, self.runtime):
            shutil.rmtree(directory, ignore_errors=True)


def _free_ids() -> int:
    """The first of a range that nobody has."""
    ends = [_FIRST]
    for path in ("/etc/subuid", "/etc/subgid"):
        for line in Path(path).read_text().splitlines() if os.path.exists(path) else ():
            fields = line.split(":")
            if len(fields) == 3:
                ends.append(int(fields[1]) + int(fields[2]))
    return max(ends)


def without_user_namespaces(argv: Sequence[str], env: dict[str, str]) -> Result:
    """Run a command where the limit of user namespaces is 0: in a user namespace with all ids, which has a limit of
    its own, and the rest of the machine as it is."""
    script = 'read go; exec sh -c "$@"'
    inner = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    child = subprocess.Popen(
        ["unshare", "--user", "sh", "-c", script, "sh", inner, "sh", *argv],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, text=True,
    )  # fmt: skip
    try:
        ours = os.readlink("/proc/self/ns/user")
        wait_until(lambda: os.readlink(f"/proc/{child.pid}/ns/user") != ours, "the user namespace", pid=child.pid)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child.pid}/{name}").write_text(f"0 0 {2**32 - 1}")
        out, err = child.communicate("go\n", timeout=60)
    finally:
        child.kill()
        child.wait()
    return Result(tuple(argv), child.returncode, out, err)
