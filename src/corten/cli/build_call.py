"""``build --call=METHOD`` and ``build --check``: what the engine tells of a Dockerfile, printed as by
``docker buildx build``. Only where that is asked for, this is loaded."""

from __future__ import annotations

import json
import sys

from corten.errors import InvalidInput, Unsupported
from corten.wire import building

from .build_progress import Shown
from .options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from corten.client.response import Response

    from .context import Context

_METHODS = ("build", "check", "lint", "outline", "targets", "subrequests.describe")
_FORMATS = ("", "text", "json")
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")
_PADDING = 4
_LONGEST = 500
"""Characters of a line of the Dockerfile."""


class Call:
    """What is asked for: ``method`` is check, outline, targets or subrequests.describe."""

    def __init__(self, method: str, form: str = "", *, ignores_status: bool = False) -> None:
        self.method, self.form, self.ignores_status = method, form, ignores_status

    def agreed(self, response: Response) -> None:
        """Raises Unsupported if the engine would build."""
        if building.CALLED.lower() not in response.headers:
            what = f"build --call={self.method}: the engine is older than this command, and knows of none"
            raise Unsupported(what, hint="start it anew with this version")

    def shown(self, context: Context, *, quiet: bool) -> Answered:
        """What takes the answer."""
        return Answered(context, self, quiet=quiet)


def asked(text: str, *, check: bool) -> Call | None:
    """``METHOD[,format=text|json][,ignorestatus=true]``; None to build. Raises UsageError."""
    method, form, ignores = "", "", False
    for field in text.split(",") if text else ():
        name, equals, value = field.partition("=")
        if not equals and not method and field in _METHODS:
            method = field
        elif name == "format" and value in _FORMATS:
            form = value
        elif name == "ignorestatus" and value in (*_TRUE, *_FALSE):
            ignores = value in _TRUE
        else:
            raise UsageError(f'invalid argument "{text}" for "--call" flag: {_cause(field)}')
    if text and not method:
        raise UsageError(f'invalid argument "{text}" for "--call" flag: it names no method')
    method = "check" if method == "lint" else method
    if check and method not in ("", "build", "check"):
        raise InvalidInput(f"build --check --call={method}: --check is --call=check, and a build has one of them")
    if check:
        return Call("check", form if method == "check" else "", ignores_status=ignores and method == "check")
    return None if method in ("", "build") else Call(method, form, ignores_status=ignores)


def _cause(field: str) -> str:
    if "=" in field:
        return f"{field}: it is format=text, format=json or ignorestatus=true"
    return f"{field}: the method is one of {', '.join(_METHODS)}"


class Answered(Shown):
    """Takes the documents of such a call: the answer goes to standard output, what else is said to standard error."""

    def __init__(self, context: Context, call: Call, *, quiet: bool) -> None:
        super().__init__("quiet" if quiet else "plain")
        self._context, self._call, self._status = context, call, 0

    def all(self, said: Iterable[list[dict[str, Any]]]) -> int:
        """Show all of it; the exit code: 1 if a check found something, unless that is to be ignored."""
        code = super().all(said)
        return code or (0 if self._call.ignores_status else self._status)

    def _taken(self, document: dict[str, Any]) -> int | None:
        if "call" not in document:
            return super()._taken(document)
        for name in document.get("unknown", ()):
            told = f"{plain(name)} is not here: what its variables, its platform and its ONBUILD would tell is left out"
            self._view.take({"stream": f"[Warning] {told}\n"})
        self._view.show()
        result = document["call"]
        self._status = 1 if self._call.method == "check" and result["warnings"] else 0
        if self._call.form == "json":
            lines: Iterable[str] = [json.dumps(result, indent=2, ensure_ascii=False)]
        else:
            lines = _TEXTS[self._call.method](result)
        for line in lines:
            self._context.out(line)
        sys.stdout.flush()  # before the error that may follow
        return None


# --- as text


def plain(text: str) -> str:
    """A text as a terminal may show it: what a stranger wrote gives no orders to it."""
    return "".join(one if one.isprintable() or one == "\t" else "\ufffd" for one in text)


