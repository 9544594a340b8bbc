"""What Corten tells of a Dockerfile without building it, as a document and as text, beside what BuildKit tells."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from corten.api import build_calls as documents
from corten.build import outline
from corten.build.arguments import DEFAULT_PATH, Given
from corten.build.instructions import Dockerfile
from corten.build.linting import Linter
from corten.build.parser import parse
from corten.build.patience import always
from corten.build.stages import FromNothing, FromStage
from corten.build.state import State
from corten.cli import build_call as printed
from corten.engine.build_calls import Checked, Plan, plan_of
from corten.errors import InvalidInput
from corten.spec.platform import Platform

METHODS = ("check", "outline", "targets")
_AMD = Platform("linux", "amd64")
_IMAGE = State(config={"Env": ["PATH=/bin", "FROMIMAGE=1"]}, platform=_AMD)
_NOTHING = State(config={"Env": [f"PATH={DEFAULT_PATH}"]}, platform=_AMD)
_SUGGESTION = re.compile(r" \(did you mean [^)]*\?\)")

Answer = dict[str, Any]


def of_call(method: str, text: str, arguments: Mapping[str, str], target: str) -> Answer:
    """What the engine answers, and what the command prints of it."""
    content, given = text.encode(), Given(arguments, _AMD, _AMD, target)
    if method == "check":
        document = documents.checked(_checked(content, given))
        return {"document": document, "text": "\n".join([*printed.check(document)[1:], ""])}
    try:
        dockerfile = parse(content)
        if method == "targets":
            document = documents.listed(content, outline.targets(dockerfile))
            return {"document": document, "text": "\n".join([*printed.targets(document), ""])}
        planned = _plan(dockerfile, given, whole=False)
        document = documents.outlined(content, planned.walk(always).outline())
        return {"document": document, "text": "".join(f"{line}\n" for line in printed.outline(document))}
    except InvalidInput as error:
        return {"error": error.message}


def _checked(content: bytes, given: Given) -> Checked:
    linter: Linter | None = None
    error: InvalidInput | None = None
    try:
        dockerfile = parse(content)
        linter = Linter(dockerfile, given, at_once=False)
        planned = _plan(dockerfile, given, whole=not given.target)
        planned.lint(linter, always)
        planned.walk(always)
        linter.refuse()
    except InvalidInput as refused:
        error = refused
    return Checked("Dockerfile", content, linter.sorted if linter else (), (), error)


def _plan(dockerfile: Dockerfile, given: Given, *, whole: bool) -> Plan:
    """All images are the one that BuildKit's side has behind every name."""
    planned = plan_of(dockerfile, given, whole=whole)
    for node in planned.nodes:
        if not isinstance(node.origin, FromStage):
            planned.bases[node.stage.index] = _NOTHING if isinstance(node.origin, FromNothing) else _IMAGE
    return planned


def comparable(method: str, answer: Answer) -> Answer:
    """An answer without what is meant to differ: the order of what stands on one line, what is found twice, which of
    two near words is suggested, and BuildKit's definition of where its Dockerfile comes from. Where a file cannot be
    built, that is all that counts."""
    if "error" in answer:
        return answer
    document = json.loads(_SUGGESTION.sub("", json.dumps(answer["document"])))
    if method == "targets":
        return {"document": document, "text": answer["text"]}
    if method == "outline":
        lists = {name: _sorted(document.pop(name, None) or ()) for name in ("args", "secrets", "ssh")}
        return {"document": document, "lists": lists, "lines": sorted(answer["text"].splitlines())}
    if "buildError" in document:
        return {"error": document["buildError"]["message"]}
    (source,) = document["sources"]
    source.pop("definition", None)
    blocks = _SUGGESTION.sub("", answer["text"]).split("\nWARNING: ")
    return {"source": source, "warnings": _sorted(document["warnings"] or ()), "blocks": sorted(set(blocks))}


def _sorted(values: Any) -> list[str]:
    return sorted({json.dumps(one, sort_keys=True) for one in values})
