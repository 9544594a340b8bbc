"""What other engines ask of a running container beyond the specification: pause, resume, ps, update, as of runc."""

from __future__ import annotations

from corten.errors import Conflict
from corten.runtime.cgroups import detect
from corten.runtime.oci.state import CREATED, PAUSED, RUNNING, State, States
from corten.spec.runtime import Resources


def pause(states: States, id: str) -> None:
    """Freeze every process. Raises Conflict when it does not run."""
    detect().freeze(_in(states, id, "pause", CREATED, RUNNING).cgroup)


def resume(states: States, id: str) -> None:
    """Thaw. Raises Conflict when it is not paused."""
    detect().thaw(_in(states, id, "resume", PAUSED).cgroup)


def processes(states: States, id: str) -> list[int]:
    """The process ids as the host sees them. Raises Conflict when it does not run."""
    return detect().processes(_in(states, id, "list processes of", CREATED, RUNNING, PAUSED).cgroup)


def update(states: States, id: str, resources: Resources) -> None:
    """Change limits; those that are not given stay. Raises Conflict when it does not run, OSError."""
    detect().update(_in(states, id, "update", CREATED, RUNNING, PAUSED).cgroup, resources)


def _in(states: States, id: str, action: str, *wanted: str) -> State:
    state = states.read(id)
    status = states.status(state)
    if status not in wanted:
        raise Conflict(f"{action} container {id}: it is {status}")
    return state
