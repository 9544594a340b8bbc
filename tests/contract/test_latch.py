"""The program that an init is while it waits for its command: the real one, executed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.runtime import latch


class Latch:
    """A child that waits; what its command prints goes to a file."""

    def __init__(self, output: Path, emulator: tuple[str, Path] | None = None) -> None:
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.line.settimeout(20)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.line.close()
                os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT, 0o600), 1)
                if emulator is None:
                    latch.become(theirs)
                os.dup2(theirs.fileno(), latch.LINE)
                os.execv(emulator[0], [*emulator[:1], str(emulator[1])])
            finally:
                os._exit(99)
        theirs.close()

    def ask(self, packet: bytes) -> bytes:
        """What it answers; empty at the end of file: a command runs."""
        self.line.send(packet)
        return self.line.recv(16)

    def status(self) -> int:
        """How it ended."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        """End it."""
        self.line.close()
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # its status was asked for
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)


@pytest.fixture
def waiting(tmp_path: Path) -> Iterator[Latch]:
    """One that was asked, and is there."""
    made = Latch(tmp_path / "output")
    try:
        assert made.ask(latch.ASK) == latch.ASK
        yield made
    finally:
        made.close()


def image(*paths: str, args: tuple[str, ...] = ("x",), **env: str) -> bytes:
    content = latch.image(paths, args, env)
    assert content is not None
    return content


def test_it_becomes_the_command(waiting: Latch, tmp_path: Path) -> None:
    script = 'echo "$0 $1 $2 $NAME"; ls /proc/self/fd'
    args = ("name", "-c", script, "zero", "one", "two words")
    assert waiting.ask(image("/bin/sh", args=args, NAME="ä", PATH="/usr/bin:/bin")) == b""
    assert waiting.status() == 0
    first, *descriptors = (tmp_path / "output").read_text().splitlines()
    assert first == "zero one two words ä"
    assert descriptors == ["0", "1", "2", "3"]  # the last is what ls reads


def test_the_first_path_that_can_be_executed_is(waiting: Latch, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    paths = ("/nowhere/x", f"{plain}/x", str(plain), str(tmp_path), "/bin/true", "/bin/false")
    assert waiting.ask(image(*paths)) == b""
    assert waiting.status() == 0


@pytest.mark.parametrize("text", ["no program", "#!/nowhere/interpreter\n", "#!/proc/self/exe\n"])
def test_what_cannot_be_executed_is_answered(waiting: Latch, tmp_path: Path, text: str) -> None:
    program = tmp_path / "program"
    program.write_text(text)
    program.chmod(0o755)
    assert len(waiting.ask(image(str(program)))) == 1
    assert waiting.ask(latch.ASK) == latch.ASK  # it waits for whoever takes it back
    assert waiting.ask(image("/bin/true")) == b""


def test_it_can_not_be_executed_again(waiting: Latch) -> None:
    """Neither as itself, by the command that it is given (CVE-2019-5736), nor by root outside."""
    assert len(waiting.ask(image("/proc/self/exe"))) == 1
    with pytest.raises(PermissionError):
        subprocess.run([f"/proc/{waiting.pid}/exe"], check=False)


def test_it_says_what_it_is(waiting: Latch) -> None:
    assert Path(f"/proc/{waiting.pid}/comm").read_text() == f"{latch.NAME}\n"
    assert Path(f"/proc/{waiting.pid}/cmdline").read_bytes() == latch.NAME.encode() + b"\0"


def test_it_has_its_line_and_its_streams_alone(waiting: Latch) -> None:
    held = {number: os.readlink(f"/proc/{waiting.pid}/fd/{number}") for number in os.listdir(f"/proc/{waiting.pid}/fd")}
    assert set(held) == {"0", "1", "2", "3"}
    assert held["3"].startswith("socket:")


def test_it_ends_with_its_line(waiting: Latch) -> None:
    waiting.line.close()
    assert waiting.status() == 0


def test_what_is_too_long_or_no_string_has_no_image() -> None:
    assert latch.image(["/bin/true"], ["x" * latch.LARGEST], {}) is None
    assert latch.image(["/bin/true"], ["a\0b"], {}) is None
    longest = latch.image(["/bin/true"], ["x" * (latch.LARGEST - 200)], {})
    assert longest is not None
    assert latch.LARGEST - 200 < len(longest) <= latch.LARGEST


def test_the_longest_is_read_whole(waiting: Latch, tmp_path: Path) -> None:
    text = "y" * (latch.LARGEST - 200)
    assert waiting.ask(image("/bin/echo", args=("echo", text))) == b""
    assert waiting.status() == 0
    assert (tmp_path / "output").read_text() == f"{text}\n"


def test_a_machine_without_one_is_told() -> None:
    with pytest.raises(KeyError):
        latch.assembled("riscv64")


@pytest.mark.skipif(not shutil.which("qemu-aarch64-static"), reason="no qemu-aarch64-static (qemu-user-static)")
def test_the_one_for_aarch64(tmp_path: Path) -> None:
    """It runs in an emulator, which passes its system calls on: what it executes is this machine's."""
    program = tmp_path / "latch"
    program.write_bytes(latch.assembled("aarch64"))
    program.chmod(0o755)
    made = Latch(tmp_path / "output", (shutil.which("qemu-aarch64-static") or "", program))
    try:
        assert made.ask(latch.ASK) == latch.ASK
        assert len(made.ask(image("/nowhere", str(tmp_path)))) == 1
        assert made.ask(image("/nowhere", str(tmp_path), "/bin/echo", args=("echo", "a", "b"))) == b""
        assert made.status() == 0
    finally:
        made.close()
    assert (tmp_path / "output").read_text() == "a b\n"
