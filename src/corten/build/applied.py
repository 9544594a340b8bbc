"""Which words of an instruction are expanded when it is applied, and by what rule.

ENV and LABEL: names and values, by the environment before the line; COPY and ADD: paths, owner, mode, checksum and
here-documents, but neither ``--from`` nor ``--exclude``; RUN: its mounts alone, since its command is the shell's;
EXPOSE splits what it expands. CMD, ENTRYPOINT, HEALTHCHECK, SHELL, ONBUILD and MAINTAINER stay as they are. ARG is
expanded where its value is chosen (:mod:`corten.build.arguments`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from corten.build import mount, ports
from corten.build.arguments import Globals
from corten.build.expansion import Rules, expand
from corten.build.failure import Source
from corten.build.instructions import (
    Add,
    Copy,
    Env,
    Expose,
    From,
    HereDocument,
    Instruction,
    Label,
    Pair,
    Run,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from corten.errors import InvalidInput
from corten.spec import signals

_IN_DOCUMENTS = Rules(escape="\\", plain_quotes=True)
_MOST_PORTS = 3 * 65_536  # there are no more: every port of every protocol
_TEXTS: dict[type[Instruction], tuple[str, ...]] = {
    Copy: ("destination", "chown", "chmod"),
    Add: ("destination", "chown", "chmod", "checksum"),
    User: ("user",),
    Workdir: ("path",),
    StopSignal: ("signal",),
}
_LISTS: dict[type[Instruction], str] = {Copy: "sources", Add: "sources", Volume: "paths"}
_Kind = TypeVar("_Kind", bound=Instruction)


@dataclasses.dataclass(frozen=True, slots=True)
class Base:
    """What a FROM means: an image, a stage or a named context, and a platform as written, '' for the target's."""

    image: str
    platform: str
    unset: frozenset[str]
    used: frozenset[str]


class Expander:
    """Expands with one set of variables and remembers the names that had no value."""

    def __init__(self, variables: Mapping[str, str], rules: Rules) -> None:
        self._variables = variables
        self._rules = rules
        self.unset: set[str] = set()

    def word(self, text: str) -> str:
        """One text for one text. Raises InvalidInput."""
        if not text:
            return ""
        found = expand(text, self._variables, self._rules)
        self.unset |= found.unset
        return found.text

    def words(self, text: str) -> tuple[str, ...]:
        """The words that a text becomes. Raises InvalidInput."""
        found = expand(text, self._variables, self._rules)
        self.unset |= found.unset
        return found.words

    def pairs(self, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        """Names and values."""
        return tuple(Pair(self.word(pair.key), self.word(pair.value), pair.legacy) for pair in pairs)

    def document(self, document: HereDocument) -> HereDocument:
        """A here-document, in which quotes mean nothing, unless its name was quoted."""
        if not document.expand:
            return document
        found = expand(document.data, self._variables, _IN_DOCUMENTS)
        self.unset |= found.unset
        return dataclasses.replace(document, content=found.text, chomp=False)


def applied(
    instruction: _Kind, variables: Mapping[str, str], escape: str, source: Source
) -> tuple[_Kind, frozenset[str]]:
    """The instruction with its words expanded, and the names that had no value. Raises DockerfileError."""
    expander = Expander(variables, Rules(escape))
    try:
        changed = dataclasses.replace(instruction, **_changes(instruction, expander))
    except InvalidInput as error:
        raise source.error(error.message, instruction.location, instruction.keyword) from None
    return changed, frozenset(expander.unset)


def _changes(one: Instruction, expander: Expander) -> dict[str, Any]:
    changes: dict[str, Any] = {name: expander.word(getattr(one, name)) for name in _TEXTS.get(type(one), ())}
    if listed := _LISTS.get(type(one)):
        changes[listed] = tuple(expander.word(text) for text in getattr(one, listed))
    if isinstance(one, Env | Label):
        changes["pairs"] = expander.pairs(one.pairs)
    elif isinstance(one, Copy | Add):
        changes["documents"] = tuple(expander.document(document) for document in one.documents)
    elif isinstance(one, Run):
        changes["mounts"] = tuple(mount.parse(option, expander.word) for option in one.mount_options)
    elif isinstance(one, Expose):
        changes["ports"] = _ports(word for port in one.ports for word in expander.words(port))
    elif isinstance(one, Volume) and "" in changes["paths"]:
        raise InvalidInput("VOLUME specified can not be an empty string")
    elif isinstance(one, StopSignal):
        signals.parse(changes["signal"])
    return changes


def _ports(words: Iterable[str]) -> tuple[str, ...]:
    found: list[str] = []
    for word in words:
        found += ports.parse(word)
        if len(found) > _MOST_PORTS:
            raise InvalidInput(f"more than {_MOST_PORTS} ports")
    return tuple(found)


def base_of(from_: From, above: Globals, escape: str, source: Source) -> Base:
    """What a FROM means. Raises DockerfileError."""
    rules = Rules(escape)
    try:
        image = expand(from_.image, above.values, rules)
        platform = expand(from_.platform, above.values, rules) if from_.platform else None
    except InvalidInput as error:
        raise source.error(error.message, from_.location, "FROM") from None
    if not image.text:
        raise source.error(f"base name ({from_.image}) should not be blank", from_.location, "FROM")
    if platform and not platform.text:
        raise source.error(f"empty platform value from expression {from_.platform}", from_.location, "FROM")
    unset, used = image.unset, image.used
    if platform:
        unset, used = unset | platform.unset, used | platform.used
    return Base(image.text, platform.text if platform else "", unset, used)
