"""A real engine on a data root of its own, and its removal whatever the test did to it."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from corten.api.router import DEFAULT
from tests.support import http
from tests.support.command import Cli, run
from tests.support.contract import Exchange, Specification
from tests.support.leaks import Footprint, cgroups, footprint, removed
from tests.support.names import names_of
from tests.support.process import command_line, descendants, end, kill_all, parent, processes, wait_until
from tests.support.proxy import Proxy

PROJECT = Path(__file__).resolve().parents[2]
_PR_SET_CHILD_SUBREAPER = 36
_LONG = 300.0
"""Seconds for what moves many bytes: on a busy machine, these take as long as they take."""
SPECIFICATION = Specification.load(DEFAULT)


class Engine:
    """One engine process, started and ended at will on the same data root.

    ``root`` is short-lived; bridge, cgroup parent, firewall table and run directory are those that the engine
    derives from it. The test process is made a child subreaper, so that whatever an engine orphans is found.
    """

    def __init__(self, root: Path, *options: str, judged: bool = True) -> None:
        """``judged``: clients speak through a proxy that holds every answer against the API's specification."""
        self.root = root
        self.names = names_of(root)
        self.options = options
        self.within: tuple[str, ...] = ()
        """A command that becomes the engine's, such as ``nsenter``."""
        self.process: subprocess.Popen[bytes] | None = None
        self.home = root.parent / f"{root.name}-home"
        self.log = root.parent / f"{root.name}.log"
        self.door = root.parent / f"{root.name}.door" if judged else self.names.socket
        self._proxy: Proxy | None = None
        self._findings: list[str] = []
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    @property
    def socket(self) -> Path:
        """Where its API listens."""
        return self.names.socket

    @property
    def pid(self) -> int:
        """The engine's process id."""
        assert self.process is not None, "the engine was not started"
        return self.process.pid

    # --- its life

    def start(self, *options: str) -> Engine:
        """Start the process and wait until it answers. Raises AssertionError with its log."""
        argv = [*self.within, sys.executable, "-m", "corten.daemon", "--root", str(self.root), *self.options, *options]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(), cwd="/"
            )
        if self._proxy is None and self.door != self.socket:
            self._proxy = Proxy(self.door, self.socket, self.judge).start()
        try:
            wait_until(self.answers, "the engine's answer to a ping", pid=self.process.pid)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from None
        return self

    def answers(self) -> bool:
        """Whether the API answers a ping."""
        try:
            return http.request(self.socket, "GET", "/_ping", timeout=5).status == 200
        except OSError:
            return False

    def said(self) -> str:
        """What the process and its log file said."""
        logs = [self.log, self.root / "engine.log"]
        return "".join(path.read_text(errors="replace") for path in logs if path.exists())

    def kill(self) -> None:
        """``kill -9`` of the engine alone; returns when it is dead."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        return end(self.process)

    def restart(self) -> Engine:
        """End it with SIGTERM and start another on the same data root."""
        self.stop()
        return self.start()

    def children(self, pid: int | None = None) -> list[int]:
        """The child processes of the engine (or of another process)."""
        above = self.pid if pid is None else pid
        return [child for child in processes() if _parent_or_zero(child) == above]

    @property
    def spawner(self) -> int:
        """The spawner's process id: the engine's child that runs ``spawner.main``."""
        found = [pid for pid in self.children() if "spawner" in command_line(pid)]
        assert len(found) == 1, f"children of the engine: {[command_line(pid) for pid in self.children()]}"
        return found[0]

    def has_another_spawner(self, dead: int) -> bool:
        """Whether a new one runs in the place of one that died; it shows its name only once it has been executed."""
        return any(pid != dead and "spawner" in command_line(pid) for pid in self.children())

    def monitor(self, container: str) -> int:
        """The pid of a running container's monitor: the parent of its init."""
        return parent(self.init(container))

    def init(self, container: str) -> int:
        """The pid of a running container's init, as the API tells it."""
        pid: int = self.inspect(container)["State"]["Pid"]
        return pid

    # --- its clients

    def environment(self) -> dict[str, str]:
        """A private environment: this engine by CORTEN_HOST and DOCKER_HOST, nothing of the user's."""
        self.home.mkdir(parents=True, exist_ok=True)
        address = f"unix://{self.door}"
        kept = {name: os.environ[name] for name in ("PATH", "XDG_RUNTIME_DIR", "COVERAGE_PROCESS_START")
                if name in os.environ}  # fmt: skip
        own = {
            "HOME": str(self.home), "LANG": "C.UTF-8", "TZ": "UTC", "CORTEN_ROOT": str(self.root),
            "CORTEN_HOST": address, "DOCKER_HOST": address, "DOCKER_CONFIG": str(self.home / "docker"),
        }  # fmt: skip
        return {**kept, **own}

    @property
    def cli(self) -> Cli:
        """Corten's own command line, bound to this engine."""
        return Cli((sys.executable, str(PROJECT / "scripts/corten")), self.environment())

    @property
    def docker(self) -> Cli:
        """The real docker command line, bound to this engine."""
        return Cli(("docker",), self.environment())

    def api(self, method: str, target: str, body: Any = None, **options: Any) -> http.Response:
        """One request to the API."""
        answer = http.request(self.socket, method, target, body, **options)
        self.judge(Exchange(method, target, answer.status, answer.headers, answer.body))
        return answer

    def inspect(self, container: str) -> dict[str, Any]:
        """What the API says of a container."""
        told: dict[str, Any] = self.api("GET", f"/containers/{container}/json").check().json
        return told

    def load(self, archive: Path) -> str:
        """Load a docker archive through the API; what the engine said."""
        answer = self.api("POST", "/images/load?quiet=1", archive.read_bytes(), timeout=_LONG).check()
        return answer.body.decode()

    def footprint(self) -> Footprint:
        """What this engine has on the machine now."""
        return footprint(self.root, self.names, os.getpid())

    # --- the contract

    def judge(self, exchange: Exchange) -> None:
        """Hold an answer of this engine's against the API's specification. May be called from any thread."""
        self._findings += SPECIFICATION.findings(exchange)

    def keep_contract(self) -> None:
        """Raise AssertionError with everything that was not as the specification has it since the last call."""
        found, self._findings = self._findings, []
        assert not found, "not as the API's specification has it:\n" + "\n".join(dict.fromkeys(found))

    # --- its end

    def remove(self) -> None:
        """End the engine and everything it made; needs nothing of Corten to work, and may be called twice."""
        if self.process is not None and self.answers():
            self._remove_containers()
        if self._proxy is not None:
            self._proxy.close()
            self._proxy = None
        below = self._family()
        if self.process is not None:
            end(self.process)
        kill_all(below | self._in_cgroups())
        self._reap(below)
        for point in sorted(self.footprint().mounts, reverse=True):
            run(["umount", "-l", point])
        self._remove_cgroups()
        if os.geteuid() == 0:
            run(["ip", "link", "delete", self.names.bridge])
            run(["nft", "delete", "table", "ip", self.names.table])
            run(["nft", "delete", "table", "inet", self.names.table])
        for path in (self.root, self.names.run, self.home):
            shutil.rmtree(path, ignore_errors=True)

    def _remove_containers(self) -> None:
        for container in self.api("GET", "/containers/json?all=1").json or []:
            self.api("DELETE", f"/containers/{container['Id']}?force=1&v=1")

    def _family(self) -> set[int]:
        """The engine's descendants, and orphans of an engine of this root that fell to the test process."""
        own = set() if self.process is None else descendants(self.process.pid)
        orphans = {pid for pid in descendants(os.getpid()) if self._is_orphan(pid)}
        return own | orphans

    def _is_orphan(self, pid: int) -> bool:
        try:
            inside = os.readlink(f"/proc/{pid}/cwd").startswith(os.path.realpath(self.root))
        except OSError:
            return False
        return inside or str(self.root) in command_line(pid)

    def _in_cgroups(self) -> set[int]:
        found: set[int] = set()
        for group in cgroups(self.names.cgroup):
            procs = group / "cgroup.procs"
            if procs.exists():
                found.update(int(word) for word in procs.read_text().split())
        return found

    def _reap(self, pids: set[int]) -> None:
        for pid in pids:
            try:
                os.waitpid(pid, 0)
            except ChildProcessError:
                continue

    def _remove_cgroups(self) -> None:
        tops = Path("/sys/fs/cgroup")
        parents = [*tops.glob(self.names.cgroup), *tops.glob(f"*/{self.names.cgroup}")]
        for group in (*cgroups(self.names.cgroup), *parents):
            try:
                wait_until(lambda group=group: removed(group), f"rmdir {group}", seconds=5)  # type: ignore[misc]
            except AssertionError as error:
                raise AssertionError(f"{error}: {(group / 'cgroup.procs').read_text()!r}") from None


def _parent_or_zero(pid: int) -> int:
    try:
        return parent(pid)
    except OSError:
        return 0
