"""The command line has Docker's commands and their options; what it does not have, it lacks on purpose, and here."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from corten.cli import commands, main

_WINDOWS = {"cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops"}
_SWARM = {"availability", "cluster", "config-from", "config-only", "group", "ingress", "limit-bytes", "required-bytes",
          "scope", "secret", "sharing", "topology-preferred", "topology-required", "type"}  # fmt: skip
_OF_THE_CLASSIC_BUILDER = {"compress", "disable-content-trust", "isolation", "security-opt", "squash"}
"""Of ``image build``, without effect in dockerd on Linux, or an experiment."""
_NOT_HERE = {"checkpoint", "checkpoint-dir", "gpus", "ipv4", "kernel-memory", "link-local-ip", "tree", "use-api-socket"}
_ELSEWHERE = {"update"}
"""``volume update`` is Swarm's."""


def _help(*words: str) -> str:
    return subprocess.run(["docker", *words, "--help"], capture_output=True, check=True, text=True).stdout


def _options(text: str) -> Iterator[tuple[str, str]]:
    """Each option of a help text, with its short form."""
    for found in re.finditer(r"^ +(?:-(\w), )?--([\w-]+)", text.partition("\nOptions:")[2], re.M):
        yield found[2], found[1] or ""


def _absent(command: str) -> set[str]:
    absent = _WINDOWS | _SWARM | _NOT_HERE
    return absent | _OF_THE_CLASSIC_BUILDER if command == "build" else absent


def _commands(text: str) -> list[str]:
    return re.findall(r"^  ([a-z-]+) ", text.partition("Commands:")[2], re.M)


@pytest.mark.parametrize("group", ["container", "image", "manifest", "network", "system", "volume"])
def test_groups_are_dockers(group: str) -> None:
    if not shutil.which("docker"):
        pytest.skip("the docker command line is not installed")
    own = commands.GROUPS[group][1]
    theirs = [name for name in _commands(_help(group)) if name not in _ELSEWHERE or name in own]
    differing = [f"{group} {name}" for name in theirs if name not in own]
    for name in set(theirs) & own.keys():
        options = {option.name: option.short for option in main.load(own[name]).options}
        differing += [
            f"{group} {name} --{option}" for option, short in _options(_help(group, name))
            if option not in _absent(name) and options.get(option) != short
        ]  # fmt: skip
    assert differing == []
