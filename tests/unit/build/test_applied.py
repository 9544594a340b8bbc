"""Which words of which instruction are expanded."""

from __future__ import annotations

from typing import Any

import pytest

from corten.build.applied import applied
from corten.build.failure import Source
from corten.build.instructions import HereDocument, Instruction, Mount, Pair
from corten.build.parser import parse
from corten.errors import DockerfileError

VARIABLES = {"a": "A", "two": "b c", "port": "80-81", "empty": "", "id": "7"}


def apply(text: str) -> tuple[Instruction, frozenset[str]]:
    dockerfile = parse(f"FROM base\n{text}")
    (one,) = dockerfile.stages[0].instructions
    return applied(one, VARIABLES, dockerfile.escape, Source("Dockerfile", dockerfile.text))


EXPANDED: list[tuple[str, dict[str, Any]]] = [
    ("ENV $a=$two b='$a' c=\"$a\"", {"pairs": (Pair("A", "b c"), Pair("b", "$a"), Pair("c", "A"))}),
    ("ENV x=1 y=$x", {"pairs": (Pair("x", "1"), Pair("y", ""))}),
    ("ENV x $two '$a'", {"pairs": (Pair("x", "b c $a", legacy=True),)}),
    ("LABEL $a=${two%c}", {"pairs": (Pair("A", "b "),)}),
    (
        "COPY --chown=$id:$id --chmod=6$id --from=x --exclude=$a $a 'b' /$a/",
        {"sources": ("A", "b"), "destination": "/A/", "chown": "7:7", "chmod": "67", "from_": "x", "exclude": ("$a",)},
    ),
    ("ADD --checksum=sha256:$id https://$a /", {"sources": ("https://A",), "checksum": "sha256:7"}),
    ("COPY <<E /\n$a '\\$a' \"\nE", {"documents": (HereDocument("E", "A '$a' \"\n"),)}),
    ("COPY <<'E' /\n$a\nE", {"documents": (HereDocument("E", "$a\n", expand=False),)}),
    ("COPY <<-E /\n\t$a\nE", {"documents": (HereDocument("E", "A\n"),)}),
    ("EXPOSE $port/udp $id", {"ports": ("7/tcp", "80/udp", "81/udp")}),
    ("EXPOSE $empty 1 \"$id\"", {"ports": ("7/tcp", "1/tcp")}),
    ("USER $a:$id", {"user": "A:7"}),
    ("WORKDIR /$a/$two", {"path": "/A/b c"}),
    ("VOLUME /$a '/$a'", {"paths": ("/A", "/$a")}),
    ('VOLUME ["/$two"]', {"paths": ("/b c",)}),
    ("STOPSIGNAL $id", {"signal": "7"}),
    ("RUN --mount=target=/$a,from=x echo $a", {"mounts": (Mount("bind", "x", target="/A"),)}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), EXPANDED)
def test_words_that_are_expanded(text: str, expected: dict[str, Any]) -> None:
    found, _ = apply(text)
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    "text",
    [
        "RUN echo $a", 'RUN ["$a"]', "RUN <<E\n$a\nE", "CMD $a", "ENTRYPOINT $a", "HEALTHCHECK CMD $a", 'SHELL ["$a"]',
        "ONBUILD RUN $a", "MAINTAINER $a", "ARG b=$a",
    ],
)  # fmt: skip
def test_instructions_that_stay_as_they_are(text: str) -> None:
    found, unset = apply(text)
    assert found == parse(f"FROM base\n{text}").stages[0].instructions[0]
    assert unset == frozenset()


def test_names_without_a_value_are_told() -> None:
    assert apply("COPY $no <<E $nor/\n$neither\nE")[1] == {"no", "nor", "neither"}


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("ENV x=${y?}", 'failed to process "${y?}": y: is not allowed to be unset'),
        (
            "WORKDIR '/a",
            'failed to process "\'/a": unexpected end of statement while looking for matching single-quote',
        ),
        ("VOLUME $empty", "VOLUME specified can not be an empty string"),
        ("RUN --mount=type=$a,target=/x y", 'unsupported mount type "A"'),
        ("EXPOSE $a", "invalid containerPort: A"),
        ("EXPOSE 1/icmp", 'invalid port: "1/icmp": invalid proto: icmp'),
        ("EXPOSE " + "0-65535 " * 4, "more than 196608 ports"),
    ],
)
def test_words_that_cannot_be_expanded(text: str, cause: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        apply(text)
    assert (caught.value.cause, caught.value.line) == (cause, 2)
