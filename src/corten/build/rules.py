"""The build checks by name, with BuildKit's sentences (its ``linter/ruleset``), and which of them are asked for."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from corten.build import lexer, numbers, words
from corten.build.expansion import quoted
from corten.build.failure import Source
from corten.build.instructions import Dockerfile, Finding, Location
from corten.errors import InvalidInput

_PLACE = "https://docs.docker.com/go/dockerfile/rule/"
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CHECK = re.compile(r"check[\t\n\f\r ]*=[\t\n\f\r ]*([^\t\n\f\r ]+)", re.IGNORECASE)

SENTENCES = {
    "ConsistentInstructionCasing": "Command '{}' should match the case of the command majority ({})",
    "CopyIgnoredFile": "Attempting to {} file {} that is excluded by .dockerignore",
    "DuplicateStageName": "Duplicate stage name {}, stage names should be unique",
    "ExposeInvalidFormat": "EXPOSE instruction should not define an IP address or host-port mapping, found '{}'",
    "ExposeProtoCasing": "Defined protocol '{}' in EXPOSE instruction should be lowercase",
    "FromAsCasing": "'{}' and '{}' keywords' casing do not match",
    "FromPlatformFlagConstDisallowed": "FROM --platform flag should not use constant value {}",
    "InvalidBaseImagePlatform": "Base image {} was pulled with platform {}, expected {} for current build",
    "InvalidDefaultArgInFrom": "Default value for ARG {} results in empty or invalid base image name",
    "InvalidDefinitionDescription": "Comment for {} should follow the format: `# {} <description>`",
    "JSONArgsRecommended": "JSON arguments recommended for {} to prevent unintended behavior related to OS signals",
    "LegacyKeyValueFormat": '"{0} key=value" should be used instead of legacy "{0} key value" format',
    "MaintainerDeprecated": "Maintainer instruction is deprecated in favor of using label",
    "MultipleInstructionsDisallowed": (
        "Multiple {} instructions should not be used in the same stage because only the last one will be used"
    ),
    "NoEmptyContinuation": "Empty continuation line",
    "RedundantTargetPlatform": (
        "Setting platform to predefined {} in FROM is redundant as this is the default behavior"
    ),
    "ReservedStageName": "Stage name should not use the same name as reserved stage {}",
    "SecretsUsedInArgOrEnv": "Do not use ARG or ENV instructions for sensitive data ({} {})",
    "StageNameCasing": "Stage name '{}' should be lowercase",
    "UndefinedArgInFrom": "FROM argument '{}' is not declared{}",
    "UndefinedVar": "Usage of undefined variable '${}'{}",
    "WorkdirRelativePath": "Relative workdir {} can have unexpected results if the base image changes",
}
_EXPERIMENTAL = frozenset(("InvalidDefinitionDescription",))


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """Which checks are asked for: ``# check=skip=RULE,…;experimental=RULE,…;error=true``, with ``all`` for a list."""

    skip: frozenset[str] = frozenset()
    skip_all: bool = False
    experimental: frozenset[str] = frozenset()
    experimental_all: bool = False
    error: bool = False

    def wants(self, rule: str) -> bool:
        """Whether what a rule finds is told."""
        if rule in _EXPERIMENTAL:
            return self.experimental_all or rule in self.experimental
        return not self.skip_all and rule not in self.skip

    def at(self, comments: Iterable[str]) -> Settings:
        """These, with what the first ``check=`` among the comments above an instruction adds."""
        for comment in comments:
            found = _CHECK.match(comment)
            if not found:
                continue
            try:
                more = parse(found[1])
            except InvalidInput:
                return self
            return dataclasses.replace(
                self,
                skip=self.skip | more.skip,
                skip_all=self.skip_all or more.skip_all,
                experimental=self.experimental | more.experimental,
                experimental_all=self.experimental_all or more.experimental_all,
            )
        return self


def parse(text: str) -> Settings:
    """Read the value of a ``check`` directive, or of the build argument BUILDKIT_DOCKERFILE_CHECK. Raises
    InvalidInput."""
    given: dict[str, str] = {}
    for part in words.trim(text).split(";", 2) if words.trim(text) else ():
        key, equals, value = part.partition("=")
        key = words.trim(key)
        if not equals or key not in ("skip", "experimental", "error"):
            raise InvalidInput(f"failed to parse check options: invalid check option {quoted(key if equals else part)}")
        given[key] = words.trim(value)
    skip, experimental = given.get("skip", ""), given.get("experimental", "")
    return Settings(
        skip=_names(skip),
        skip_all=skip == "all",
        experimental=_names(experimental),
        experimental_all=experimental == "all",
        error=_truth(given.get("error", "false")),
    )


def _names(value: str) -> frozenset[str]:
    return frozenset(map(words.trim, value.split(",")))


def _truth(value: str) -> bool:
    try:
        return numbers.boolean(value)
    except ValueError:
        told = f"error={value}"
        raise InvalidInput(f"failed to parse check options: failed to parse check option {quoted(told)}") from None


def settings(dockerfile: Dockerfile, override: str = "") -> Settings:
    """The checks that a file, or what a build was asked with, wants. Raises DockerfileError, or InvalidInput for the
    latter."""
    if override:
        return parse(override)
    found = lexer.directive(dockerfile.text, "check")
    if not found:
        return Settings()
    try:
        return parse(found.value.partition(" ")[0])
    except InvalidInput as error:
        source = Source(dockerfile.source, dockerfile.text)
        raise source.error(error.message, Location(found.line, found.line), "check") from None


def finding(rule: str, location: Location, *values: str) -> Finding:
    """What a rule found there, in its sentence."""
    url = "" if rule == "InvalidBaseImagePlatform" else f"{_PLACE}{_CAPITAL.sub('-', rule).lower()}/"
    return Finding(rule, SENTENCES[rule].format(*values), location, url)


def refuse(asked: Settings, findings: Iterable[Finding], source: Source) -> None:
    """Raise DockerfileError if a finding is to be an error."""
    found = sorted({one.rule for one in findings}) if asked.error else []
    if found:
        raise source.error(f"lint violation found for rules: {', '.join(found)}", None)
