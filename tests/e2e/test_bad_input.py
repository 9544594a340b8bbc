"""Bad input: a clear error, the right exit code, and nothing half done."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import images
from tests.support.command import Cli, Result
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

SCRIPTS = {
    "opt/missing": b"#!/no/such/interpreter\n",
    "opt/windows": b"#!/bin/sh\r\necho hi\r\n",
    "opt/runtime": b"#!/proc/self/exe\n",
    "opt/foreign": b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + b"\xf3\x00" + bytes(44),
    "opt/link": "/proc/self/exe",
    "opt/directory": None,
}


@pytest.fixture(scope="module")
def cli(shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """With an image ``bad``: busybox, and commands that cannot run."""
    directory = tmp_path_factory.mktemp("bad")
    root = images.busybox_root(directory / "root")
    (root / "plain").write_text("no exec bit")
    layers = [images.layer_of(root), images.layer(SCRIPTS)]
    shared_engine.load(images.docker_archive(directory / "bad.tar", "bad:latest", layers))
    return shared_engine.cli


def refused(cli: Cli, *arguments: str) -> Result:
    """Run a command that fails, and see that no container is left of it."""
    before = cli("ps", "-aq").out
    result = cli(*arguments)
    assert result.code != 0
    assert cli("ps", "-aq").out == before
    assert "Traceback" not in result.err
    return result


@pytest.mark.parametrize(("command", "code", "says"), [
    ("no-such-command", 127, ["executable file not found", "/usr/local/sbin"]),
    ("/no/such/path", 127, ["no such file or directory"]),
    ("/opt/missing", 127, ["/no/such/interpreter"]),
    ("/opt/windows", 126, ["carriage return"]),
    ("/opt/foreign", 126, ["exec format error", "riscv64"]),
    ("/opt/directory", 126, ["is a directory"]),
    ("/plain", 126, ["permission denied", "exec bit"]),
    ("/opt/runtime", 126, ["/proc"]),
    ("/opt/link", 126, ["/proc"]),
    ("/proc/self/exe", 126, ["/proc"]),
])  # fmt: skip
def test_a_command_that_cannot_run(cli: Cli, command: str, code: int, says: list[str]) -> None:
    result = refused(cli, "run", "--rm", "bad", command)
    assert result.code == code, result
    for words in says:
        assert words in result.err


@pytest.mark.parametrize("command", ["/opt/runtime", "/opt/link", "/proc/self/exe"])
def test_an_exec_of_the_runtime_itself(cli: Cli, command: str) -> None:
    cli("run", "-d", "--name", "victim", "bad", "sleep", "1000").check()
    try:
        result = cli("exec", "victim", command)
        assert result.code == 126
        assert "/proc" in result.out + result.err
    finally:
        cli("rm", "-f", "victim").check()


def test_an_unknown_image_names_what_was_tried(cli: Cli) -> None:
    result = refused(cli, "run", "--rm", "127.0.0.1:1/no/image:v9", "true")
    assert result.code == 125
    assert "127.0.0.1:1" in result.err


@pytest.mark.parametrize("reference", ["UPPER", "a//b", "name:tag:tag", "name@sha256:123"])
def test_a_bad_reference(cli: Cli, reference: str) -> None:
    result = refused(cli, "run", "--rm", reference)
    assert result.code == 125
    assert "invalid reference format" in result.err


def test_a_name_in_use(cli: Cli) -> None:
    cli("create", "--name", "taken", "bad", "true").check()
    try:
        result = refused(cli, "run", "--name", "taken", "bad", "true")
        assert result.code == 125
        assert 'The container name "/taken" is already in use' in result.err
    finally:
        cli("rm", "taken").check()


@pytest.mark.parametrize(("flags", "says"), [
    (("--mount", "type=bind,source=/no/such/source,target=/x"), "bind source path does not exist"),
    (("-m", "1m"), "Minimum memory limit"),
    (("--cap-add", "NONSENSE"), "NONSENSE"),
    (("-u", "nobody-there"), "unable to find user nobody-there"),
    (("--network", "no-such-network"), "no-such-network"),
    (("--sysctl", "kernel.panic=1"), "kernel.panic"),
    (("-v", "relative/path:/x"), "relative/path"),
    (("--cpus", "1000"), "CPUs"),
    (("--security-opt", "nonsense=1"), "nonsense"),
])  # fmt: skip
def test_flags_that_cannot_be_honoured(cli: Cli, flags: tuple[str, ...], says: str) -> None:
    result = refused(cli, "run", "--rm", *flags, "bad", "true")
    assert result.code == 125, result
    assert says in result.err


def test_a_dead_engine_is_told(tmp_path: Path, cli: Cli) -> None:
    result = cli("-H", f"unix://{tmp_path}/none.sock", "ps")
    assert result.code == 1
    assert f"{tmp_path}/none.sock" in result.err
