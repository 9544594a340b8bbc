"""The variables of a build: ARG in the file, in its stages, from the user and predefined; ENV beside them.

- ARGs above the first FROM, and the platforms, are for FROM; a stage sees one of them only after ``ARG name``.
- What the user gives replaces a default, and is otherwise unseen until an ARG names it.
- The proxies need no ARG: commands have them, the cache and the history do not.
- A stage that begins with another goes on with its variables.

As in BuildKit, the later of ARG and ENV holds: an ARG after an ENV of the same name hides it from what follows in the
stage, although the image keeps the ENV.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from corten.build.expansion import Rules, expand
from corten.build.failure import Source
from corten.build.instructions import Arg, Definition, Dockerfile, Pair
from corten.errors import InvalidInput
from corten.spec.platform import Platform

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
_LONGEST = 131_071  # bytes of NAME=VALUE: execve(2) refuses MAX_ARG_STRLEN, 32 pages, with its NUL
_LARGEST = 6 << 20  # bytes of all: three quarters of the stack's 8 MiB, the most that execve(2) takes
_LINUX = Platform()


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """What a build was asked with: build arguments, the builder's platform and the target's, the target stage."""

    arguments: Mapping[str, str] = dataclasses.field(default_factory=dict)
    build_platform: Platform = _LINUX
    target_platform: Platform = _LINUX
    target: str = ""

    def predefined(self) -> dict[str, str]:
        """The platforms' variables, each of which a build argument may replace."""
        build, target = self.build_platform, self.target_platform
        values = {
            "BUILDPLATFORM": str(build),
            "BUILDOS": build.os,
            "BUILDOSVERSION": build.os_version,
            "BUILDARCH": build.architecture,
            "BUILDVARIANT": build.variant,
            "TARGETPLATFORM": str(target),
            "TARGETOS": target.os,
            "TARGETOSVERSION": target.os_version,
            "TARGETARCH": target.architecture,
            "TARGETVARIANT": target.variant,
            "TARGETSTAGE": self.target or "default",
        }
        return {name: self.arguments.get(name, value) for name, value in values.items()}

    def proxies(self) -> dict[str, str]:
        """The variables of a command that say which proxy to take: in no cache key, no history and no image."""
        found: dict[str, str] = {}
        for name in sorted(self.arguments):
            if name.upper() in _PROXIES and self.arguments[name]:
                found[name.upper()] = found[name.lower()] = self.arguments[name]
        return found


@dataclasses.dataclass(frozen=True, slots=True)
class Globals:
    """What FROM sees: ``values`` of the platforms and of the ARGs above; ``declared`` are those ARGs' names."""

    values: Mapping[str, str]
    declared: frozenset[str] = frozenset()


def global_arguments(dockerfile: Dockerfile, given: Given) -> Globals:
    """The variables for FROM: each default may use those above it. Raises DockerfileError."""
    values, declared = _Values(given.predefined()), set[str]()
    source, rules = Source(dockerfile.source, dockerfile.text), Rules(dockerfile.escape)
    for argument in dockerfile.arguments:
        for one in argument.definitions:
            declared.add(one.name)
            value = given.arguments.get(one.name)
            try:
                if value is None and one.default is not None:
                    value = expand(one.default, values.known, rules).text
                if value is not None:
                    values.set(one.name, value)
            except InvalidInput as error:
                raise source.error(error.message, argument.location, "ARG") from None
    return Globals(values.known, frozenset(declared))


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """The variables at one point of a stage.

    ``variables`` is what expansion sees and commands get, ``size`` their characters; ``environment`` the image's;
    ``arguments`` the ARGs so far, with their values, of which None is none, and ``declared`` their names.
    """

    variables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    arguments: tuple[Definition, ...] = ()
    declared: frozenset[str] = frozenset()
    size: int = 0

    @classmethod
    def of_image(cls, environment: Iterable[str]) -> Scope:
        """The beginning of a stage on an image's ``NAME=VALUE``; PATH is always set."""
        values = {name: value for name, _, value in (one.partition("=") for one in environment)}
        values.setdefault("PATH", DEFAULT_PATH)
        return cls(values, values, size=_Values(values).size)

    def with_env(self, pairs: Iterable[Pair]) -> Scope:
        """After an ENV, whose words are expanded. Raises InvalidInput if a variable is too long to be passed on."""
        values, environment = _Values(self.variables, self.size), dict(self.environment)
        for pair in pairs:
            values.set(pair.key, pair.value)
            environment[pair.key] = pair.value
        return Scope(values.known, environment, self.arguments, self.declared, values.size)

    def with_arg(self, argument: Arg, given: Given, above: Globals, rules: Rules) -> tuple[Scope, frozenset[str]]:
        """After an ARG, and the names that its defaults used though they have no value. Raises InvalidInput.

        The value is the user's, else the default, else the one that the file's ARGs or the platforms give.
        """
        values, declared, unset = _Values(self.variables, self.size), list(self.arguments), set[str]()
        names = set(self.declared)
        for one in argument.definitions:
            value = given.arguments.get(one.name)
            if value is None and one.default is None:
                value = above.values.get(one.name)
            elif value is None and one.default is not None:
                expansion = expand(one.default, values.known, rules)
                value = expansion.text
                unset |= expansion.unset - names
            if value is not None:
                values.set(one.name, value)
            declared.append(Definition(one.name, value))
            names.add(one.name)
        scope = Scope(values.known, self.environment, tuple(declared), frozenset(names), values.size)
        return scope, frozenset(unset)

    def in_history(self) -> tuple[str, ...]:
        """``|2 a=1 b=2``: what stands before a command in an image's history if the stage has ARGs."""
        values = {one.name: self.variables.get(one.name, one.default or "") for one in self.arguments}
        return (f"|{len(values)}", *(f"{name}={value}" for name, value in values.items())) if values else ()


def unconsumed(dockerfile: Dockerfile, given: Given, unset: Iterable[str] = ()) -> tuple[str, ...]:
    """The names of build arguments, of those that have no value, too, that no ARG of the file takes and that are not
    predefined, sorted."""
    declared = {one.name for argument in _all_arguments(dockerfile) for one in argument.definitions}
    known = declared | set(given.predefined())
    return tuple(
        sorted(
            name
            for name in {*given.arguments, *unset}
            if name not in known and name.upper() not in _PROXIES and not name.startswith("BUILDKIT_")
            and name != "SOURCE_DATE_EPOCH"
        )
    )  # fmt: skip


def _all_arguments(dockerfile: Dockerfile) -> Iterator[Arg]:
    yield from dockerfile.arguments
    for stage in dockerfile.stages:
        yield from (one for one in stage.instructions if isinstance(one, Arg))


class _Values:
    """Variables that are being set, and the characters of all of them: a command cannot have any number."""

    def __init__(self, known: Mapping[str, str], size: int | None = None) -> None:
        self.known = dict(known)
        self.size = sum(map(len, known)) + sum(map(len, known.values())) if size is None else size

    def set(self, name: str, value: str) -> None:
        """Give a name a value. Raises InvalidInput if a command could not be given that."""
        if len(f"{name}={value}".encode("utf-8", "surrogatepass")) > _LONGEST:
            raise InvalidInput(f"the value of {name} is longer than a command can be given ({_LONGEST} bytes)")
        self.size += len(value) - len(self.known[name]) if name in self.known else len(name) + len(value)
        if self.size > _LARGEST:
            raise InvalidInput(f"all variables together are longer than a command can be given ({_LARGEST} bytes)")
        self.known[name] = value
