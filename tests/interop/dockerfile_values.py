"""What Corten makes of a Dockerfile, a word or a .dockerignore, in the shape in which BuildKit's side tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from corten.build import checks, ignore, rules, stages
from corten.build.applied import applied, base_of
from corten.build.arguments import Given, Scope, global_arguments
from corten.build.expansion import expand
from corten.build.failure import Source
from corten.build.instructions import (
    Add,
    Arg,
    Cmd,
    CommandLine,
    Copy,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Location,
    Maintainer,
    Mount,
    Onbuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from corten.build.mount import source_of
from corten.build.parser import parse
from corten.errors import DockerfileError, InvalidInput
from corten.spec.platform import Platform

_AMD = Platform("linux", "amd64")
_IN_MOUNTS = {"a": "A", "b": "B C"}

Answer = dict[str, Any]


def of_dockerfile(text: str) -> Answer:
    """Stages with their instructions, or the error."""
    try:
        found = parse(text)
    except InvalidInput as error:
        return {"error": error.message}
    return {
        "stages": [
            {
                "name": stage.name,
                "base": stage.from_.image,
                "platform": stage.from_.platform,
                "code": stage.from_.original,
                "lines": _lines(stage.from_.location),
                "commands": [_instruction(one, found) for one in stage.instructions],
            }
            for stage in found.stages
        ],
        "args": [_instruction(one, found) for one in found.arguments],
        "escape": found.escape,
        "warnings": len(found.warnings),
    }


def of_word(text: str, variables: Mapping[str, str]) -> Answer:
    """A word expanded."""
    try:
        found = expand(text, variables)
    except InvalidInput as error:
        return {"error": error.message, "unset": []}
    return {"text": found.text, "words": list(found.words), "unset": sorted(found.unset)}


def of_ignore(text: str, paths: Iterable[str]) -> Answer:
    """The paths that are excluded."""
    try:
        found = ignore.parse(text)
    except InvalidInput as error:
        return {"error": error.message}
    return {"matched": [path for path in paths if found.matches(path)]}


def of_checks(text: str, arguments: Mapping[str, str]) -> Answer:
    """The findings of all stages, on the image that BuildKit's side has behind every name."""
    try:
        return {"warnings": sorted(_findings(parse(text), Given(arguments, _AMD, _AMD)))}
    except InvalidInput as error:
        return {"error": error.message}


def _findings(dockerfile: Dockerfile, given: Given) -> set[tuple[str, str, int]]:
    asked, above = rules.settings(dockerfile), global_arguments(dockerfile, given)
    source = Source(dockerfile.source, dockerfile.text)
    bases = [base_of(stage.from_, above, dockerfile.escape, source) for stage in dockerfile.stages]
    found = list(checks.of_file(dockerfile, given, asked))
    done: dict[int, checks.Inherited] = {}
    for node in stages.plan(dockerfile, bases).nodes:
        if isinstance(node.origin, stages.FromStage):
            begin = done[node.origin.index]
        else:
            variables = [] if isinstance(node.origin, stages.FromNothing) else ["PATH=/bin", "FROMIMAGE=1"]
            begin = checks.Inherited(Scope.of_image(variables))
        more, done[node.stage.index] = checks.of_stage(dockerfile, node.stage, begin, given, above, asked)
        found += more
    return {(one.rule, one.message, one.location.first) for one in found}


def _instruction(one: Instruction, dockerfile: Dockerfile) -> Answer:
    answer: Answer = {"kind": one.keyword, "lines": _lines(one.location), "v": _VALUES[type(one)](one)}
    if isinstance(one, Copy):
        answer["flags"] = [one.from_, one.chown, one.chmod, one.link, one.parents, list(one.exclude)]
    elif isinstance(one, Add):
        flags = [one.checksum, one.chown, one.chmod, one.link, one.keep_git_dir, one.unpack, list(one.exclude)]
        answer["flags"] = flags
    elif isinstance(one, Run):
        answer |= {"network": one.network, "security": one.security}
        answer["mounts"] = [source_of(option) for option in one.mount_options]
        try:
            changed, _ = applied(one, _IN_MOUNTS, "\\", Source(dockerfile.source, dockerfile.text))
            answer["mountValues"] = [_mount(mount) for mount in changed.mounts]
        except DockerfileError as error:
            answer["mountError"] = error.cause
    return answer


def _lines(where: Location) -> list[int]:
    return [where.first, where.last]


def _command(command: CommandLine) -> Answer:
    files = [[file.name, file.content, file.chomp] for file in command.files]
    return {"words": list(command.words), "shell": command.in_shell, "files": files}


def _paths(one: Copy | Add) -> list[Any]:
    documents = [[document.name, document.data, document.expand] for document in one.documents]
    return [list(one.sources), documents, one.destination]


def _pairs(one: Env | Label) -> list[Any]:
    return [[pair.key, pair.value, pair.legacy] for pair in one.pairs]


def _health(one: Healthcheck) -> list[Any]:
    periods: Sequence[int] = (one.interval, one.timeout, one.start_period, one.start_interval, one.retries)
    return [list(one.test), *periods]


def _mount(mount: Mount) -> Answer:
    return {
        "Type": mount.type,
        "From": mount.from_,
        "Source": mount.source,
        "Target": mount.target,
        "ReadOnly": mount.read_only,
        "SizeLimit": mount.size,
        "CacheID": mount.id,
        "CacheSharing": mount.sharing,
        "Required": mount.required,
        "Env": mount.env,
        "Mode": mount.mode,
        "UID": mount.uid,
        "GID": mount.gid,
    }


_VALUES: dict[type[Instruction], Callable[[Any], Any]] = {
    Add: _paths,
    Arg: lambda one: [[definition.name, definition.default] for definition in one.definitions],
    Cmd: lambda one: _command(one.command),
    Copy: _paths,
    Entrypoint: lambda one: _command(one.command),
    Env: _pairs,
    Expose: lambda one: list(one.ports),
    Healthcheck: _health,
    Label: _pairs,
    Maintainer: lambda one: one.name,
    Onbuild: lambda one: one.trigger,
    Run: lambda one: _command(one.command),
    Shell: lambda one: list(one.words),
    StopSignal: lambda one: one.signal,
    User: lambda one: one.user,
    Volume: lambda one: list(one.paths),
    Workdir: lambda one: one.path,
}
