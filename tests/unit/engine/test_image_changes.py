"""Dockerfile instructions on an image's configuration: ``--change`` of import and commit."""

from __future__ import annotations

from typing import Any

import pytest

from corten.engine import image_changes
from corten.errors import InvalidInput


@pytest.mark.parametrize(
    ("change", "config"),
    [
        ('CMD ["a","b"]', {"Cmd": ["a", "b"]}),
        ("cmd a b", {"Cmd": ["/bin/sh", "-c", "a b"]}),
        ('ENTRYPOINT ["a"]', {"Entrypoint": ["a"]}),
        ('ENV A=1 B="two words"', {"Env": ["A=1", "B=two words"]}),
        ("ENV A two words", {"Env": ["A=two words"]}),
        ("LABEL a=b", {"Labels": {"a": "b"}}),
        ("EXPOSE 80 53/udp", {"ExposedPorts": {"80/tcp": {}, "53/udp": {}}}),
        ('VOLUME ["/a"]', {"Volumes": {"/a": {}}}),
        ("VOLUME /a /b", {"Volumes": {"/a": {}, "/b": {}}}),
        ("USER u", {"User": "u"}),
        ("WORKDIR /w", {"WorkingDir": "/w"}),
        ("STOPSIGNAL 9", {"StopSignal": "9"}),
        ("ONBUILD RUN x", {"OnBuild": ["RUN x"]}),
        ("HEALTHCHECK NONE", {"Healthcheck": {"Test": ["NONE"]}}),
        ('HEALTHCHECK CMD ["a"]', {"Healthcheck": {"Test": ["CMD", "a"]}}),
        (
            "HEALTHCHECK --interval=1m30s --retries=4 CMD a b",
            {"Healthcheck": {"Test": ["CMD-SHELL", "a b"], "Interval": 90 * 10**9, "Retries": 4}},
        ),
    ],
)
def test_one_instruction(change: str, config: dict[str, Any]) -> None:
    assert image_changes.apply([change]) == config


@pytest.mark.parametrize(
    ("change", "member", "value"),
    [
        ("ENV P=/x:$P", "Env", ["P=/x:/a b"]),
        ('ENV P="${P}!"', "Env", ["P=/a b!"]),
        ("ENV P='$P'", "Env", ["P=$P"]),
        ("ENV P=\\$P", "Env", ["P=$P"]),
        ("ENV P x$P", "Env", ["P=x/a\\ b"]),
        ("WORKDIR $P/c", "WorkingDir", "/a b/c"),
        ("USER ${Q:-nobody}", "User", "nobody"),
        ("USER ${P:+some}${Q:+none}", "User", "some"),
        ('LABEL p="$P"', "Labels", {"p": "/a b"}),
    ],
)
def test_variables_of_the_image_stand_for_their_values(change: str, member: str, value: Any) -> None:
    assert image_changes.apply([change], {"Env": ["P=/a b"]})[member] == value


def test_they_change_a_copy_of_what_was() -> None:
    base = {"Env": ["A=1", "B=2"], "Labels": {"a": "b"}, "Cmd": ["x"], "User": "u"}
    found = image_changes.apply(["ENV B=3 C=4", "LABEL a=c d=e"], base)
    assert found == {"Env": ["A=1", "B=3", "C=4"], "Labels": {"a": "c", "d": "e"}, "Cmd": ["x"], "User": "u"}
    assert base["Env"] == ["A=1", "B=2"]


def test_an_entrypoint_takes_the_command_along_unless_one_is_given() -> None:
    assert "Cmd" not in image_changes.apply(['ENTRYPOINT ["e"]'], {"Cmd": ["x"]})
    assert image_changes.apply(['ENTRYPOINT ["e"]', 'CMD ["c"]'], {"Cmd": ["x"]})["Cmd"] == ["c"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("FOO x", "foo is not a valid change command"),
        ("RUN x", "run is not a valid change command"),
        ("CMD", "it has no value"),
        ("CMD [1]", "not a JSON array of strings"),
        ("EXPOSE 0", "invalid port 0"),
        ("HEALTHCHECK x", "unknown type"),
        ("HEALTHCHECK --odd=1 CMD x", "unknown flag: odd"),
        ("HEALTHCHECK --interval=1 CMD x", "invalid duration"),
        ("HEALTHCHECK --retries=x CMD x", "invalid literal"),
    ],
)
def test_what_is_none_is_named(change: str, said: str) -> None:
    with pytest.raises(InvalidInput, match="change") as raised:
        image_changes.apply([change])
    assert said in raised.value.message
