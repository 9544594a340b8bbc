"""Volumes of the local driver whose files are elsewhere on the host."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Cli
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture
def cli(shared_engine: Engine) -> Iterator[Cli]:
    yield shared_engine.cli
    shared_engine.cli("volume", "rm", "-f", "bound")


def create(cli: Cli, **options: str) -> None:
    words = [word for key, value in options.items() for word in ("--opt", f"{key}={value}")]
    cli("volume", "create", *words, "bound").check()


def test_a_directory_of_the_host_is_a_volume(cli: Cli, tmp_path: Path) -> None:
    create(cli, type="none", o="bind", device=str(tmp_path))
    cli("run", "--rm", "-v", "bound:/data", "busybox", "sh", "-c", "echo kept > /data/file").check()
    assert (tmp_path / "file").read_text() == "kept\n"
    told = cli("volume", "inspect", "-f", "{{json .Options}}", "bound").out
    assert str(tmp_path) in told
    cli("volume", "rm", "bound").check()
    assert (tmp_path / "file").exists(), "the directory is the host's"


def test_it_takes_the_images_content_when_it_is_empty(cli: Cli, tmp_path: Path) -> None:
    create(cli, o="bind", device=str(tmp_path))
    cli("run", "--rm", "-v", "bound:/etc", "busybox", "true").check()
    assert (tmp_path / "passwd").exists()


def test_a_device_that_is_not_there(cli: Cli, tmp_path: Path) -> None:
    create(cli, o="bind", device=str(tmp_path / "none"))
    result = cli("run", "--rm", "-v", "bound:/data", "busybox", "true")
    assert result.code == 125
    assert "failed to mount local volume" in result.err


@pytest.mark.parametrize(("options", "says"), [
    (("bogus=1",), 'invalid option: "bogus"'), (("o=bind",), "missing device"),
    (("type=tmpfs", "device=tmpfs"), "only o=bind"),
])  # fmt: skip
def test_what_the_driver_cannot(cli: Cli, options: tuple[str, ...], says: str) -> None:
    words = [word for option in options for word in ("--opt", option)]
    result = cli("volume", "create", *words, "bound")
    assert result.code == 1
    assert says in result.err
    assert cli("volume", "ls", "-q", "--filter", "name=bound").out == ""
