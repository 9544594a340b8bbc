"""``corten build`` on a terminal: the view that goes on, and what is left when it is broken off."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.engine import Engine
from tests.support.process import wait_until
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.root, pytest.mark.network]


def on_terminal(engine: Engine, where: Path, dockerfile: str, *options: str) -> Terminal:
    cli = engine.cli
    where = contexts.directory(where, dockerfile)
    return Terminal(cli.command("build", *options, str(where)), env=cli.environment, columns=120)


def test_stages_are_seen_as_they_go(shared_engine: Engine, tmp_path: Path) -> None:
    meeting = "RUN --mount=type=cache,id=l,dst=/m touch /m/{0}; echo {0} came; until [ -e /m/{1} ]; do sleep .1; done"
    dockerfile = (
        f"FROM busybox as one\n{meeting.format('a', 'b')}\nFROM busybox AS two\n{meeting.format('b', 'c')}\n"
        "FROM busybox\nCOPY --from=one /etc/passwd /a\nCOPY --from=two /etc/passwd /b\n"
    )
    with on_terminal(shared_engine, tmp_path / "c", dockerfile, "-t", "made") as terminal:
        terminal.expect("=> 1/7 : FROM busybox as one  ")
        terminal.expect(" | b came")
        for _ in range(3):  # time goes on, though nothing is said
            terminal.expect("s (5/7)")
            terminal.expect("until [ -e /m/c ]; do sleep .1; done  ")
        end = "FROM busybox\nRUN --mount=type=cache,id=l,target=/m touch /m/c\n"
        shared_engine.cli("build", "-", stdin=end.encode()).check()
        terminal.expect("Successfully tagged made:latest")
        assert terminal.wait() == 0
    with on_terminal(shared_engine, tmp_path / "c", dockerfile, "-t", "made") as terminal:
        told = terminal.expect("Successfully tagged made:latest").decode()
        assert terminal.wait() == 0
    steps = [line for line in told.splitlines() if line.rpartition("\x1b[J")[2].endswith("  CACHED")]
    assert len(steps) == 4
    assert "[Warning] FromAsCasing" in told


def test_what_fails(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nRUN echo why; exit 3\n"
    with on_terminal(shared_engine, tmp_path, dockerfile) as terminal:
        assert terminal.wait() == 1
        said = terminal.seen.decode().rpartition("\x1b[J")[2].replace("\r\n", "\n")
    assert said == (
        "=> 2/2 : RUN echo why; exit 3  ERROR\n------\nwhy\n------\nDockerfile:2\n--------------------\n"
        "   1 |     FROM busybox\n   2 | >>> RUN echo why; exit 3\n   3 |\n--------------------\n"
        "ERROR: The command '/bin/sh -c echo why; exit 3' returned a non-zero code: 3\n"
    )


def test_control_c_ends_all_of_it(shared_engine: Engine, tmp_path: Path) -> None:
    before = shared_engine.footprint()
    with on_terminal(shared_engine, tmp_path, "FROM busybox\nRUN echo begun; sleep 1000\n") as terminal:
        terminal.expect(" | begun")
        terminal.send(b"\x03")
        assert terminal.wait() == 130
        assert terminal.restored
    wait_until(lambda: not shared_engine.footprint().beyond(before), "the end of the build's container")
    assert shared_engine.api("GET", "/containers/json?all=1").json == []


def test_how_it_is_to_be_shown(shared_engine: Engine, tmp_path: Path) -> None:
    where = str(contexts.directory(tmp_path, "FROM busybox\nRUN echo said\n"))
    plain = Terminal(
        shared_engine.cli.command("build", "--progress", "plain", where), env=shared_engine.cli.environment
    )
    with plain as terminal:
        assert b"=> " not in terminal.expect("Successfully built")
        assert terminal.wait() == 0
    drawn = shared_engine.cli("build", where, env={"BUILDKIT_PROGRESS": "tty"}).check().err
    assert "=> 2/2 : RUN echo said  CACHED\n" in drawn
    refused = shared_engine.cli("build", "--progress", "nosuch", where)
    assert (refused.code, 'invalid argument "nosuch" for "--progress" flag' in refused.err) == (1, True)
