"""What a build says before it is answered: nothing that is not for everybody, nor that hides why it is refused."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import pytest

from corten.wire import building
from tests.support import contexts
from tests.support.command import Result
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]

REFUSAL = b'HTTP/1.1 404 Not Found\r\nContent-Length: 27\r\n\r\n{"message":"nothing here"} \n'


def refused(engine: Engine, tmp_path: Path, *options: str) -> tuple[Result, bytes]:
    """A build at who speaks HTTP alone; how it ended, and all that it sent."""
    door = tmp_path / "door"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(door))
        listener.listen()
        heard = bytearray()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while b"\r\n\r\n" not in heard:
                    heard.extend(connection.recv(65536))
                connection.sendall(REFUSAL)
                connection.shutdown(socket.SHUT_WR)
                while data := connection.recv(65536):
                    heard.extend(data)

        server = threading.Thread(target=serve)
        server.start()
        where = contexts.directory(tmp_path / "c", "FROM busybox\n", {"of-the-list": "x"})
        done = engine.cli("build", *options, str(where), env={"CORTEN_HOST": f"unix://{door}"})
        server.join()
    return done, bytes(heard)


def test_secrets_are_for_who_has_shown_to_speak_the_protocol(shared_engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hidden")
    done, heard = refused(shared_engine, tmp_path, "--secret", f"id=one,src={tmp_path}/secret")
    assert (done.code, "nothing here" in done.err) == (1, True)
    assert heard.endswith(b"\r\n\r\n")


def test_all_else_goes_with_the_request(shared_engine: Engine, tmp_path: Path) -> None:
    done, heard = refused(shared_engine, tmp_path)
    assert (done.code, "nothing here" in done.err) == (1, True)
    head, _, said = heard.partition(b"\r\n\r\n")
    assert head.startswith(b"POST ")
    kinds = [kind for kind, _ in building.FrameReader().receive(said)]
    assert kinds == [building.CONTEXT, building.LIST, building.GO]
    assert b"of-the-list" in said


def test_why_it_is_refused_is_told_though_more_was_sent_than_is_read(shared_engine: Engine, tmp_path: Path) -> None:
    where = contexts.directory(tmp_path, "FROM busybox\n")
    for number in range(2_000):
        (where / f"{number:0200}").touch()
    done: Result = shared_engine.cli("build", "-t", "Not a name", str(where))
    assert (done.code, "invalid reference format" in done.err) == (1, True)


def test_an_engine_that_dies_is_told(engine: Engine, busybox: str, tmp_path: Path) -> None:
    where = contexts.directory(tmp_path / "c", f"FROM {busybox}\nRUN echo begun; sleep 100\n")
    command = engine.cli.command("build", "--progress", "plain", str(where))
    with subprocess.Popen(command, env=engine.cli.environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while process.stderr.readline() != "begun\n":
            pass
        engine.kill()
        assert "the engine hung up" in process.stderr.read()
    assert process.returncode == 1
