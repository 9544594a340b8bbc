"""``completion bash|zsh|fish``: a small script for each shell, which asks ``corten __complete`` at every Tab.

What is offered comes from the tables that parse: commands, options, and the names of objects that the engine has
now. Completion never starts an engine, and says nothing when something fails.
"""

from __future__ import annotations

from corten.errors import CortenError, InvalidInput

from . import commands
from .context import Context
from .main import GLOBAL, load
from .options import FLAG, OPTIONAL, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from corten.client import Client

    from .options import Values

_SCRIPTS = {
    "bash": """\
_corten() {
    # COMP_WORDS is broken at ":" and "=", in the middle of image:tag: the line is split anew, and what stands before
    # the last break is taken off the answers, since it stays as it is.
    local line=${COMP_LINE:0:COMP_POINT} words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    local current=${words[-1]}
    local kept=${current%"${current##*[:=]}"}
    mapfile -t COMPREPLY < <(corten __complete -- "${words[@]:1}" 2>/dev/null)
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
}
complete -o default -F _corten corten
""",
    "zsh": """\
#compdef corten
_corten() {
    local -a found
    found=("${(@f)$(corten __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$found" ]]; then compadd -a found; else _files; fi
}
compdef _corten corten
""",
    "fish": """\
function __corten_complete
    set -l words (commandline -opc) (commandline -ct)
    corten __complete -- $words[2..-1] 2>/dev/null
end
complete -c corten -a '(__corten_complete)'
""",
}


def completion(context: Context, values: Values, arguments: list[str]) -> int:
    """``completion``: print a shell's script."""
    if arguments[0] not in _SCRIPTS:
        raise InvalidInput(f"completion {arguments[0]}: it is one of {', '.join(_SCRIPTS)}")
    context.out(_SCRIPTS[arguments[0]].rstrip("\n"))
    return 0


def complete(context: Context, values: Values, arguments: list[str]) -> int:
    """``__complete -- WORD...``: what the last word can become, a candidate a line."""
    *before, word = arguments or [""]
    try:
        candidates = sorted(set(_candidates(context, before, word)))
    except CortenError:
        return 0
    for candidate in candidates:
        if candidate.startswith(word):
            context.out(candidate)
    return 0


def _candidates(context: Context, before: list[str], word: str) -> Iterable[str]:
    words = _without_options(before)
    if words and words[0] in commands.GROUPS and len(words) == 1:
        return commands.GROUPS[words[0]][1]
    try:
        place, name, _ = commands.find(words)
    except KeyError:
        return ()
    if not place:
        return _options(GLOBAL) if word.startswith("-") else [*commands.TOP, *commands.GROUPS]
    command = load(place)
    if word.startswith("-"):
        return _options(command.options)
    if _awaits_value(command, before):
        return ()
    return _objects(context, place, name)


def _without_options(words: list[str]) -> list[str]:
    """The words up to and with the command: global options and their values left out."""
    valued = {flag for option in GLOBAL if option.kind != FLAG for flag in option.flags.split(", ")}
    kept: list[str] = []
    skip = False
    for word in words:
        if skip or word.startswith("-"):
            skip = not skip and word in valued
        else:
            kept.append(word)
    return kept


def _options(options: Iterable[Option]) -> list[str]:
    return [f"--{option.name}" for option in options if not option.hidden] + ["--help"]


def _awaits_value(command: Command, before: list[str]) -> bool:
    last = before[-1] if before else ""
    takes = {flag for one in command.options if one.kind not in (FLAG, OPTIONAL) for flag in one.flags.split(", ")}
    return last in takes


def _objects(context: Context, place: str, name: str) -> Iterable[str]:
    """Names of the engine's objects that a command takes."""
    client = context.make_client(autostart=False)
    find = _KINDS.get(name.partition(" ")[0]) or _BY_MODULE.get(place.partition(":")[0])
    if place in _IMAGES:
        find = _images
    return find(client) if find else ()


def _containers(client: Client) -> list[str]:
    rows = client.get("/containers/json", {"all": True})
    return [name.removeprefix("/") for row in rows for name in row["Names"]]


def _images(client: Client) -> list[str]:
    names = [name for row in client.get("/images/json") for name in row.get("RepoTags") or []]
    return names + [name.removesuffix(":latest") for name in names if name.endswith(":latest")]


def _networks(client: Client) -> list[str]:
    return [row["Name"] for row in client.get("/networks")]


def _volumes(client: Client) -> list[str]:
    return [row["Name"] for row in client.get("/volumes")["Volumes"] or []]


_IMAGES = (
    "run:RUN", "run:CREATE", "images:REMOVE", "images:TAG", "history:HISTORY", "transfer:SAVE", "pull:PULL",
    "push:PUSH", "registry:SERVE",
)  # fmt: skip
_KINDS: dict[str, Callable[[Client], list[str]]] = {
    "image": _images,
    "network": _networks,
    "volume": _volumes,
    "container": _containers,
}
_CONTAINER_MODULES = (
    "attach", "changes", "commit", "cp", "execute", "inspect", "lifecycle", "logs", "port", "start", "stats", "top",
    "update",
)  # fmt: skip
_BY_MODULE = dict.fromkeys(_CONTAINER_MODULES, _containers)
COMPLETION = Command(completion, "Generate the autocompletion script for a shell", "bash|zsh|fish", arguments=(1, 1))
COMPLETE = Command(complete, "Answer a shell's completion", "WORD...", arguments=(0, None))
