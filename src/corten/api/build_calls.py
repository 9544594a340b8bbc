"""The answers to what a build is called for without being built, in the shapes of BuildKit's ``frontend/subrequests``.

What has nothing in it is left out, as Go does it, but for a check's warnings, which are null where there are none.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from corten.build.descriptions import DESCRIPTIONS
from corten.build.instructions import Finding, Location
from corten.build.outline import Need, Outline, Parameter, Target
from corten.build.patience import beside
from corten.engine.build_calls import Answer, Checked, Listed
from corten.errors import DockerfileError, InvalidInput

if TYPE_CHECKING:
    from corten.engine.build_client import BuildClient
    from corten.engine.builds import BuildRequest, Builds

Report = Callable[[dict[str, Any]], None]
Json = dict[str, Any]
METHODS = ("check", "outline", "targets")
DESCRIBE = "subrequests.describe"
_MOST_RANGES = 100_000
"""Of an answer. Each line of an instruction is one, and there may be much to say of an instruction with many lines."""


def _subrequest(name: str, description: str, opts: list[Json] | None) -> Json:
    metadata = [{"name": name, "description": ""} for name in ("result.json", "result.txt")]
    return {
        "name": f"frontend.{name}", "version": "1.0.0", "type": "rpc", "description": description, "opts": opts,
        "inputs": None, "metadata": metadata, "refs": None,
    }  # fmt: skip


SUBREQUESTS = (
    _subrequest(
        "outline", "List all parameters current build target supports",
        [{"name": "target", "description": "Target build stage"}],
    ),
    _subrequest("targets", "List all targets current build supports", []),
    _subrequest(DESCRIBE, "List available subrequest types", None),
)  # fmt: skip
"""Those that BuildKit tells; its check is not among them."""


async def answer(builds: Builds, asked: BuildRequest, client: BuildClient, report: Report) -> None:
    """Tell what is asked for. Raises InvalidInput for what cannot be, and, when it is told, for what a check finds."""
    if asked.call == DESCRIBE:
        report({"call": list(SUBREQUESTS)})
        return
    if asked.call not in METHODS:
        raise InvalidInput(f"build with call={asked.call}: it is one of {', '.join((*METHODS, DESCRIBE))}")
    found = await builds.called(asked, client)
    report(await beside(lambda _: _told(found), len(found.content)))
    if isinstance(found, Checked) and found.error is not None:
        raise found.error


def _told(found: Answer) -> Json:
    if isinstance(found, Listed):
        return {"call": listed(found.content, found.targets)}
    told = checked(found) if isinstance(found, Checked) else outlined(found.content, found.outline)
    return {"call": told, "unknown": list(found.unknown)}


def checked(found: Checked) -> Json:
    """A check's answer, as ``frontend.lint`` gives it."""
    source = {"filename": _text(found.name), "data": _data(found.content), "language": "Dockerfile"}
    places = _Places(len(found.found))
    warnings = [_warning(one, places) for one in found.found] or None
    return {"warnings": warnings, "sources": [source], **({"buildError": _error(found.error)} if found.error else {})}


def _warning(one: Finding, places: _Places) -> Json:
    told = {
        "ruleName": one.rule,
        "description": DESCRIPTIONS[one.rule],
        "url": one.url,
        "detail": _text(one.message),
        "location": places.of(one.location),
    }
    return _without_empty(told)


def _error(error: InvalidInput) -> Json:
    where = Location(error.line, error.last_line) if isinstance(error, DockerfileError) and error.line else None
    return {"message": _text(error.message), "location": _Places(1).of(where) if where else {}}


def outlined(content: bytes, outline: Outline) -> Json:
    """A target's parameters, as ``frontend.outline`` gives them."""
    places = _Places(len(outline.parameters) + len(outline.secrets) + len(outline.agents))
    told = {
        "name": outline.name,
        "description": _text(outline.description),
        "args": [_parameter(one, places) for one in outline.parameters],
        "secrets": [_need(one, places) for one in outline.secrets],
        "ssh": [_need(one, places) for one in outline.agents],
        "sources": [_data(content)],
    }
    return _without_empty(told)


def _parameter(one: Parameter, places: _Places) -> Json:
    told = {"description": _text(one.description), "value": _text(one.value), "location": places.of(one.location)}
    return {"name": one.name, **_without_empty(told)}


def _need(one: Need, places: _Places) -> Json:
    return {"name": one.name, **({"required": True} if one.required else {}), "location": places.of(one.location)}


def listed(content: bytes, targets: Sequence[Target]) -> Json:
    """The stages, as ``frontend.targets`` gives them."""
    places = _Places(len(targets))
    return {"targets": [_target(one, places) for one in targets], "sources": [_data(content)]}


def _target(one: Target, places: _Places) -> Json:
    told = {
        "name": one.name,
        "default": one.is_default,
        "description": _text(one.description),
        "base": one.base,
        "platform": one.platform,
        "location": places.of(one.location),
    }
    return _without_empty(told)


class _Places:
    """Lines as ranges: each line one, or the whole where an answer would have too many."""

    def __init__(self, count: int) -> None:
        self._most = _MOST_RANGES // max(count, 1)

    def of(self, where: Location) -> Json:
        """Such lines."""
        lines = range(where.first, where.last + 1)
        if len(lines) > self._most:
            return {"ranges": [{"start": {"line": where.first}, "end": {"line": where.last}}]}
        return {"ranges": [{"start": {"line": line}, "end": {"line": line}} for line in lines]}


def _without_empty(told: Json) -> Json:
    return {name: value for name, value in told.items() if value}


def _data(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _text(text: str) -> str:
    """Without what is no character: in a comment there may be any bytes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
