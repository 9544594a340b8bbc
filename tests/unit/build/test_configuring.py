"""Instructions that change the configuration, and their lines in the history."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from corten.build.configuring import configured
from corten.build.parser import parse
from corten.build.state import State


def after(text: str, **config: Any) -> State:
    state = State(config=config, created="2024-01-01T00:00:00Z")
    for instruction in parse(f"FROM scratch\n{text}").stages[0].instructions:
        found = configured(instruction, state)
        assert found is not None
        state = found
    return state


@pytest.mark.parametrize(
    ("text", "name", "value", "history"),
    [
        ("ENV A=1 B=2", "Env", ["C=3", "A=1", "B=2"], "ENV A=1 B=2"),
        ("ENV C=4", "Env", ["C=4"], "ENV C=4"),
        ("LABEL a=b", "Labels", {"a": "b"}, "LABEL a=b"),
        ('CMD ["a", "b c"]', "Cmd", ["a", "b c"], 'CMD ["a" "b c"]'),
        ("CMD a b", "Cmd", ["/bin/sh", "-c", "a b"], 'CMD ["/bin/sh" "-c" "a b"]'),
        ('SHELL ["/bin/bash", "-c"]\nCMD a', "Cmd", ["/bin/bash", "-c", "a"], 'CMD ["/bin/bash" "-c" "a"]'),
        ('ENTRYPOINT ["a"]', "Entrypoint", ["a"], 'ENTRYPOINT ["a"]'),
        ("USER a:b", "User", "a:b", "USER a:b"),
        ("VOLUME /a /b", "Volumes", {"/a": {}, "/b": {}}, "VOLUME [/a /b]"),
        ("STOPSIGNAL TERM", "StopSignal", "TERM", "STOPSIGNAL TERM"),
        ("HEALTHCHECK NONE", "Healthcheck", {"Test": ["NONE"]},
         "HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0}"),
        ("HEALTHCHECK --interval=90s --retries=3 CMD a", "Healthcheck",
         {"Test": ["CMD-SHELL", "a"], "Interval": 90 * 10**9, "Retries": 3},
         "HEALTHCHECK {Test:[CMD-SHELL a] Interval:1m30s Timeout:0s StartPeriod:0s StartInterval:0s Retries:3}"),
    ],
)  # fmt: skip
def test_configuration_and_history(text: str, name: str, value: Any, history: str) -> None:
    state = after(text, Env=["C=3"])
    assert state.config[name] == value
    assert state.history[-1]["created_by"] == history
    assert state.history[-1]["empty_layer"] is True


def test_an_entrypoint_drops_the_command_of_the_image_below_and_not_of_the_stage() -> None:
    assert "Cmd" not in after('ENTRYPOINT ["a"]', Cmd=["old"]).config
    assert after('CMD ["new"]\nENTRYPOINT ["a"]', Cmd=["old"]).config["Cmd"] == ["new"]


def test_a_trigger_has_no_line_in_the_history() -> None:
    state = after("ONBUILD RUN a\nONBUILD RUN b")
    assert state.config["OnBuild"] == ["RUN a", "RUN b"]
    assert not state.history


def test_with_an_epoch_all_that_is_added_is_of_that_moment() -> None:
    state = State(created="2024-01-01T00:00:00Z")
    assert state.step("USER a").created == "2024-01-01T00:00:00Z"
    assert dataclasses.replace(state, moment="2023-01-01T00:00:00Z").step("USER a").created == "2023-01-01T00:00:00Z"


def test_an_author() -> None:
    assert json.loads(after("MAINTAINER me").document())["author"] == "me"


def test_the_document_is_the_same_every_time() -> None:
    text = "ENV A=1\nLABEL b=c\nCMD a"
    assert after(text).document() == after(text).document()
    assert after(text).id == after(text).id
