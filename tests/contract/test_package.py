"""What the wheel brings beside the code: the command as a plain file, units, the first image, the licence."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
UNITS = PROJECT / "src/corten/systemd"


def _unit(name: str) -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read(UNITS / name)
    return parsed


def test_stopping_the_service_stops_the_engine_alone() -> None:
    service = _unit("corten.service")["Service"]
    assert (service["KillMode"], service["Delegate"]) == ("process", "yes")


def test_the_socket_is_for_its_owner_alone() -> None:
    socket = _unit("corten.socket")["Socket"]
    assert (socket["SocketMode"], socket["DirectoryMode"]) == ("0600", "0700")


def test_the_command_is_a_plain_script() -> None:
    assert (PROJECT / "scripts/corten").read_text().startswith("#!python\n")


@pytest.mark.parametrize("door", ["demo", "test", "check", "bench", "test-vm", "help"])
def test_the_makefile_has_the_door(door: str) -> None:
    assert f"\n{door}:" in (PROJECT / "Makefile").read_text()


def test_ci_comes_through_a_door() -> None:
    script = PROJECT / ".ci/run"
    assert script.stat().st_mode & 0o111
    assert script.read_text().rstrip().endswith("exec make test")
