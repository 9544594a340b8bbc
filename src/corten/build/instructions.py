"""A Dockerfile as values: one frozen type an instruction, in the words of the Dockerfile reference.

Text is as it was written, variables unexpanded (:mod:`corten.build.applied` expands them). ``location`` are the first
and last line in the file, from 1; ``original`` is the instruction with its continuation lines joined.
"""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar

_LEADING_TABS = re.compile(r"^\t+", re.MULTILINE)


@dataclasses.dataclass(frozen=True, slots=True)
class Location:
    """Lines of a Dockerfile, both included, from 1."""

    first: int
    last: int


@dataclasses.dataclass(frozen=True, slots=True)
class HereDocument:
    """``<<NAME``: the lines until NAME. ``expand`` unless NAME was quoted, ``chomp`` for ``<<-``.

    Content may hold surrogate escapes for bytes that are not UTF-8: encode it with ``surrogateescape``.
    """

    name: str
    content: str = ""
    expand: bool = True
    chomp: bool = False
    descriptor: int = 0

    @property
    def data(self) -> str:
        """The content, without leading tabs if it was asked for."""
        return _LEADING_TABS.sub("", self.content) if self.chomp else self.content


@dataclasses.dataclass(frozen=True, slots=True)
class CommandLine:
    """Words to execute (exec form), or one text for the shell, which ``files`` may follow."""

    words: tuple[str, ...]
    in_shell: bool
    files: tuple[HereDocument, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """``key=value`` of ENV and LABEL; ``legacy`` for the form with a space."""

    key: str
    value: str
    legacy: bool = False

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


@dataclasses.dataclass(frozen=True, slots=True)
class Definition:
    """``name`` or ``name=default`` of ARG."""

    name: str
    default: str | None = None

    def __str__(self) -> str:
        return self.name if self.default is None else f"{self.name}={self.default}"


@dataclasses.dataclass(frozen=True, slots=True)
class Mount:
    """``RUN --mount``, validated and with its defaults. Sizes are bytes, 0 for no limit; ``id`` names a cache, a
    secret or an agent; ``env`` is None for no variable and '' for the one named as the secret."""

    type: str = "bind"
    from_: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = True
    size: int = 0
    id: str = ""
    sharing: str = ""
    required: bool = False
    env: str | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Device:
    """``RUN --device``: a CDI device, and whether the build fails without it."""

    name: str
    required: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """What all instructions have; ``comments`` are the comment lines directly above."""

    keyword: ClassVar[str] = ""

    location: Location
    original: str
    comments: tuple[str, ...] = ()

    @property
    def written(self) -> str:
        """The keyword in the case in which it was written."""
        return self.original.split(None, 1)[0] if self.original.strip() else self.keyword


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class From(Instruction):
    """``FROM [--platform=PLATFORM] IMAGE [AS NAME]``; the name is in lower case, '' for none."""

    keyword: ClassVar[str] = "FROM"

    image: str
    name: str = ""
    name_written: str = ""
    as_written: str = ""
    platform: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Arg(Instruction):
    keyword: ClassVar[str] = "ARG"

    definitions: tuple[Definition, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Env(Instruction):
    keyword: ClassVar[str] = "ENV"

    pairs: tuple[Pair, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Label(Instruction):
    keyword: ClassVar[str] = "LABEL"

    pairs: tuple[Pair, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run(Instruction):
    """``mount_options`` are the mounts as written: their variables are expanded when the instruction is applied,
    which is when ``mounts`` holds them. ``network`` is default, none or host; ``security`` sandbox or insecure."""

    keyword: ClassVar[str] = "RUN"

    command: CommandLine
    mount_options: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    security: str = "sandbox"
    devices: tuple[Device, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Files(Instruction):
    """What COPY and ADD share; ``documents`` are sources that stand in the Dockerfile itself."""

    sources: tuple[str, ...]
    documents: tuple[HereDocument, ...] = ()
    destination: str
    chown: str = ""
    chmod: str = ""
    link: bool = False
    exclude: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Copy(_Files):
    """``from_`` is a stage, an image, a named context, or '' for the build's context."""

    keyword: ClassVar[str] = "COPY"

    from_: str = ""
    parents: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Add(_Files):
    """``unpack`` and ``keep_git_dir`` are None unless they were asked for or forbidden."""

    keyword: ClassVar[str] = "ADD"

    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cmd(Instruction):
    keyword: ClassVar[str] = "CMD"

    command: CommandLine


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entrypoint(Instruction):
    keyword: ClassVar[str] = "ENTRYPOINT"

    command: CommandLine


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Healthcheck(Instruction):
    """``test`` begins with NONE, CMD or CMD-SHELL; durations are nanoseconds, 0 for the engine's default."""

    keyword: ClassVar[str] = "HEALTHCHECK"

    test: tuple[str, ...]
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Expose(Instruction):
    keyword: ClassVar[str] = "EXPOSE"

    ports: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class User(Instruction):
    keyword: ClassVar[str] = "USER"

    user: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Workdir(Instruction):
    keyword: ClassVar[str] = "WORKDIR"

    path: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Instruction):
    keyword: ClassVar[str] = "VOLUME"

    paths: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StopSignal(Instruction):
    keyword: ClassVar[str] = "STOPSIGNAL"

    signal: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shell(Instruction):
    keyword: ClassVar[str] = "SHELL"

    words: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Onbuild(Instruction):
    """``trigger`` is the text of an instruction, with its here-documents: the image's configuration keeps it."""

    keyword: ClassVar[str] = "ONBUILD"

    trigger: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Maintainer(Instruction):
    keyword: ClassVar[str] = "MAINTAINER"

    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Directive:
    """``# name=value`` above the first instruction."""

    name: str
    value: str
    line: int


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """A finding that does not stop the build: the name of its rule, its sentence, where, and where to read more."""

    rule: str
    message: str
    location: Location
    url: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Stage:
    """FROM and what follows it; ``index`` from 0, ``name`` in lower case or ''."""

    index: int
    from_: From
    instructions: tuple[Instruction, ...]

    @property
    def name(self) -> str:
        """The name after AS, in lower case, or ''."""
        return self.from_.name


@dataclasses.dataclass(frozen=True, slots=True)
class Dockerfile:
    """A whole file: ``arguments`` are the ARGs above the first FROM; ``escape`` is a backslash or a backtick."""

    stages: tuple[Stage, ...]
    arguments: tuple[Arg, ...] = ()
    directives: tuple[Directive, ...] = ()
    warnings: tuple[Finding, ...] = ()
    escape: str = "\\"
    source: str = "Dockerfile"
    text: str = ""
