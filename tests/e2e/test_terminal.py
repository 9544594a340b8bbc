"""``-it`` on a real terminal, by Corten's command line and by docker's: keys, sizes, detaching, what is restored."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.command import Cli
from tests.support.engine import Engine
from tests.support.process import wait_until
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture(params=["corten", "docker"])
def client(request: pytest.FixtureRequest, shared_engine: Engine) -> Cli:
    """Both command lines, bound to Corten's engine."""
    if request.param == "docker" and not shutil.which("docker"):
        pytest.skip("the docker command line is not installed")
    return shared_engine.cli if request.param == "corten" else shared_engine.docker


def on_terminal(client: Cli, *arguments: str, rows: int = 24, columns: int = 80) -> Terminal:
    return Terminal(client.command(*arguments), env=client.environment, rows=rows, columns=columns)


def test_a_shell_is_spoken_with(client: Cli) -> None:
    with on_terminal(client, "run", "--rm", "-it", "busybox", "sh") as terminal:
        terminal.expect("# ")
        terminal.send("tty; id -u\n")
        terminal.expect("/dev/pts/0\r\n0\r\n")
        terminal.send("exit 7\n")
        assert terminal.wait() == 7
        assert terminal.restored


def test_the_window_has_its_size_and_changes(client: Cli) -> None:
    with on_terminal(client, "run", "--rm", "-it", "busybox", "sh", rows=33, columns=101) as terminal:
        terminal.expect("# ")
        terminal.send("stty size\n")
        terminal.expect("33 101\r\n")
        terminal.resize(44, 120)
        terminal.send("while [ \"$(stty size)\" != '44 120' ]; do :; done; echo chan''ged\n")
        terminal.expect("changed\r\n")
        terminal.send("exit\n")
        assert terminal.wait() == 0


def test_control_c_is_for_the_command_inside(client: Cli) -> None:
    with on_terminal(client, "run", "--rm", "-it", "busybox", "sh") as terminal:
        terminal.expect("# ")
        terminal.send("sh -c \"echo star''ted; exec sleep 1000\"\n")
        terminal.expect("started\r\n")
        terminal.send(b"\x03")
        terminal.expect("# ")
        terminal.send("exit 3\n")
        assert terminal.wait() == 3


def test_detaching_leaves_it_running_and_attach_comes_back(client: Cli, shared_engine: Engine) -> None:
    name = f"kept-{client.argv[0].rpartition('/')[2]}"
    try:
        with on_terminal(client, "run", "-it", "--name", name, "busybox", "sh") as terminal:
            terminal.expect("# ")
            terminal.send(b"\x10\x11")
            assert terminal.wait() == 0
            assert terminal.restored
        assert shared_engine.inspect(name)["State"]["Running"]
        with on_terminal(client, "attach", name) as terminal:
            terminal.send("echo ba''ck\n")
            terminal.expect("back\r\n")
            terminal.send("exit 5\n")
            assert terminal.wait() == 5
    finally:
        client("rm", "-f", name)


def test_detach_keys_are_the_users_to_choose(client: Cli, shared_engine: Engine) -> None:
    """By the flag, and by the client's configuration; a part of the sequence that goes on otherwise is input."""
    name = f"chosen-{client.argv[0].rpartition('/')[2]}"
    place = Path(client.environment["DOCKER_CONFIG"])
    place.mkdir(parents=True, exist_ok=True)
    try:
        flags = ("-it", "--detach-keys", "ctrl-x,x", "--name", name)
        with on_terminal(client, "run", *flags, "busybox", "cat") as terminal:
            terminal.send(b"\x18y\n")
            terminal.expect("y\r\n")
            terminal.send(b"\x18x")
            assert terminal.wait() == 0
            assert terminal.restored
        (place / "config.json").write_text('{"detachKeys": "ctrl-a,d"}')
        with on_terminal(client, "attach", name) as terminal:
            terminal.send("again\n")
            terminal.expect("again\r\nagain")
            terminal.send(b"\x01d")
            terminal.wait()
            assert terminal.restored
        assert shared_engine.inspect(name)["State"]["Running"]
    finally:
        (place / "config.json").unlink(missing_ok=True)
        client("rm", "-f", name)


def test_without_sig_proxy_a_signal_is_the_clients_own(shared_engine: Engine) -> None:
    cli = shared_engine.cli
    script = "trap 'echo told' TERM; echo ready; while true; do sleep 0.05; done"
    try:
        with subprocess.Popen(
            cli.command("run", "--sig-proxy=false", "--name", "untold", "busybox", "sh", "-c", script),
            env=dict(cli.environment), stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.terminate()
            assert process.wait(30) != 0
        assert shared_engine.inspect("untold")["State"]["Running"]
        assert cli("logs", "untold").out == "ready\n"
    finally:
        cli("rm", "-f", "untold")


def test_exec_has_a_terminal_of_its_own(client: Cli, shared_engine: Engine) -> None:
    name = f"host-{client.argv[0].rpartition('/')[2]}"
    client("run", "-d", "--name", name, "busybox", "sleep", "1000").check()
    try:
        with on_terminal(client, "exec", "-it", name, "sh", rows=21, columns=77) as terminal:
            terminal.expect("# ")
            terminal.send("stty size; tty\n")
            terminal.expect("21 77\r\n/dev/pts/")
            terminal.send("exit 9\n")
            assert terminal.wait() == 9
            assert terminal.restored
    finally:
        client("rm", "-f", name)


def test_without_a_terminal_on_this_side_minus_t_is_refused(client: Cli) -> None:
    result = client("run", "--rm", "-it", "busybox", "true", stdin=b"")
    assert result.code == 1
    assert "not a TTY" in result.err


def test_stdin_ends_and_output_goes_on(client: Cli) -> None:
    data = b"line\n" * 10_000
    result = client("run", "--rm", "-i", "busybox", "sh", "-c", "wc -c; echo after", stdin=data)
    assert (result.code, result.out) == (0, f"{len(data)}\nafter\n")


def test_megabytes_are_exact_both_ways(client: Cli) -> None:
    data = bytes(range(256)) * 8192
    result = client("run", "--rm", "-i", "busybox", "cat", stdin=data)
    assert result.raw == data


def test_a_signal_to_the_client_reaches_the_command(client: Cli, shared_engine: Engine) -> None:
    name = f"told-{client.argv[0].rpartition('/')[2]}"
    script = "trap 'exit 11' TERM; echo ready; while true; do sleep 0.05; done"
    with subprocess.Popen(
        client.command("run", "--rm", "--name", name, "busybox", "sh", "-c", script),
        env=dict(client.environment), stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.wait(30) == 11
    wait_until(lambda: client("ps", "-aq", "--filter", f"name={name}").out == "", "the removal")
