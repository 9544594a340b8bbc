"""The shell's side of ``--explain``: a script of the equivalents, as far as a working container."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_KINDS = ("uts.hostname", "mount.private", "root.overlay", "mount", "device.nodes", "root.pivot")
_LAST = "exec /bin/busybox sh -c 'echo $$; hostname; ls /proc | grep -c ^[0-9]; echo ok > /dev/null'"


def replay(
    steps: Sequence[Mapping[str, Any]], path: Path, environment: Mapping[str, str], before: Sequence[str] = ()
) -> tuple[str, str, int]:
    """Execute the file system's steps with plain unshare and mount, ``before`` in front of it all: the pid and the
    name that the container has for itself, and how many processes it sees. ``path`` is the script's to be."""
    lines = [step["shell"] for step in steps if step["kind"] in _KINDS]
    root = next(step["what"] for step in steps if step["kind"] == "root.overlay")
    clone = next(step["shell"] for step in steps if step["kind"] == "namespace.clone")
    script = ["set -e", f"ROOT={shlex.quote(root)}", *map(_with_directories, lines), _LAST]
    path.write_text("\n".join(script))
    command = [*before, *shlex.split(clone), "sh", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(environment), timeout=60)
    assert done.returncode == 0, done.stderr
    pid, name, processes = done.stdout.split()
    return pid, name, int(processes)


def _with_directories(line: str) -> str:
    """What a shell must do besides: make the place of a mount, where the runtime makes it unasked."""
    if not line.startswith("mount -t") or '"$ROOT' not in line:
        return line
    place = line[line.index('"$ROOT') :].split()[0]
    return f"mkdir -p {place} && {line}"
