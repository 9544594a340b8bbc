"""What is found in a Dockerfile that builds and yet is probably not meant: BuildKit's build checks.

:func:`of_file` needs the text alone. :func:`of_stage` follows the instructions of one stage with the variables of what
it begins with, since a variable may come from an image.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator

from corten.build import patterns, ports
from corten.build.applied import applied
from corten.build.arguments import Given, Globals, Scope, global_arguments
from corten.build.expansion import Expansion, Rules, expand, quoted
from corten.build.failure import Source
from corten.build.ignore import Ignore
from corten.build.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    Finding,
    From,
    Healthcheck,
    Instruction,
    Label,
    Location,
    Maintainer,
    Shell,
    Stage,
    Workdir,
)
from corten.build.rules import Settings, finding
from corten.build.suggestions import nearest
from corten.errors import DockerfileError, InvalidInput
from corten.spec import platform as platforms
from corten.spec import reference
from corten.spec.platform import Platform

_RESERVED = ("context", "scratch")
_SECRET = "apikey|auth|credential|credentials|key|password|pword|passwd|secret|token"
_SECRETS = re.compile(rf"(?:_|^)(?:{_SECRET})(?:_|$)", re.IGNORECASE)
_NO_SECRETS = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_NOT_VARIABLES = ("BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE")
_MOST_SUGGESTIONS = 50  # of a file's stage: each looks at every variable
_IGNORES_ALL = ("*", "**", "**/*")


@dataclasses.dataclass(frozen=True, slots=True)
class Inherited:
    """What a stage begins with, as far as checks go: its variables, whether a WORKDIR of this file or a shell of the
    image or of SHELL came before, and whether it is known what the image has."""

    scope: Scope
    workdir: bool = False
    own_shell: bool = False
    is_known: bool = True


def of_file(dockerfile: Dockerfile, given: Given, asked: Settings) -> tuple[Finding, ...]:
    """Everything that needs no image, in the order of lines. Raises DockerfileError where an ARG above the first
    FROM cannot be expanded."""
    found = [
        *(finding(one.rule, one.location) for one in dockerfile.warnings if asked.wants(one.rule)),
        *_wanted(_stage_names(dockerfile.stages), asked),
        *_wanted(_casing(dockerfile.stages), asked),
        *_wanted(_defaults_in_from(dockerfile, given), asked),
    ]
    above = global_arguments(dockerfile, given)
    rules = Rules(dockerfile.escape)
    for one in _all(dockerfile):
        found += _wanted(_plain(one), asked.at(one.comments))
        if isinstance(one, From):
            suggests = one.location.first <= dockerfile.stages[:_MOST_SUGGESTIONS][-1].from_.location.first
            found += _wanted(_of_from(one, above, rules, suggests), asked.at(one.comments))
    return _sorted(found)


def of_stage(
    dockerfile: Dockerfile,
    stage: Stage,
    begin: Inherited,
    given: Given,
    above: Globals,
    asked: Settings,
    ignored: Ignore | None = None,
) -> tuple[tuple[Finding, ...], Inherited]:
    """What is found while the instructions of a stage are followed, and what a stage on top of it inherits. An
    instruction that cannot be applied is passed over: the build says so."""
    found: list[Finding] = []
    follower = _Follower(dockerfile, begin, given, above, ignored)
    for one in stage.instructions:
        try:
            found += _wanted(follower.follow(one), asked.at(one.comments))
        except InvalidInput:
            continue
    return _sorted(found), follower.now


def of_platform(from_: From, image: str, expected: Platform, actual: Platform) -> Finding | None:
    """What is found if an image is not for the platform that was asked for."""
    if (expected.os, expected.architecture) == (actual.os, actual.architecture):
        return None
    told = quoted(str(actual.normalized())), quoted(str(expected.normalized()))
    return finding("InvalidBaseImagePlatform", from_.location, image, *told)


def _wanted(found: Iterable[Finding], asked: Settings) -> list[Finding]:
    return [one for one in found if asked.wants(one.rule)]


def _sorted(found: Iterable[Finding]) -> tuple[Finding, ...]:
    unique = dict.fromkeys(found)
    return tuple(sorted(unique, key=lambda one: (one.location.first, one.rule, one.message)))


def _all(dockerfile: Dockerfile) -> Iterator[Instruction]:
    yield from dockerfile.arguments
    for stage in dockerfile.stages:
        yield stage.from_
        yield from stage.instructions


def _stage_names(stages: Iterable[Stage]) -> Iterator[Finding]:
    seen: set[str] = set()
    for stage in stages:
        where = stage.from_.location
        if stage.name in _RESERVED:
            yield finding("ReservedStageName", where, quoted(stage.name))
        if stage.name in seen:
            yield finding("DuplicateStageName", where, quoted(stage.name))
        seen |= {stage.name} - {""}


def _casing(stages: Iterable[Stage]) -> Iterator[Finding]:
    """Keywords that are not in the case that most are in."""
    written = [(one.written, one.location) for stage in stages for one in (stage.from_, *stage.instructions)]
    lower = sum(word == word.lower() for word, _ in written)
    upper = sum(word == word.upper() for word, _ in written)
    case = "lowercase" if lower > upper else "uppercase"
    for word, where in written:
        if word != (word.lower() if lower > upper else word.upper()):
            yield finding("ConsistentInstructionCasing", where, word, case)


def _plain(one: Instruction) -> Iterator[Finding]:
    """What an instruction shows by itself."""
    where = one.location
    if isinstance(one, Maintainer):
        yield finding("MaintainerDeprecated", where)
    elif isinstance(one, From):
        if one.name_written != one.name_written.lower():
            yield finding("StageNameCasing", where, one.name_written)
        same = str.lower if one.written == one.written.lower() else str.upper
        if one.written == same(one.written) and one.as_written != same(one.as_written):
            yield finding("FromAsCasing", where, one.as_written, one.written)
        yield from _description(one, "FROM", [one.name] if one.name else [])
    elif isinstance(one, Arg):
        yield from _description(one, "ARG", [definition.name for definition in one.definitions])


def _legacy(one: Instruction) -> Iterator[Finding]:
    if isinstance(one, Env | Label) and any(pair.legacy for pair in one.pairs):
        yield finding("LegacyKeyValueFormat", one.location, one.written)


def _description(one: Instruction, keyword: str, names: list[str]) -> Iterator[Finding]:
    if one.comments and names and one.comments[-1].split(" ")[0] not in names:
        shown = names[0] if len(names) == 1 else "<arg_key>"
        yield finding("InvalidDefinitionDescription", one.location, keyword, shown)


def _defaults_in_from(dockerfile: Dockerfile, given: Given) -> Iterator[Finding]:
    """Bases that are no image's name unless an argument is given."""
    try:
        above = global_arguments(dockerfile, dataclasses.replace(given, arguments={}))
    except DockerfileError:
        return
    for stage in dockerfile.stages:
        try:
            image = expand(stage.from_.image, above.values, Rules(dockerfile.escape)).text
        except InvalidInput:
            return
        try:
            reference.parse(image)
        except InvalidInput:
            yield finding("InvalidDefaultArgInFrom", stage.from_.location, stage.from_.image)


