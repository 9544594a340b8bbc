"""The build checks of a whole build: those of the text at once, those of a stage when what it begins with is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from corten.build import checks, rules
from corten.build.arguments import Given, Globals, Scope
from corten.build.checks import Inherited
from corten.build.failure import Source
from corten.build.ignore import Ignore
from corten.build.instructions import Dockerfile, Finding, Stage
from corten.build.state import State
from corten.spec import platform as platforms


class Linter:
    """The checks of one build; :attr:`found` is what they have found so far."""

    def __init__(
        self, dockerfile: Dockerfile, given: Given, override: str = "", ignored: Ignore | None = None, *,
        at_once: bool = True,
    ) -> None:  # fmt: skip
        """``override`` are settings that the build was asked with; with ``at_once``, the first that is found and is to
        be an error ends it, else :meth:`refuse` does. Raises DockerfileError, InvalidInput."""
        self._dockerfile, self._given, self._ignored = dockerfile, given, ignored
        self._asked = rules.settings(dockerfile, override)
        self._source, self._at_once = Source(dockerfile.source, dockerfile.text), at_once
        self.found: set[Finding] = set()
        self._take(checks.of_file(dockerfile, given, self._asked))

    def refuse(self) -> None:
        """Raises DockerfileError if what was found is to be an error."""
        rules.refuse(self._asked, self.found, self._source)

    @property
    def sorted(self) -> Sequence[Finding]:
        """In the order of lines."""
        return sorted(self.found, key=lambda one: (one.location.first, one.rule, one.message))

    def base(self, stage: Stage, image: str, platform: str, state: State) -> None:
        """A stage begins with an image. Raises DockerfileError."""
        target = self._given.target_platform
        expected = platforms.parse(platform, target) if platform else target
        found = checks.of_platform(stage.from_, image, expected, state.platform)
        if found is not None and self._asked.at(stage.from_.comments).wants(found.rule):
            self._take([found])

    def stage(self, stage: Stage, begin: Inherited, above: Globals) -> Inherited:
        """A stage is about to be built; what one on top of it inherits. Raises DockerfileError."""
        found, now = checks.of_stage(
            self._dockerfile, stage, begin, self._given, above, self._asked, self._ignored
        )  # fmt: skip
        self._take(found)
        return now

    def _take(self, found: Sequence[Finding]) -> None:
        self.found.update(found)
        if self._at_once:
            rules.refuse(self._asked, found, self._source)


def begin(state: State | None, scope: Scope, below: Inherited | None) -> Inherited:
    """What a stage begins with: an image, None where it is not known, or a stage below it."""
    if below is not None:
        return dataclasses.replace(below, scope=scope)
    if state is None:
        return Inherited(scope, is_known=False)
    return Inherited(scope, own_shell=bool(state.config.get("Shell")))
