"""Stop: who hears the signal is waited for, who cannot is not, and an explicit timeout is always honoured."""

from __future__ import annotations

import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from corten.engine.clock import parse_time
from tests.support import images, programs
from tests.support.command import Cli
from tests.support.engine import Engine
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network]
LONG = "600"
"""Seconds that no test waits: who is killed early shows it by its exit code."""
KILLED = 137


@pytest.fixture(scope="module")
def cli(shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """With an image ``heard``: busybox, and programs that hear signals without a handler."""
    if problem := programs.programs_problem():
        pytest.skip(problem)
    directory = tmp_path_factory.mktemp("heard")
    files: dict[str, bytes | str | None] = {
        "sigwait": programs.sigwait(signal.SIGTERM), "signalfd": programs.signalfd(signal.SIGTERM),
    }  # fmt: skip
    if tini := shutil.which("tini-static"):
        files["tini"] = Path(tini).read_bytes()
    layers = [images.layer_of(images.busybox_root(directory / "root")), images.layer(files)]
    shared_engine.load(images.docker_archive(directory / "heard.tar", "heard:latest", layers))
    return shared_engine.cli


@pytest.fixture
def started(cli: Cli) -> Iterator[str]:
    """The name of a container that a test may start, removed whatever happens."""
    name = f"stopped-{secrets.token_hex(4)}"
    yield name
    cli("rm", "-f", name)


def settle(engine: Engine, name: str) -> int:
    """Wait until PID 1 has run for a second, and whatever it does has begun."""
    started = parse_time(engine.inspect(name)["State"]["StartedAt"])
    wait_until(lambda: time.time_ns() > started + 10**9, "the second that a container has to set itself up")
    return engine.init(name)


def exit_code(cli: Cli, name: str) -> int:
    return int(cli("inspect", "-f", "{{.State.ExitCode}}", name).check().out)


@pytest.mark.parametrize(("command", "code"), [("/sigwait", 15), ("/signalfd", 128)])
def test_a_signal_is_heard_without_a_handler(
    cli: Cli, shared_engine: Engine, started: str, command: str, code: int
) -> None:
    cli("run", "-d", "--name", started, "heard", command).check()
    settle(shared_engine, started)
    stopped = cli("stop", started).check()
    assert (exit_code(cli, started), stopped.err) == (code, "")


@pytest.mark.skipif(not shutil.which("tini-static"), reason="not installed: tini")
def test_tini_hears_and_passes_it_on(cli: Cli, shared_engine: Engine, started: str) -> None:
    script = "trap 'exit 9' TERM; while :; do sleep 0.05; done"
    cli("run", "-d", "--name", started, "heard", "/tini", "--", "sh", "-c", script).check()
    settle(shared_engine, started)
    assert cli("stop", started).check().err == ""
    assert exit_code(cli, started) == 9


def test_the_init_of_corten_hears(cli: Cli, shared_engine: Engine, started: str) -> None:
    cli("run", "-d", "--init", "--name", started, "heard", "sleep", LONG).check()
    settle(shared_engine, started)
    assert cli("stop", started).check().err == ""
    assert exit_code(cli, started) == 128 + signal.SIGTERM


@pytest.mark.parametrize("action", ["stop", "restart"])
def test_a_wait_in_vain_is_none_and_init_is_suggested(
    cli: Cli, shared_engine: Engine, started: str, action: str
) -> None:
    cli("run", "-d", "--name", started, "heard", "sleep", LONG).check()
    first = settle(shared_engine, started)
    done = cli(action, started, timeout=9).check()  # it would be 10 seconds, and the test fails
    assert done.out == f"{started}\n"
    assert "SIGTERM has no effect on sleep" in done.err
    assert "--init" in done.err
    if action == "stop":
        assert exit_code(cli, started) == KILLED
    else:
        assert shared_engine.init(started) != first


def test_the_docker_command_line_is_not_disturbed(shared_engine: Engine, cli: Cli, started: str) -> None:
    if not shutil.which("docker"):
        pytest.skip("the docker command line is not installed")
    cli("run", "-d", "--name", started, "heard", "sleep", LONG).check()
    settle(shared_engine, started)
    done = shared_engine.docker("stop", started, timeout=9).check()
    assert (done.out, done.err) == (f"{started}\n", "")


@pytest.mark.parametrize("flags", [(), ("-t", LONG)])
def test_who_is_about_to_hear_is_waited_for(cli: Cli, started: str, flags: tuple[str, ...]) -> None:
    """A signal that is sent before PID 1 has its handler is lost; with dockerd, too, which is seldom that early."""
    script = "sleep 0.1; trap 'exit 5' TERM; while :; do sleep 0.05; done"
    cli("run", "-d", "--name", started, "heard", "sh", "-c", script).check()
    assert cli("stop", *flags, started).check().err == ""
    assert exit_code(cli, started) == 5


def test_other_signals_wait_for_their_handler_too(cli: Cli, started: str) -> None:
    script = "sleep 0.1; trap 'exit 6' USR1; while :; do sleep 0.05; done"
    cli("run", "-d", "--name", started, "heard", "sh", "-c", script).check()
    cli("kill", "-s", "USR1", started).check()
    assert cli("wait", started).check().out == "6\n"


def test_what_needs_no_handler_has_its_effect(shared_engine: Engine, cli: Cli, started: str) -> None:
    """That nobody waits for a handler of these, tests/unit/engine/test_stopping.py shows."""
    cli("run", "-d", "--name", started, "--stop-signal", "KILL", "heard", "sleep", LONG).check()
    cli("kill", "-s", "STOP", started).check()
    pid = shared_engine.init(started)
    wait_until(lambda: state_of(pid) == "T", "the halt of PID 1")
    cli("kill", "-s", "CONT", started).check()
    wait_until(lambda: state_of(pid) == "S", "PID 1 going on")
    cli("stop", started).check()
    assert exit_code(cli, started) == KILLED


def state_of(pid: int) -> str:
    """The letter of proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


@contextmanager
def stopping(cli: Cli, name: str, *flags: str) -> Iterator[None]:
    """A stop in the background; entered when the engine has sent the signal."""
    about = ("--filter", f"container={name}", "--filter", "event=kill", "--since", "0", "--format", "{{.Action}}")
    with (
        _background(cli, "events", *about) as events,
        _background(cli, "stop", *flags, name) as stop,
    ):
        assert events.stdout is not None
        assert events.stdout.readline() == b"kill\n"
        yield
        assert stop.wait(30) == 0


@contextmanager
def _background(cli: Cli, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(cli.command(*arguments), env=dict(cli.environment), stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(("given", "by_client"), [(("--stop-timeout", LONG), ()), ((), ("-t", LONG))])
def test_an_explicit_timeout_is_honoured(
    cli: Cli, shared_engine: Engine, started: str, tmp_path: Path, given: tuple[str, ...], by_client: tuple[str, ...]
) -> None:
    """PID 1 does not hear the signal, and ends by itself after it: in its own time, not by SIGKILL."""
    script = "while [ ! -e /go/now ]; do sleep 0.02; done; exit 5"
    cli("run", "-d", "--name", started, *given, "-v", f"{tmp_path}:/go", "heard", "sh", "-c", script).check()
    settle(shared_engine, started)
    with stopping(cli, started, *by_client):
        (tmp_path / "now").touch()
    assert exit_code(cli, started) == 5


def test_a_handler_that_restores_the_default_has_its_time(
    cli: Cli, shared_engine: Engine, started: str, tmp_path: Path
) -> None:
    """It was heard, although nothing hears any more when the engine looks later."""
    script = "trap 'trap - TERM; touch /go/cleaning; while [ ! -e /go/now ]; do sleep 0.02; done; exit 6' TERM; " \
             "touch /go/ready; while :; do sleep 0.02; done"  # fmt: skip
    cli("run", "-d", "--name", started, "-v", f"{tmp_path}:/go", "heard", "sh", "-c", script).check()
    settle(shared_engine, started)
    wait_until((tmp_path / "ready").exists, "the handler")
    with stopping(cli, started):
        wait_until((tmp_path / "cleaning").exists, "the handler's work")
        (tmp_path / "now").touch()
    assert exit_code(cli, started) == 6
