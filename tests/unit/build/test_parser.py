"""The parser: each instruction in each of its forms, and what a wrong one is told."""

from __future__ import annotations

import dataclasses

import pytest

from corten.build.instructions import (
    Add,
    Arg,
    Cmd,
    CommandLine,
    Copy,
    Definition,
    Device,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    HereDocument,
    Instruction,
    Label,
    Location,
    Maintainer,
    Onbuild,
    Pair,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from corten.build.parser import parse
from corten.errors import DockerfileError

HERE = {"location": Location(2, 2), "original": ""}
SECOND = 10**9


def line(text: str) -> CommandLine:
    return CommandLine((text,), in_shell=True)


def exact(*words: str) -> CommandLine:
    return CommandLine(words, in_shell=False)


def only(text: str) -> Instruction:
    """The one instruction after FROM, without its place and text."""
    (found,) = parse(f"FROM base\n{text}").stages[0].instructions
    return dataclasses.replace(found, location=HERE["location"], original="")


INSTRUCTIONS = [
    ("ARG a", Arg(definitions=(Definition("a"),), **HERE)),
    (
        "ARG a= b=1 c='x y'",
        Arg(definitions=(Definition("a", ""), Definition("b", "1"), Definition("c", "'x y'")), **HERE),
    ),
    ("ARG a=b=c", Arg(definitions=(Definition("a", "b=c"),), **HERE)),
    ("ARG --x a", Arg(definitions=(Definition("a"),), **HERE)),
    ("ENV a=b", Env(pairs=(Pair("a", "b"),), **HERE)),
    ('ENV a="b c" d=e\\ f', Env(pairs=(Pair("a", '"b c"'), Pair("d", "e\\ f")), **HERE)),
    ("ENV a b  c=d ", Env(pairs=(Pair("a", "b  c=d", legacy=True),), **HERE)),
    ("ENV a= b=", Env(pairs=(Pair("a", ""), Pair("b", "")), **HERE)),
    ("LABEL a.b='x' \"c d\"=e", Label(pairs=(Pair("a.b", "'x'"), Pair('"c d"', "e")), **HERE)),
    ("LABEL a b", Label(pairs=(Pair("a", "b", legacy=True),), **HERE)),
    ("RUN", Run(command=CommandLine((), in_shell=True), **HERE)),
    ("RUN echo $a  'b'", Run(command=line("echo $a  'b'"), **HERE)),
    ('RUN ["a", "b c", "\\u00e9"]', Run(command=exact("a", "b c", "é"), **HERE)),
    ("RUN ['a']", Run(command=line("['a']"), **HERE)),
    ('RUN ["a"', Run(command=line('["a"'), **HERE)),
    ('RUN ["a"] b', Run(command=line('["a"] b'), **HERE)),
    ("CMD " + "[" * 5000, Cmd(command=line("[" * 5000), **HERE)),
    ("RUN []", Run(command=exact(), **HERE)),
    ("RUN [NaN]", Run(command=line("[NaN]"), **HERE)),
    ("RUN --network=none x", Run(command=line("x"), network="none", **HERE)),
    ("RUN --network=host --security=insecure x", Run(command=line("x"), network="host", security="insecure", **HERE)),
    (
        "RUN --mount=type=cache,target=/a --mount=target=$b --device=v.com/d=x,required x",
        Run(
            command=line("x"),
            mount_options=("type=cache,target=/a", "target=$b"),
            devices=(Device("v.com/d=x", True),),
            **HERE,
        ),
    ),
    ("RUN -- --x", Run(command=line("--x"), **HERE)),
    ("RUN -x --network=none", Run(command=line("-x --network=none"), **HERE)),
    ("CMD a b", Cmd(command=line("a b"), **HERE)),
    ('CMD ["a"]', Cmd(command=exact("a"), **HERE)),
    ("CMD []", Cmd(command=exact(), **HERE)),
    ("ENTRYPOINT a", Entrypoint(command=line("a"), **HERE)),
    ("ENTRYPOINT []", Entrypoint(command=exact(), **HERE)),
    ("COPY a b", Copy(sources=("a",), destination="b", **HERE)),
    ('COPY ["a b", "c", "/d e/"]', Copy(sources=("a b", "c"), destination="/d e/", **HERE)),
    (
        "COPY --from=x --chown=1:2 --chmod=u+x --link --parents --exclude=*.a --exclude=b a b",
        Copy(
            sources=("a",),
            destination="b",
            from_="x",
            chown="1:2",
            chmod="u+x",
            link=True,
            parents=True,
            exclude=("*.a", "b"),
            **HERE,
        ),
    ),
    ("COPY --link=false --parents=FALSE a b", Copy(sources=("a",), destination="b", **HERE)),
    (
        "COPY '--chown=a' --chmod=\"6 4\" a b",
        Copy(sources=("'--chown=a'", '--chmod="6', '4"', "a"), destination="b", **HERE),
    ),
    ('COPY --chmod="6"4 --chown=a\\ b a b', Copy(sources=("a",), destination="b", chmod="64", chown="a b", **HERE)),
    ("ADD a b", Add(sources=("a",), destination="b", **HERE)),
    (
        "ADD --checksum=sha256:0 --keep-git-dir --unpack=false --exclude=x https://a b",
        Add(
            sources=("https://a",),
            destination="b",
            checksum="sha256:0",
            keep_git_dir=True,
            unpack=False,
            exclude=("x",),
            **HERE,
        ),
    ),
    ("HEALTHCHECK NONE", Healthcheck(test=("NONE",), **HERE)),
    ("HEALTHCHECK cmd a b", Healthcheck(test=("CMD-SHELL", "a b"), **HERE)),
    ('HEALTHCHECK CMD ["a"]', Healthcheck(test=("CMD", "a"), **HERE)),
    (
        "HEALTHCHECK --interval=1m30s --timeout=1.5s --start-period=2ms --start-interval=3s --retries=4 CMD a",
        Healthcheck(
            test=("CMD-SHELL", "a"),
            interval=90 * SECOND,
            timeout=3 * SECOND // 2,
            start_period=2 * 10**6,
            start_interval=3 * SECOND,
            retries=4,
            **HERE,
        ),
    ),
    ("EXPOSE 80 443/udp $p", Expose(ports=("$p", "443/udp", "80"), **HERE)),
    ("USER a:b", User(user="a:b", **HERE)),
    ("USER a b", User(user="a b", **HERE)),
    ("WORKDIR /a b", Workdir(path="/a b", **HERE)),
    ("VOLUME /a /b", Volume(paths=("/a", "/b"), **HERE)),
    ('VOLUME ["/a b"]', Volume(paths=("/a b",), **HERE)),
    ("STOPSIGNAL SIGINT", StopSignal(signal="SIGINT", **HERE)),
    ('SHELL ["a", "-c"]', Shell(words=("a", "-c"), **HERE)),
    ("MAINTAINER a <b>", Maintainer(name="a <b>", **HERE)),
    ("ONBUILD RUN a", Onbuild(trigger="RUN a", **HERE)),
    ("onbuild  copy a b", Onbuild(trigger="copy a b", **HERE)),
    ("ONBUILD RUN <<E\nx\nE", Onbuild(trigger="RUN <<E\nx\nE", **HERE)),
]


@pytest.mark.parametrize(("text", "expected"), INSTRUCTIONS, ids=[text[:40] for text, _ in INSTRUCTIONS])
def test_an_instruction(text: str, expected: Instruction) -> None:
    assert only(text) == expected


REFUSED = [
    ("FRMO a", "unknown instruction: FRMO (did you mean FROM?)"),
    ("rnu a", "unknown instruction: rnu (did you mean run?)"),
    ("SOMETHING a", "unknown instruction: SOMETHING"),
    ("FROM", "FROM requires either one or three arguments"),
    ("FROM a b", "FROM requires either one or three arguments"),
    ("FROM a is b", "FROM requires either one or three arguments"),
    ("FROM a AS 1b", 'invalid name for build stage: "1b", name can\'t start with a number or contain symbols'),
    ("FROM --platfrom=x a", "unknown flag: --platfrom (did you mean platform?)"),
    ("FROM --platform a", "missing a value on flag: --platform"),
    ("ARG", "ARG requires at least one argument"),
    ("ARG =b", "ARG names can not be blank"),
    ("ENV", "ENV requires at least one argument"),
    ("ENV a", "ENV must have two arguments"),
    ("ENV a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
    ("ENV =b", "ENV names can not be blank"),
    ("ENV --x a=b", "unknown flag: --x"),
    ("LABEL", "LABEL requires at least one argument"),
    ("LABEL a", "LABEL must have two arguments"),
    ("RUN [1]", "when using JSON array syntax, arrays must be comprised of strings only"),
    ('CMD ["a", null]', "when using JSON array syntax, arrays must be comprised of strings only"),
    ("RUN --network=x y", 'invalid network mode "x"'),
    ("RUN --security=x y", 'security "x" is not valid'),
    ("RUN --mount=from=$a y", "'from' doesn't support variable expansion, define alias stage instead"),
    ("RUN --mount='\"a' y", 'failed to parse csv mounts: extraneous or missing " in quoted-field'),
    ("RUN --netwrok=x y", "unknown flag: --netwrok (did you mean network?)"),
    ("COPY a", "COPY requires at least two arguments, but only one was provided. Destination could not be determined"),
    ("ADD", "ADD requires at least two arguments, but only one was provided. Destination could not be determined"),
    ("COPY --link=maybe a b", "expecting boolean value for flag --link, not: maybe"),
    ("COPY --link= a b", "missing a value on flag: --link"),
    ("COPY --link --link a b", "duplicate flag specified: --link"),
    ("COPY --checksum=x a b", "unknown flag: --checksum"),
    ("ADD --from=x a b", "unknown flag: --from"),
    ("COPY a <<E\nE", "COPY cannot accept a heredoc as a destination"),
    ("RUN <<E\nx", "unterminated heredoc"),
    ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
    ("HEALTHCHECK --interval=1s", "HEALTHCHECK requires at least one argument"),
    ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
    ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
    ("HEALTHCHECK x y", 'Unknown type "X" in HEALTHCHECK (try CMD)'),
    ("HEALTHCHECK --interval=x CMD a", 'time: invalid duration "x"'),
    ("HEALTHCHECK --interval=5 CMD a", 'time: missing unit in duration "5"'),
    ("HEALTHCHECK --interval=5y CMD a", 'time: unknown unit "y" in duration "5y"'),
    ("HEALTHCHECK --timeout=1us CMD a", 'Interval "timeout" cannot be less than 1ms'),
    ("HEALTHCHECK --retries=x CMD a", 'strconv.ParseInt: parsing "x": invalid syntax'),
    ("HEALTHCHECK --retries=9999999999 CMD a", 'strconv.ParseInt: parsing "9999999999": value out of range'),
    ("HEALTHCHECK --retries=-1 CMD a", "--retries cannot be negative (-1)"),
    ("EXPOSE", "EXPOSE requires at least one argument"),
    ("USER", "USER requires exactly one argument"),
    ("WORKDIR", "WORKDIR requires exactly one argument"),
    ("MAINTAINER", "MAINTAINER requires exactly one argument"),
    ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
    ("VOLUME", "VOLUME requires at least one argument"),
    ('VOLUME [" "]', "VOLUME specified can not be an empty string"),
    ("SHELL a b", "SHELL requires the arguments to be in JSON form"),
    ("SHELL []", "SHELL requires at least one argument"),
    ("ONBUILD", "ONBUILD requires at least one argument"),
    ("ONBUILD FROM a", "FROM isn't allowed as an ONBUILD trigger"),
    ("ONBUILD maintainer a", "MAINTAINER isn't allowed as an ONBUILD trigger"),
    ("ONBUILD ONBUILD RUN a", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
    ("ONBUILD ENV a", "ENV must have two arguments"),
    ("RUN a\0b", "instruction contains a NUL character"),
]


@pytest.mark.parametrize(("text", "cause"), REFUSED, ids=[text.replace("\0", "NUL") for text, _ in REFUSED])
def test_an_instruction_that_is_refused(text: str, cause: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(f"FROM base\n{text}", "my.Dockerfile")
    assert caught.value.cause == cause
    assert caught.value.message == f"dockerfile parse error on line 2: {cause}"
    assert (caught.value.source, caught.value.line) == ("my.Dockerfile", 2)
    assert caught.value.excerpt.splitlines()[0] == "my.Dockerfile:2"
    assert f"   2 | >>> {text.splitlines()[0]}".replace("\0", "\ufffd") in caught.value.excerpt.splitlines()
    assert caught.value.hint.startswith("expected ") or "unterminated" in cause or "NUL" in cause


def test_a_long_line_is_cut() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(f"FROM a\nNOSUCH {'b' * 1_000_000}\n")
    assert f"   2 | >>> NOSUCH {'b' * 493}…" in caught.value.excerpt.splitlines()


def test_an_error_of_several_lines_shows_them_and_two_around() -> None:
    with pytest.raises(DockerfileError) as caught:
        parse("FROM a\n\nRUN 1\nCOPY \\\n  x\x1b[31m\nRUN 2\nRUN 3\nRUN 4\n")
    assert (caught.value.line, caught.value.last_line, caught.value.instruction) == (4, 5, "COPY")
    assert caught.value.expected == "COPY [OPTIONS] SOURCE... DESTINATION"
    assert caught.value.excerpt == "\n".join(
        [
            "Dockerfile:4",
            "--------------------",
            "   2 |",
            "   3 |     RUN 1",
            "   4 | >>> COPY \\",
            "   5 | >>>   x\ufffd[31m",
            "   6 |     RUN 2",
            "   7 |     RUN 3",
            "--------------------",
        ]
    )


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "the Dockerfile cannot be empty"),
        ("# x\n\n", "file with no instructions"),
        ("ARG a", "dockerfile contains no stages to build"),
    ],
)
def test_a_file_with_nothing_to_build(text: str, cause: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse(text)
    assert (caught.value.cause, caught.value.line, caught.value.excerpt) == (cause, 0, "")


def test_only_arguments_may_stand_before_the_first_stage() -> None:
    with pytest.raises(DockerfileError, match="on line 2: no build stage in current context"):
        parse("ARG a\nRUN b\nFROM c")


def test_stages_have_names_in_lower_case_and_numbers() -> None:
    found = parse("ARG v=1\nARG w\nfrom --platform=$P base:$v As Builder.1\nRUN a\nFROM scratch\n")
    assert [definition.name for one in found.arguments for definition in one.definitions] == ["v", "w"]
    first, second = found.stages
    assert (first.index, first.name, len(first.instructions)) == (0, "builder.1", 1)
    assert (second.index, second.name, second.instructions) == (1, "", ())
    assert first.from_ == From(
        location=Location(3, 3),
        original="from --platform=$P base:$v As Builder.1",
        image="base:$v",
        name="builder.1",
        name_written="Builder.1",
        as_written="As",
        platform="$P",
    )
    assert first.from_.written == "from"


def test_here_documents_are_sources_or_the_command() -> None:
    text = "FROM a\nCOPY x <<one <<-'two' /d/\n1 $a\none\n\t\t2\n\ttwo\nRUN cat <<E && b\nz\nE\n"
    copy, run = parse(text).stages[0].instructions
    assert isinstance(copy, Copy)
    assert isinstance(run, Run)
    assert (copy.sources, copy.destination) == (("x",), "/d/")
    assert copy.documents == (HereDocument("one", "1 $a\n"), HereDocument("two", "\t\t2\n", expand=False, chomp=True))
    assert [document.data for document in copy.documents] == ["1 $a\n", "2\n"]
    assert run.command == CommandLine(("cat <<E && b",), in_shell=True, files=(HereDocument("E", "z\n"),))
    assert (copy.location, run.location) == (Location(2, 6), Location(7, 9))
