"""What the spawner rehearses before it forks: it leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys

_REHEARSED = """
import json, os
from corten.spawner.rehearsal import rehearse

def held():
    return sorted(os.listdir("/proc/self/fd"), key=int)

before = held()
rehearse()
try:
    left = os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    left = None
print(json.dumps({"before": before, "after": held(), "left": left, "name": open("/proc/self/comm").read().strip()}))
"""


def test_a_rehearsal_leaves_no_descriptor_and_no_child() -> None:
    told = subprocess.run([sys.executable, "-c", _REHEARSED], check=True, capture_output=True, text=True)
    seen = json.loads(told.stdout)
    assert seen["after"] == seen["before"]
    assert seen["left"] is None
    assert seen["name"] == "corten-monitor"  # it was one
    assert told.stderr == ""