def _of_from(from_: From, above: Globals, rules: Rules, suggests: bool) -> Iterator[Finding]:
    """Variables and the platform of a FROM."""
    known = (*above.values, *above.declared) if suggests else ()
    for text in (from_.image, from_.platform):
        try:
            expansion = expand(text, above.values, rules)
        except InvalidInput:
            return
        for name in sorted(expansion.unset - above.declared):
            meant = nearest(name, known)
            told = f" (did you mean {meant}?)" if meant else ""
            yield finding("UndefinedArgInFrom", from_.location, name, told)
    if from_.platform:
        yield from _of_platform(from_, expansion, above)


def _of_platform(from_: From, expansion: Expansion, above: Globals) -> Iterator[Finding]:
    if expansion.used == {"TARGETPLATFORM"} and not expansion.unset:
        if expansion.text == above.values["TARGETPLATFORM"]:
            yield finding("RedundantTargetPlatform", from_.location, from_.platform)
    if expansion.used or expansion.unset:
        return
    try:
        meant = platforms.parse(expansion.text, Platform())
    except InvalidInput:
        return
    if meant.os not in from_.name and (not meant.architecture or meant.architecture not in from_.name):
        yield finding("FromPlatformFlagConstDisallowed", from_.location, quoted(expansion.text))