def check(result: dict[str, Any]) -> list[str]:
    """What a check found."""
    warnings, error = result["warnings"] or [], result.get("buildError")
    if not warnings:
        return [] if error else ["Check complete, no warnings found."]
    count = "1 warning has" if len(warnings) == 1 else f"{len(warnings)} warnings have"
    lines = [f"Check complete, {count} been found!"]
    source = result["sources"][0]
    rows = _decoded(source["data"]).split("\n")
    for one in warnings:
        url = f" - {one['url']}" if one.get("url") else ""
        lines += ["", f"WARNING: {one['ruleName']}{url}", plain(one["detail"])]
        lines += excerpt(source["filename"], rows, one["location"]["ranges"])
    return [*lines, ""] if error else lines


def excerpt(name: str, rows: Sequence[str], ranges: Sequence[Any]) -> list[str]:
    """The lines that are meant, marked, with some around them: four beside one line, two beside several."""
    first = min(one["start"]["line"] for one in ranges)
    last = min(max(one["end"]["line"] for one in ranges), len(rows))
    if not 1 <= first <= last:
        return []
    begin, end, beside = first, last, 0
    while beside < (_PADDING if first == last else _PADDING // 2):
        # As in BuildKit, a round counts by itself, too: it ends where the file has no more.
        beside += 1 + (begin > 1) + (end < len(rows))
        begin, end = max(1, begin - 1), min(len(rows), end + 1)
    rule = "-" * 20
    marked = [
        f" {number:3} | {'>>>' if first <= number <= last else '   '} {_cut(rows[number - 1])}"
        for number in range(begin, end + 1)
    ]
    return [f"{plain(name)}:{first}", rule, *marked, rule]


def _cut(row: str) -> str:
    row = row.removesuffix("\r")
    return plain(row if len(row) <= _LONGEST else f"{row[:_LONGEST]}…")


def _decoded(data: str) -> str:
    import base64

    return base64.b64decode(data).decode("utf-8", "replace")


def outline(result: dict[str, Any]) -> list[str]:
    """The parameters of a target."""
    name, description = result.get("name", ""), result.get("description", "")
    lines: list[str] = []
    if name or description:
        lines += _columns([["TARGET:", name or "(default)"], *([["DESCRIPTION:", description]] if description else [])])
        lines.append("")
    if arguments := result.get("args"):
        rows = [[one["name"], one.get("value", ""), one.get("description", "")] for one in arguments]
        lines += [*_columns([["BUILD ARG", "VALUE", "DESCRIPTION"], *rows], 3), ""]
    for heading, key in (("SECRET", "secrets"), ("SSH", "ssh")):
        if needs := result.get(key):
            rows = [[one["name"], "true" if one.get("required") else ""] for one in needs]
            lines += [*_columns([[heading, "REQUIRED"], *rows], 3), ""]
    return lines


def targets(result: dict[str, Any]) -> list[str]:
    """The stages."""
    return _columns([["TARGET", "DESCRIPTION"], *(_target(one) for one in result["targets"])])


def _target(one: dict[str, Any]) -> list[str]:
    words = [one["name"]] if one.get("name") else []
    words += ["(default)"] if one.get("default") else []
    return [" ".join(words), one.get("description", "")]


def describe(result: list[dict[str, Any]]) -> list[str]:
    """The methods."""
    rows = [[one["name"].removeprefix("frontend."), one["version"], one["description"]] for one in result]
    return _columns([["NAME", "VERSION", "DESCRIPTION"], *rows])


def _columns(rows: Sequence[Sequence[str]], padding: int = 1) -> list[str]:
    cells = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) + padding for column in zip(*cells, strict=True)]
    return ["".join([*map(str.ljust, row[:-1], widths), row[-1]]) for row in cells]


_TEXTS: dict[str, Callable[[Any], list[str]]] = {
    "check": check, "outline": outline, "targets": targets, "subrequests.describe": describe,
}  # fmt: skip
