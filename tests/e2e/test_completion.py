"""Completion, by the shells themselves: what Tab would offer."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.support.command import Cli, run
from tests.support.engine import PROJECT, Engine

pytestmark = [pytest.mark.root, pytest.mark.network]
_BASH = """
source <(corten completion bash)
COMP_LINE=$1 COMP_POINT=${#1}
_corten
printf '%s\\n' "${COMPREPLY[@]}"
"""
_FISH = 'corten completion fish | source; complete -C "$argv[1]"'
# Outside of a terminal zsh has no completion system: its three functions that the script calls are stood in for.
_ZSH = """
compdef() { }
_files() { }
compadd() { print -l -- "${(@P)2}" }
source <(corten completion zsh)
words=(${(s: :)1})
[[ $1 == *' ' ]] && words+=('')
CURRENT=$#words
_corten
"""


@pytest.fixture(scope="module")
def cli(shared_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """With a container, a volume, and ``corten`` on the PATH."""
    place = tmp_path_factory.mktemp("bin")
    (place / "corten").write_text(f'#!/bin/sh\nexec {sys.executable} {PROJECT}/scripts/corten "$@"\n')
    (place / "corten").chmod(0o755)
    made = shared_engine.cli
    made("create", "--name", "mine", "busybox", "true").check()
    made("volume", "create", "data").check()
    path = f"{place}:{made.environment['PATH']}"
    return Cli((), {**made.environment, "PATH": path, "ZDOTDIR": str(place), "XDG_CONFIG_HOME": str(place)})


CASES = [
    ("corten ru", {"run"}),
    ("corten cont", {"container"}),
    ("corten container ru", {"run"}),
    ("corten volume rm ", {"data"}),
    ("corten start ", {"mine"}),
    ("corten run --read-o", {"--read-only"}),
    ("corten run busyb", {"busybox", "busybox:latest"}),
    ("corten --debug st", {"start", "stats", "stop"}),
]


def offered(cli: Cli, shell: list[str], line: str) -> set[str]:
    """What a shell prints, an offer a line; a description after a tab is left out."""
    if not shutil.which(shell[0]):
        pytest.skip(f"{shell[0]} is not installed")
    found = run([*shell, line], env=cli.environment).check()
    return {one.partition("\t")[0] for one in found.lines if one}


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_bash(cli: Cli, line: str, expected: set[str]) -> None:
    assert offered(cli, ["bash", "-c", _BASH, "bash"], line) == expected


def test_bash_after_a_colon(cli: Cli) -> None:
    """Only what follows the colon is replaced."""
    assert offered(cli, ["bash", "-c", _BASH, "bash"], "corten run busybox:la") == {"latest"}


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_fish(cli: Cli, line: str, expected: set[str]) -> None:
    assert expected <= offered(cli, ["fish", "--no-config", "-c", _FISH], line)


@pytest.mark.parametrize(("line", "expected"), CASES)
def test_zsh(cli: Cli, line: str, expected: set[str]) -> None:
    assert offered(cli, ["zsh", "-f", "-c", _ZSH, "zsh"], line) == expected


def test_an_unknown_shell_is_refused(cli: Cli) -> None:
    result = run(["corten", "completion", "tcsh"], env=cli.environment)
    assert result.code == 1
    assert "one of bash, zsh, fish" in result.err


def test_a_dead_engine_is_not_started_by_tab(cli: Cli, tmp_path: Path) -> None:
    quiet = {**cli.environment, "CORTEN_ROOT": str(tmp_path / "root"), "CORTEN_HOST": "", "DOCKER_HOST": ""}
    result = run(["corten", "__complete", "--", "start", ""], env=quiet)
    assert (result.code, result.out) == (0, "")
    assert not (tmp_path / "root").exists()
