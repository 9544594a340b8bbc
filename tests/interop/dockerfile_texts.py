"""Texts for the comparison with BuildKit: Dockerfiles, words and .dockerignore files put together by chance."""

from __future__ import annotations

import random

ARGUMENTS = {"x": "image", "y": "1"}
VARIABLES = {"a": "abcabc", "b": "B  C", "e": "", "p": "foo/bar/baz.tar.gz\nline/two", "r": "$0*?\\x"}

_KEYWORDS = (
    "FROM", "RUN", "COPY", "ADD", "ENV", "ARG", "LABEL", "CMD", "ENTRYPOINT", "HEALTHCHECK", "EXPOSE", "USER",
    "WORKDIR", "VOLUME", "STOPSIGNAL", "SHELL", "ONBUILD", "MAINTAINER", "run", "Copy", "onbuild RUN", "ONBUILD COPY",
    "BOGUS",
)  # fmt: skip
_PIECES = (
    "a", "b c", "$a", "${b}", "${b:-x}", '"q r"', "'s t'", "\\ ", "\\", "\\\n", "x=y", "=", "<<E", "<<-'F'", '<<"G"',
    "E\n", "F\n", "\tF\n", "G\n", "[", "]", '["a","b"]', '["a", "b c"]', ",", "#c", "\n# c\n", "\n\n", "`", "--from=x",
    "--chown=$a", "--link", "--link=false", "--mount=type=cache,target=/x", "--mount=type=bind,from=x,source=${b}",
    "--mount=type=tmpfs,size=1g", "--mount=type=secret,id=a,required", "--network=none", "--platform=$p",
    "--exclude=*.x", "--", "--interval=5s", "CMD", "NONE", "AS", "as", "\t", "  ", "é", "\u00a0", "/", "..", "80",
    "443/tcp", "$", "{", "}", "0", "-", "--checksum=x", ";", "&&", "EOF", "\r", "\x0b",
)  # fmt: skip
_HEADS = ("", "", "", "# escape=`\n", "# syntax=x\n", "#check=skip=all\n", "# a=b\n# escape=`\n", "\ufeff", "#!/x\n")
_LINES = (
    "FROM a", "from b as C", "FROM scratch", "FROM $x", "FROM ${base:-q}", "FROM --platform=linux/amd64 a",
    "FROM --platform=$TARGETPLATFORM a AS linux-x", "FROM --platform=linux/arm64 a AS arm", "FROM a AS x",
    "FROM x As y", "FROM b AS context", "ARG base=z", "ARG base", "ARG x y=1", "ARG TOKEN=1", "ARG MY_KEY",
    "ENV public_key=1 password=2", "ENV a b", "ENV a=$b c=$FROMIMAGE", "env q=$y", "LABEL a b", "label a=$z",
    "MAINTAINER me", "CMD a", 'CMD ["a"]', "cmd b", "ENTRYPOINT x", "HEALTHCHECK NONE", "HEALTHCHECK CMD x",
    'SHELL ["a"]', "WORKDIR a", "WORKDIR /b", "WORKDIR $nope", "EXPOSE 80/TCP", "EXPOSE 80:80", "EXPOSE $p",
    "COPY $src /", "COPY a$PATTH /", "RUN $u", "RUN --mount=target=/$tgt x", "# check=skip=all",
    "# check=skip=UndefinedVar,JSONArgsRecommended", "# check=experimental=all", "# x is fine", "#", "# base words",
    "RUN --mount=type=secret,id=s,required x", "RUN --mount=type=secret,target=/$y/t --mount=type=secret,id=s x",
    "RUN --mount=type=ssh x", "RUN --mount=type=ssh,id=$y,required x", "# y words\nARG y z=$y", "COPY --from=0 a b",
    "# x above\nFROM $base AS x", "Run x", "USER ${who:-me}", "VOLUME /$v", "RUN a \\\n\n b", "ONBUILD RUN $x",
    "COPY --from=x a b",
)  # fmt: skip
_CHECKS = (
    "", "", "", "# check=skip=JSONArgsRecommended;error=true\n", "#check=skip=all\n", "# check=experimental=all\n",
    "#!/x\n# check=skip=UndefinedVar\n", "# syntax=x\n# check=error=true\n",
)  # fmt: skip
_PARTS = (
    "a", "b", "abc", "$a", "$b", "$n", "${a}", "${n}", "${e}", "${a:-", "${n:-", "${n-", "${e:+", "${a+", "${a?",
    "${n:?x", "${a#", "${a##", "${a%", "${a%%", "${a/", "${a//", "${p#", "${p//", "${p%", "${p%%", "${p##", "/", "}",
    "}", "}", "}", "*", "?", "'", "'", '"', '"', "\\", "\\", " ", "  ", "<<", "<", "$", "$$", "$1", "${", "${:", "é",
    "\n", "[", ".", "{", "`", "^", ":", "-", "#", "%", "\t", "$r", "\\*", "\\?", "\\}", "\\/", "b c",
)  # fmt: skip
_PATTERNS = (
    "a", "b", "*", "**", "?", "/", "/", "/", "[ab]", "[^a]", "[a-c]", "foo", "!", "\\*", ".", "..", "#", " ", "]", "x",
    "*.txt", "**/", "/**", "-", "ab",
)  # fmt: skip
_NAMES = ("a", "b", "ab", "a.b", "foo", "foo.txt", ".git", "a b", "x]", "é")
PATHS = tuple("/".join(names) for names in (
    *((name,) for name in _NAMES), *((one, other) for one in _NAMES for other in _NAMES),
    ("a", "b", "foo.txt"), ("foo", "a.b", "ab"), (".git", "a", "b", "foo"), ("é", "a b", "x]", "foo.txt"),
))  # fmt: skip


def dockerfile(chance: random.Random) -> str:
    """A Dockerfile that is mostly wrong: pieces of syntax in any order."""
    out = [chance.choice(_HEADS), chance.choice(("FROM a\n", "FROM a AS b\n", "ARG x=1\nFROM a\n"))]
    for _ in range(chance.randint(1, 3)):
        rest = (chance.choice(_PIECES) + chance.choice(("", " ", " ")) for _ in range(chance.randint(0, 7)))
        out.append(
            f"{chance.choice(_KEYWORDS)} {''.join(rest)}{chance.choice((chr(10), chr(10), '', chr(13) + chr(10)))}"
        )
    return "".join(out)


def plausible(chance: random.Random) -> str:
    """A Dockerfile that mostly builds, and has much for the checks to find."""
    head = chance.choice(_CHECKS) + chance.choice(("", "ARG base=z\n", "ARG x\n"))
    first = chance.choice(("FROM a\n", "FROM a AS x\n", "FROM scratch\n"))
    return head + first + "".join(chance.choice(_LINES) + "\n" for _ in range(chance.randint(1, 7)))


def word(chance: random.Random) -> str:
    """A word of variables, modifiers and quotes."""
    return "".join(chance.choice(_PARTS) for _ in range(chance.randint(1, 10)))


def ignore(chance: random.Random) -> str:
    """A few patterns."""
    lines = (
        "".join(chance.choice(_PATTERNS) for _ in range(chance.randint(1, 6))) for _ in range(chance.randint(1, 4))
    )
    return "".join(f"{line}\n" for line in lines)
