"""The commands that are called most: to find one of these, the table of all is not read (see :mod:`.commands`)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .options import Command

COMMON = {
    "run": "run:RUN",
    "exec": "execute:EXEC",
    "ps": "ps:LIST",
    "build": "build:BUILD",
    "pull": "pull:PULL",
    "push": "push:PUSH",
    "images": "images:LIST",
    "search": "search:SEARCH",
    "version": "version:VERSION",
    "info": "info:INFO",
}
AHEAD = frozenset(("build:BUILD", "execute:EXEC", "ps:LIST", "run:RUN"))
"""Commands that start often and always speak to the engine: it is called before their module is loaded."""


def find(words: list[str]) -> tuple[str, str, list[str]]:
    """As :func:`.commands.find`."""
    if words and (place := COMMON.get(words[0])):
        return place, words[0], words[1:]
    from . import commands

    return commands.find(words)


def load(place: str) -> Command:
    """Import a command."""
    module, _, attribute = place.partition(":")
    loaded = __import__(f"{__package__}.{module}", fromlist=(attribute,))
    command: Command = getattr(loaded, attribute)
    return command
