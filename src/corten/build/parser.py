"""From a Dockerfile's text to its stages and instructions, as BuildKit's ``frontend/dockerfile`` reads them.

Nothing is expanded here: what a variable holds is known only when an instruction is applied.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import TypedDict

from corten.build import lexer, mount, numbers, words
from corten.build.expansion import SPACES, quoted
from corten.build.failure import Source
from corten.build.flags import Flags
from corten.build.instructions import (
    Add,
    Arg,
    Cmd,
    CommandLine,
    Copy,
    Definition,
    Dockerfile,
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
    Stage,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from corten.build.lexer import Line
from corten.build.suggestions import nearest
from corten.errors import DockerfileError, InvalidInput

_STAGE_NAME = re.compile(r"[a-z][a-z0-9\-_.]*")
_ONBUILD = re.compile(r"[\t\n\f\r ]*ONBUILD[\t\n\f\r ]*", re.IGNORECASE)
_NETWORKS = ("default", "none", "host")
_SECURITY = ("sandbox", "insecure")
_SHORTEST = 10**6  # nanoseconds of a healthcheck's period


class _Common(TypedDict):
    location: Location
    original: str
    comments: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _Request:
    """A line that is about to become an instruction."""

    keyword: str
    given: tuple[str, ...]
    rest: str
    line: Line
    escape: str

    @property
    def common(self) -> _Common:
        text = words.trim(self.line.text)
        return {"location": self.line.location, "original": text, "comments": self.line.comments}

    def no_flags(self) -> None:
        """Refuse every flag. Raises InvalidInput."""
        Flags(self.given)

    def command(self) -> CommandLine:
        """Exec form or shell form; an empty one is no words for the shell."""
        self.no_flags()
        return self.command_of(self.rest)

    def command_of(self, rest: str) -> CommandLine:
        found = words.json_words(rest)
        if found is not None:
            return CommandLine(found, in_shell=False, files=self.line.documents)
        return CommandLine((rest,) if rest else (), in_shell=True, files=self.line.documents)

    def sole(self) -> str:
        """The one argument, which is the whole rest of the line."""
        if not self.rest:
            raise InvalidInput(f"{self.keyword} requires exactly one argument")
        self.no_flags()
        return self.rest

    def several(self, found: tuple[str, ...]) -> tuple[str, ...]:
        """At least one argument."""
        if not found:
            raise InvalidInput(f"{self.keyword} requires at least one argument")
        return found


def parse(data: bytes | str, source: str = "Dockerfile") -> Dockerfile:
    """Read a whole Dockerfile. Raises DockerfileError.

    Bytes that are not UTF-8 may stand in comments and here-documents only.
    """
    text = data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else data
    origin = Source(source, text)
    lexed = lexer.lex(origin)
    instructions = [_instruction(line, lexed.escape, origin) for line in lexed.lines]
    return _arranged(instructions, lexed, origin)


def parse_trigger(trigger: str, where: Location, source: Source) -> Instruction:
    """Read the instruction that an image's ONBUILD keeps; its place is the FROM that it comes by.

    Raises DockerfileError.
    """
    try:
        lexed = lexer.lex(Source("ONBUILD", trigger))
    except DockerfileError as error:
        raise source.error(error.cause, where, "ONBUILD") from None
    if len(lexed.lines) != 1:
        raise source.error("onbuild trigger should be a single expression", where, "ONBUILD")
    found = _instruction(dataclasses.replace(lexed.lines[0], location=where), lexed.escape, source)
    if isinstance(found, From):
        raise source.error("FROM isn't allowed as an ONBUILD trigger", where, "ONBUILD")
    return found


def _arranged(instructions: list[Instruction], lexed: lexer.Lines, origin: Source) -> Dockerfile:
    arguments: list[Arg] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for one in instructions:
        if isinstance(one, From):
            stages.append((one, []))
        elif stages:
            stages[-1][1].append(one)
        elif isinstance(one, Arg):
            arguments.append(one)
        else:
            cause = "no build stage in current context"
            raise origin.error(cause, one.location, one.keyword, expected="a FROM before it")
    if not stages:
        raise origin.error("dockerfile contains no stages to build", None, expected="a FROM")
    made = tuple(Stage(index, first, tuple(rest)) for index, (first, rest) in enumerate(stages))
    return Dockerfile(made, tuple(arguments), lexed.directives, lexed.warnings, lexed.escape, origin.name, origin.text)


def _instruction(line: Line, escape: str, origin: Source) -> Instruction:
    written, given, rest = words.split_command(line.text, escape)
    keyword = written.upper()
    read = _READERS.get(keyword)
    if not read:
        meant = nearest(keyword, _READERS)
        meant = meant.lower() if written == written.lower() else meant
        cause = f"unknown instruction: {written}" + (f" (did you mean {meant}?)" if meant else "")
        raise origin.error(cause, line.location, written, expected="one of " + ", ".join(sorted(_READERS)))
    try:
        return read(_Request(keyword, given, rest, line, escape))
    except InvalidInput as error:
        raise origin.error(error.message, line.location, keyword, expected=_USAGE[keyword]) from None


def _from(request: _Request) -> From:
    image, *naming = words.by_blanks(request.rest) or ("",)
    as_written = written = ""
    if len(naming) == 2 and naming[0].lower() == "as":
        as_written, written = naming
        if not _STAGE_NAME.fullmatch(written.lower()):
            what = "name can't start with a number or contain symbols"
            raise InvalidInput(f"invalid name for build stage: {quoted(written)}, {what}")
    elif naming or not image:
        raise InvalidInput("FROM requires either one or three arguments")
    platform = Flags(request.given, text=("platform",)).text("platform")
    return From(
        image=image,
        name=written.lower(),
        name_written=written,
        as_written=as_written,
        platform=platform,
        **request.common,
    )


def _arg(request: _Request) -> Arg:
    found = request.several(words.quoted_words(request.rest, request.escape))
    split = [word.partition("=") for word in found]
    if any(equals and not name for name, equals, _ in split):
        raise InvalidInput("ARG names can not be blank")
    definitions = tuple(Definition(name, value if equals else None) for name, equals, value in split)
    return Arg(definitions=definitions, **request.common)


def _env(request: _Request) -> Env:
    return Env(pairs=_named(request), **request.common)


def _label(request: _Request) -> Label:
    return Label(pairs=_named(request), **request.common)


def _named(request: _Request) -> tuple[Pair, ...]:
    request.no_flags()
    found = words.pairs(request.rest, request.keyword, request.escape)
    if any(not pair.key for pair in found):
        raise InvalidInput(f"{request.keyword} names can not be blank")
    return found


def _run(request: _Request) -> Run:
    flags = Flags(request.given, text=("network", "security"), many=("mount", "device"))
    network, security = flags.text("network", "default"), flags.text("security", "sandbox")
    for option in flags.many("mount"):
        mount.source_of(option)
    if network not in _NETWORKS:
        raise InvalidInput(f"invalid network mode {quoted(network)}")
    if security not in _SECURITY:
        raise InvalidInput(f"security {quoted(security)} is not valid")
    return Run(
        command=request.command_of(request.rest),
        mount_options=flags.many("mount"),
        network=network,
        security=security,
        devices=tuple(mount.parse_device(option) for option in flags.many("device")),
        **request.common,
    )


def _copy(request: _Request) -> Copy:
    found = _paths(request)
    flags = Flags(request.given, text=("chown", "from", "chmod"), many=("exclude",), truth=("link", "parents"))
    sources, documents = _sources(request, found)
    return Copy(
        sources=sources,
        documents=documents,
        destination=found[-1],
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.truth("link") is True,
        exclude=flags.many("exclude"),
        from_=flags.text("from"),
        parents=flags.truth("parents") is True,
        **request.common,
    )


def _add(request: _Request) -> Add:
    found = _paths(request)
    texts, truths = ("chown", "chmod", "checksum"), ("link", "keep-git-dir", "unpack")
    flags = Flags(request.given, text=texts, many=("exclude",), truth=truths)
    sources, documents = _sources(request, found)
    return Add(
        sources=sources,
        documents=documents,
        destination=found[-1],
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        link=flags.truth("link") is True,
        exclude=flags.many("exclude"),
        checksum=flags.text("checksum"),
        keep_git_dir=flags.truth("keep-git-dir"),
        unpack=flags.truth("unpack"),
        **request.common,
    )


def _paths(request: _Request) -> tuple[str, ...]:
    found = words.json_words(request.rest)
    found = words.by_blanks(request.rest) if found is None else found
    if len(found) < 2:
        cause = "requires at least two arguments, but only one was provided. Destination could not be determined"
        raise InvalidInput(f"{request.keyword} {cause}")
    return found


def _sources(request: _Request, found: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[HereDocument, ...]]:
    """The paths among the sources, and the here-documents."""
    if _mark(found[-1]):
        raise InvalidInput(f"{request.keyword} cannot accept a heredoc as a destination")
    contents = {document.name: document.content for document in request.line.documents}
    paths: list[str] = []
    documents: list[HereDocument] = []
    for word in found[:-1]:
        if mark := _mark(word):
            documents.append(dataclasses.replace(mark, content=contents.get(mark.name, "")))
        else:
            paths.append(word)
    return tuple(paths), tuple(documents)


def _mark(word: str) -> HereDocument | None:
    try:
        return lexer.here_document(word)
    except InvalidInput:
        return None


def _cmd(request: _Request) -> Cmd:
    return Cmd(command=request.command(), **request.common)


def _entrypoint(request: _Request) -> Entrypoint:
    return Entrypoint(command=request.command(), **request.common)


def _healthcheck(request: _Request) -> Healthcheck:
    kind, *more = re.split("[" + "".join(SPACES) + "]+", request.rest, maxsplit=1)
    request.several((kind,) if kind else ())
    command = request.command_of(more[0] if more else "")
    if kind.upper() == "NONE":
        if command.words:
            raise InvalidInput("HEALTHCHECK NONE takes no arguments")
        return Healthcheck(test=("NONE",), **request.common)
    periods = ("interval", "timeout", "start-period", "start-interval")
    flags = Flags(request.given, text=(*periods, "retries"))
    if kind.upper() != "CMD":
        raise InvalidInput(f"Unknown type {quoted(kind.upper())} in HEALTHCHECK (try CMD)")
    if not command.words:
        raise InvalidInput("Missing command after HEALTHCHECK CMD")
    interval, timeout, start_period, start_interval = (_period(flags, name) for name in periods)
    return Healthcheck(
        test=("CMD-SHELL" if command.in_shell else "CMD", *command.words),
        interval=interval,
        timeout=timeout,
        start_period=start_period,
        start_interval=start_interval,
        retries=_retries(flags.text("retries")),
        **request.common,
    )


def _period(flags: Flags, name: str) -> int:
    text = flags.text(name)
    try:
        found = numbers.duration(text) if text else 0
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    if found and found < _SHORTEST:
        raise InvalidInput(f"Interval {quoted(name)} cannot be less than 1ms")
    return found


def _retries(text: str) -> int:
    try:
        found = numbers.retries(text) if text else 0
    except ValueError as error:
        raise InvalidInput(str(error)) from None
    if found < 0:
        raise InvalidInput(f"--retries cannot be negative ({found})")
    return found


def _expose(request: _Request) -> Expose:
    found = request.several(words.by_blanks(request.rest))
    request.no_flags()
    return Expose(ports=tuple(sorted(found)), **request.common)


def _volume(request: _Request) -> Volume:
    found = words.json_words(request.rest)
    found = request.several(words.by_blanks(request.rest) if found is None else found)
    request.no_flags()
    paths = tuple(words.trim(path) for path in found)
    if "" in paths:
        raise InvalidInput("VOLUME specified can not be an empty string")
    return Volume(paths=paths, **request.common)


def _user(request: _Request) -> User:
    return User(user=request.sole(), **request.common)


def _workdir(request: _Request) -> Workdir:
    return Workdir(path=request.sole(), **request.common)


def _maintainer(request: _Request) -> Maintainer:
    return Maintainer(name=request.sole(), **request.common)


def _stopsignal(request: _Request) -> StopSignal:
    if not request.rest:
        raise InvalidInput("STOPSIGNAL requires exactly one argument")
    return StopSignal(signal=request.rest, **request.common)


def _shell(request: _Request) -> Shell:
    request.no_flags()
    command = request.command_of(request.rest)
    request.several(command.words)
    if command.in_shell:
        raise InvalidInput("SHELL requires the arguments to be in JSON form")
    return Shell(words=command.words, **request.common)


def _onbuild(request: _Request) -> Onbuild:
    inner, _, rest = words.split_command(request.rest, request.escape)
    request.several((inner,) if inner else ())
    request.no_flags()
    keyword = inner.upper()
    if keyword == "ONBUILD":
        raise InvalidInput("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("MAINTAINER", "FROM"):
        raise InvalidInput(f"{keyword} isn't allowed as an ONBUILD trigger")
    if keyword in ("ENV", "LABEL") and rest:
        words.pairs(rest, keyword, request.escape)
    elif keyword in _MAY_BE_JSON:
        words.json_words(rest)
    trigger = _ONBUILD.sub("", request.line.text, count=1)
    documents = [f"\n{document.content}{document.name}" for document in request.line.documents]
    return Onbuild(trigger=trigger + "".join(documents), **request.common)


_MAY_BE_JSON = frozenset(("ADD", "CMD", "COPY", "ENTRYPOINT", "RUN", "SHELL", "VOLUME"))

_READERS: dict[str, Callable[[_Request], Instruction]] = {
    "ADD": _add,
    "ARG": _arg,
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "FROM": _from,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "MAINTAINER": _maintainer,
    "ONBUILD": _onbuild,
    "RUN": _run,
    "SHELL": _shell,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}

_USAGE = {
    "ADD": "ADD [OPTIONS] SOURCE... DESTINATION",
    "ARG": "ARG NAME[=DEFAULT]...",
    "CMD": 'CMD ["EXECUTABLE", "ARGUMENT"...] or CMD COMMAND',
    "COPY": "COPY [OPTIONS] SOURCE... DESTINATION",
    "ENTRYPOINT": 'ENTRYPOINT ["EXECUTABLE", "ARGUMENT"...] or ENTRYPOINT COMMAND',
    "ENV": "ENV NAME=VALUE...",
    "EXPOSE": "EXPOSE PORT[/PROTOCOL]...",
    "FROM": "FROM [--platform=PLATFORM] IMAGE [AS NAME]",
    "HEALTHCHECK": "HEALTHCHECK [OPTIONS] CMD COMMAND or HEALTHCHECK NONE",
    "LABEL": "LABEL NAME=VALUE...",
    "MAINTAINER": "MAINTAINER NAME",
    "ONBUILD": "ONBUILD INSTRUCTION",
    "RUN": 'RUN [OPTIONS] COMMAND or RUN [OPTIONS] ["EXECUTABLE", "ARGUMENT"...]',
    "SHELL": 'SHELL ["EXECUTABLE", "ARGUMENT"...]',
    "STOPSIGNAL": "STOPSIGNAL SIGNAL",
    "USER": "USER USER[:GROUP]",
    "VOLUME": "VOLUME PATH...",
    "WORKDIR": "WORKDIR PATH",
}
