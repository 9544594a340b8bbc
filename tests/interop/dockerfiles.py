"""``python -m tests.interop.dockerfiles [--seed N] [--count N]``: what BuildKit's own parser, expander, checks and
patternmatcher make of Dockerfiles, words and .dockerignore files, and what Corten makes of them.

BuildKit is built from its Go module, once, into ``.cache/interop``. Compared are the texts of the module's own tests,
the fuzz targets' corpus, and as many generated ones as asked for. Where the two are meant to differ, :func:`_meant`
says so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.fuzz import corpus
from tests.interop import dockerfile_calls as calls
from tests.interop import dockerfile_texts as texts
from tests.interop import dockerfile_values as values

MODULE, VERSION = "github.com/moby/buildkit", "v0.34.2"
_SOURCE = Path(__file__).resolve().parent / "buildkit/main.go"
_CACHE = Path(__file__).resolve().parents[2] / ".cache/interop/buildkit"
_SHOWN, _LONGEST = 5, 2000
_LIMITS = re.compile("longer than a command can be given|more than [0-9]+ ports|no stages to build")
_WIDEST = 500
_CHECK_ABOVE_FROM = re.compile(r"#[ ]?check=skip[^\n]*\n(?:#[^\n]*\n)*from --platform", re.IGNORECASE)

Answer = dict[str, Any]


def program() -> Path:
    """BuildKit's side, built where it is not there yet or is not of this source. Raises CalledProcessError,
    FileNotFoundError without Go."""
    place = _CACHE / VERSION
    binary, kept = place / "tell", place / "main.go"
    if binary.exists() and kept.exists() and kept.read_bytes() == _SOURCE.read_bytes():
        return binary
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(_SOURCE, kept)
    (place / "go.mod").write_text(f"module tell\n\ngo 1.26\n\nrequire {MODULE} {VERSION}\n")
    environment = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    subprocess.run(["go", "build", "-o", str(binary), "."], cwd=place, env=environment, check=True)
    return binary


def of_its_tests(kind: str) -> list[str]:
    """The Dockerfiles and words that BuildKit's own tests have, read where the module is."""
    told = subprocess.run(
        ["go", "mod", "download", "-json", f"{MODULE}@{VERSION}"], check=True, capture_output=True, text=True
    ).stdout
    place = Path(json.loads(told)["Dir"]) / "frontend/dockerfile"
    if kind.startswith("Dockerfile"):
        return [path.read_text("utf-8", "replace") for path in sorted(place.glob("parser/testfile*/*/Dockerfile"))]
    lines = (place / "shell/envVarTest").read_text().splitlines() if kind == "words" else []
    return [line.split("|")[1].strip() for line in lines if "|" in line]


