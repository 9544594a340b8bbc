"""What an exec runs as: a pure function of the container and the request."""

from __future__ import annotations

from corten.engine.merge import replace_env
from corten.engine.model import Container, ExecRequest
from corten.engine.privileges import capabilities, security
from corten.engine.runtime_config import capability_sets, environment, rlimit
from corten.spec.runtime import Process, User
from corten.sys.capabilities import NAMES


def exec_process(container: Container, request: ExecRequest, links_env: tuple[str, ...] = ()) -> Process:
    """The process of an exec: the container's user, environment and limits unless the request says otherwise.
    ``links_env`` are the variables that its links bring."""
    host = container.host
    privileged = request.privileged or host.privileged
    names = tuple(f"CAP_{name}" for name in NAMES) if privileged else capabilities(host)
    size = request.console_size
    inherited = [one for one in environment(container.config, links_env) if not one.startswith("TERM=")]
    terminal = ["TERM=xterm"] if request.tty else []
    return Process(
        args=tuple(request.cmd or ()),
        env=tuple(replace_env([*terminal, *inherited], request.env or ())),
        cwd=request.working_dir or container.config.working_dir or "/",
        terminal=request.tty,
        console_size=size if request.tty and size and all(size) else None,
        user=User(name=request.user or container.config.user or "0", additional_groups=_groups(container, request)),
        capabilities=capability_sets(names),
        rlimits=tuple(rlimit(one) for one in host.ulimits or ()),
        no_new_privileges=security(host).no_new_privileges,
    )


def _groups(container: Container, request: ExecRequest) -> tuple[str, ...]:
    """``--group-add`` belongs to the container's user; another user brings its own groups."""
    return () if request.user else tuple(container.host.group_add or ())
