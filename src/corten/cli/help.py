"""Help texts, from the same tables that parse."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from . import commands, main
from .options import FLAG, LISTS, Command, Option

_WIDTH = 80
PROGRAM = "corten"


def usage(command: Command, path: str) -> str:
    """The help of one command."""
    place = next((found for name, found in _places() if f"{PROGRAM} {name}" == path), "")
    names = commands.aliases(place)
    parts = [f"Usage:  {path} {command.usage}".rstrip(), command.summary]
    if command.description:
        parts.append(command.description)
    if len(names) > 1:
        parts.append("Aliases:\n  " + ", ".join(f"{PROGRAM} {name}" for name in names))
    if shown := [option for option in command.options if not option.hidden]:
        parts.append("Options:\n" + table(shown))
    return "\n\n".join(parts)


def _places() -> Iterable[tuple[str, str]]:
    yield from commands.TOP.items()
    for group, (_, names) in commands.GROUPS.items():
        yield from ((f"{group} {name}", place) for name, place in names.items())


def overview(group: str, options: Sequence[Option]) -> str:
    """The help of a group, or with '' of everything."""
    if group:
        summary, names = commands.GROUPS[group]
        return "\n\n".join(
            [
                f"Usage:  {PROGRAM} {group} COMMAND",
                summary,
                "Commands:\n" + _summaries(names),
                f"Run '{PROGRAM} {group} COMMAND --help' for more information on a command.",
            ]
        )
    groups = {name: summary for name, (summary, _) in commands.GROUPS.items()}
    further = {name: place for name, place in commands.TOP.items() if name not in main.COMMON}
    return "\n\n".join(
        [
            f"Usage:  {PROGRAM} [OPTIONS] COMMAND",
            "Containers, images, volumes: Docker's commands, no administrator needed",
            "Common Commands:\n" + _summaries(main.COMMON),
            "Management Commands:\n" + _rows(groups),
            "Commands:\n" + _summaries(further, {"daemon": "Run the engine in the foreground"}),
            "Global Options:\n" + table([option for option in options if not option.hidden]),
            f"Run '{PROGRAM} COMMAND --help' for more information on a command.",
        ]
    )


def _summaries(names: dict[str, str], others: dict[str, str] | None = None) -> str:
    first: dict[str, str] = {}
    for name, place in names.items():
        first.setdefault(place, name)
    rows = {name: main.load(place).summary for place, name in first.items()}
    return _rows({**rows, **(others or {})})


def _rows(rows: dict[str, str]) -> str:
    width = max(map(len, rows)) + 2
    return "\n".join(f"  {name:<{width}}{text}" for name, text in rows.items())


def table(options: Sequence[Option]) -> str:
    """The options, sorted, in two columns."""
    rows = [(_left(option), _right(option)) for option in sorted(options, key=lambda one: one.name)]
    width = max(len(left) for left, _ in rows) + 3
    lines: list[str] = []
    for left, right in rows:
        wrapped = textwrap.wrap(right, max(24, _WIDTH - width))
        lines.append(f"{left:<{width}}{wrapped[0]}")
        lines += [" " * width + more for more in wrapped[1:]]
    return "\n".join(lines)


def _left(option: Option) -> str:
    flags = option.flags if option.short else f"    {option.flags}"
    return f"  {flags} {option.kind}".rstrip() if option.kind != FLAG else f"  {flags}"


def _right(option: Option) -> str:
    default = option.default
    if option.kind in LISTS or not default or "(default" in option.help:
        return option.help
    shown = {True: "true"}.get(default, f'"{default}"' if isinstance(default, str) else default)
    return f"{option.help} (default {shown})"