class BuildKit:
    """The program, asked one thing at a time."""

    def __init__(self, binary: Path) -> None:
        self._process = subprocess.Popen([str(binary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> BuildKit:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ask(self, **request: Any) -> Answer:
        """What it makes of one text."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: Answer = json.loads(self._process.stdout.readline())
        return answer


def _dockerfile(buildkit: BuildKit, text: str) -> tuple[Answer, Answer]:
    return values.of_dockerfile(text), buildkit.ask(Op="parse", Text=text)


def _checks(buildkit: BuildKit, text: str) -> tuple[Answer, Answer]:
    theirs = buildkit.ask(Op="lint", Text=text, Args=texts.ARGUMENTS)
    mine = _unsuggested(values.of_checks(text, texts.ARGUMENTS))
    if theirs.get("error") and "lint violation" not in theirs["error"] and "error" not in mine:
        return {}, {}  # it cannot be built: what was found until then is another question
    found = sorted({tuple(one) for one in theirs.get("warnings", ()) if one[0] != "InvalidBaseImagePlatform"})
    return mine, _unsuggested({"warnings": found}) if "error" not in mine else theirs


def _called(method: str) -> Callable[[BuildKit, str], tuple[Answer, Answer]]:
    def both(buildkit: BuildKit, text: str) -> tuple[Answer, Answer]:
        target = "x" if method != "targets" and " AS x" in text and len(text) % 2 else ""
        theirs = buildkit.ask(Op="call", Text=text, Args=texts.ARGUMENTS, Method=method, Target=target)
        mine = calls.of_call(method, text, texts.ARGUMENTS, target)
        if "panic" in theirs:
            return {}, {}
        return calls.comparable(method, mine), calls.comparable(method, theirs)

    return both


def _unsuggested(answer: Answer) -> Answer:
    """Without what is nearest to a wrong name: of two that are equally near, either may be told."""
    if "warnings" not in answer:
        return answer
    return {"warnings": [(rule, told.partition(" (did you mean")[0], line) for rule, told, line in answer["warnings"]]}


def _word(buildkit: BuildKit, text: str) -> tuple[Answer, Answer]:
    variables = [f"{name}={value}" for name, value in texts.VARIABLES.items()]
    theirs = buildkit.ask(Op="expand", Text=text, Env=variables, Escape="\\")
    theirs["unset"] = sorted(theirs.get("unset", ()))
    return values.of_word(text, texts.VARIABLES), theirs


def _ignore(buildkit: BuildKit, text: str) -> tuple[Answer, Answer]:
    return values.of_ignore(text, texts.PATHS), buildkit.ask(Op="ignore", Patterns=text, Paths=list(texts.PATHS))


KINDS: dict[str, tuple[str, Callable[[random.Random], str], Callable[[BuildKit, str], tuple[Answer, Answer]]]] = {
    "Dockerfiles": ("dockerfile", texts.dockerfile, _dockerfile),
    "Dockerfiles, checked": ("dockerfile", texts.plausible, _checks),
    **{
        f"Dockerfiles, --call={method}": ("dockerfile", texts.plausible, _called(method))
        for method in calls.METHODS
    },
    "words": ("expansion", texts.word, _word),
    ".dockerignore files": ("ignore", texts.ignore, _ignore),
}


def _meant(kind: str, text: str, mine: Answer, theirs: Answer) -> bool:
    """Whether the two are meant to differ here.

    - BuildKit takes single bytes of a flag for letters, and passes on bytes that are not UTF-8.
    - It knows no limit to ``${a:-${b:-…}}``.
    - It loses the word before ``${name:-…}`` and its like when it splits a text: of ``<<A${b:-c}`` the mark, too.
    - It knows no limit to what a command can be given, to ports, and to the lines that it shows; it lists the stages of
      a file that has none.
    - It asks no ``check=`` above a FROM whether InvalidBaseImagePlatform is wanted.
    - Of .dockerignore it makes a regular expression, in which ``\\a`` is no ``a``, and ``[*]`` no star; it sees that
      a pattern is malformed when it has to match it.
    """
    if "--call" in kind and (_LIMITS.search(mine.get("error", "")) or max(map(len, text.splitlines())) > _WIDEST):
        return True
    if "--call=check" in kind and _CHECK_ABOVE_FROM.search(text):
        return True
    if kind.startswith("Dockerfile"):
        return not text.isascii() or ("<<" in text and "${" in text)
    if kind == "words":
        return text.count("${") > 100 or ("${" in text and {**mine, "words": 0} == {**theirs, "words": 0})
    return "\\" in text or "[" in text


def _same(mine: Answer, theirs: Answer) -> bool:
    """Whether both refuse it, or both make the same of it: which of several errors is told first may differ."""
    if "error" in mine or "error" in theirs:
        return "error" in mine and "error" in theirs
    return mine == theirs


def _texts(kind: str, target: str, make: Callable[[random.Random], str], seed: int, count: int) -> Iterator[str]:
    yield from of_its_tests(kind)
    for path in sorted(corpus(target).iterdir()):
        yield path.read_bytes().replace(b"\0", b"").decode("utf-8", "replace")
    chance = random.Random(seed)
    for _ in range(count):
        yield make(chance)


def _compare(buildkit: BuildKit, kind: str, seed: int, count: int) -> int:
    """Print one line, and what differs though it is not meant to; how many do."""
    target, make, both = KINDS[kind]
    total = refused = meant = 0
    differing = []
    for text in _texts(kind, target, make, seed, count):
        mine, theirs = both(buildkit, text)
        total += 1
        refused += "error" in mine
        if not _same(mine, theirs):
            if _meant(kind, text, mine, theirs):
                meant += 1
            else:
                differing.append((text, mine, theirs))
    print(f"{kind}: {total} compared, {refused} refused; {meant} differ and are meant to, {len(differing)} more differ")
    for text, mine, theirs in differing[:_SHOWN]:
        for told in (f"  {text!r}", f"    Corten   {mine}", f"    BuildKit {theirs}"):
            print(told[:_LONGEST])
    return len(differing)


def main(arguments: Sequence[str]) -> int:
    """Compare everything; the exit status is 1 if something differs that is not meant to."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop.dockerfiles", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=3000, help="generated texts of each kind")
    asked = parser.parse_args(arguments)
    try:
        binary = program()
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"without BuildKit {VERSION}: {error}")
        return 1
    with BuildKit(binary) as buildkit:
        return 1 if sum(_compare(buildkit, kind, asked.seed, asked.count) for kind in KINDS) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