class _Follower:
    """Goes through a stage as a build does, without doing anything."""

    def __init__(
        self, dockerfile: Dockerfile, begin: Inherited, given: Given, above: Globals, ignored: Ignore | None
    ) -> None:
        self.now = begin
        self._source = Source(dockerfile.source, dockerfile.text)
        self._escape = dockerfile.escape
        self._given = given
        self._above = above
        self._ignored = None if ignored and ignored.takes_back else ignored
        self._last: dict[type[Instruction], Location] = {}
        self._suggestions = _MOST_SUGGESTIONS

    def follow(self, one: Instruction) -> list[Finding]:
        """What is found at one instruction, which is then behind. Raises InvalidInput if it cannot be applied."""
        found = [*self._once(one), *self._shell(one), *self._secrets(one), *_legacy(one)]
        found += self._ports(one)
        if isinstance(one, Arg):
            before = self.now.scope
            scope, unset = before.with_arg(one, self._given, self._above, Rules(self._escape))
            self.now = dataclasses.replace(self.now, scope=scope)
            return [*found, *self._undefined(one, unset, before)]
        changed, unset = applied(one, self.now.scope.variables, self._escape, self._source)
        if not isinstance(one, Expose):  # as BuildKit has it
            found += self._undefined(one, unset, self.now.scope)
        if isinstance(changed, Env):
            self.now = dataclasses.replace(self.now, scope=self.now.scope.with_env(changed.pairs))
        elif isinstance(changed, Workdir):
            is_certain = self.now.is_known or "$" not in one.original
            if is_certain and not self.now.workdir and not changed.path.startswith("/"):
                found.append(finding("WorkdirRelativePath", one.location, quoted(changed.path)))
            self.now = dataclasses.replace(self.now, workdir=True)
        elif isinstance(changed, Copy | Add):
            found += self._ignored_files(changed)
        return found

    def _once(self, one: Instruction) -> Iterator[Finding]:
        """CMD and its like count once: the earlier one is told."""
        if not isinstance(one, Cmd | Entrypoint | Healthcheck):
            return
        if earlier := self._last.get(type(one)):
            yield finding("MultipleInstructionsDisallowed", earlier, one.written)
        self._last[type(one)] = one.location

    def _shell(self, one: Instruction) -> Iterator[Finding]:
        if isinstance(one, Shell):
            self.now = dataclasses.replace(self.now, own_shell=True)
        elif isinstance(one, Cmd | Entrypoint) and one.command.in_shell and not self.now.own_shell:
            yield finding("JSONArgsRecommended", one.location, one.written)

    def _secrets(self, one: Instruction) -> Iterator[Finding]:
        names: list[str] = []
        if isinstance(one, Arg):
            names = [definition.name for definition in one.definitions]
        elif isinstance(one, Env):
            names = [pair.key for pair in one.pairs]
        for name in names:
            if _SECRETS.search(name) and not _NO_SECRETS.search(name):
                yield finding("SecretsUsedInArgOrEnv", one.location, one.keyword, quoted(name))

    def _ports(self, one: Instruction) -> Iterator[Finding]:
        if not isinstance(one, Expose):
            return
        for written in one.ports:
            for port in expand(written, self.now.scope.variables, Rules(self._escape)).words:
                address, host, _, protocol = ports.split(port)
                if protocol != protocol.lower():
                    yield finding("ExposeProtoCasing", one.location, port)
                if address or host:
                    yield finding("ExposeInvalidFormat", one.location, port)

    def _undefined(self, one: Instruction, unset: frozenset[str], scope: Scope) -> Iterator[Finding]:
        if not self.now.is_known:
            return
        for name in sorted(unset - scope.declared - set(_NOT_VARIABLES)):
            self._suggestions -= 1
            meant = nearest(name, scope.variables) if self._suggestions >= 0 else ""
            yield finding("UndefinedVar", one.location, name, f" (did you mean ${meant}?)" if meant else "")

    def _ignored_files(self, one: Copy | Add) -> Iterator[Finding]:
        if not self._ignored or (isinstance(one, Copy) and one.from_):
            return
        for source in one.sources:
            path = patterns.clean(source)
            if "://" in source or (path in (".", "/") and not self._ignores_all()):
                continue
            if self._ignored.matches(path):
                yield finding("CopyIgnoredFile", one.location, one.keyword.capitalize(), quoted(path))

    def _ignores_all(self) -> bool:
        return self._ignored is not None and any(rule.text in _IGNORES_ALL for rule in self._ignored.rules)
