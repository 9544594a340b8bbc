"""``inspect``, and its forms for one kind of object."""

from __future__ import annotations

from corten.errors import CortenError, InvalidInput, NotFound

from .context import Context
from .options import FLAG, STRING, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .options import Values

    Find = Callable[[Context, str, bool], Any]


def _container(context: Context, name: str, size: bool) -> Any:
    return context.client.get(f"/containers/{name}/json", {"size": size or None})


def _image(context: Context, name: str, size: bool) -> Any:
    return context.client.get(f"/images/{name}/json")


def _network(context: Context, name: str, size: bool) -> Any:
    return context.client.get(f"/networks/{name}")


def _volume(context: Context, name: str, size: bool) -> Any:
    return context.client.get(f"/volumes/{name}")


_KINDS: dict[str, Find] = {"container": _container, "image": _image, "network": _network, "volume": _volume}


def _any(context: Context, name: str, size: bool) -> Any:
    """The first kind that has an object of this name."""
    for find in _KINDS.values():
        try:
            return find(context, name, size)
        except NotFound:
            continue
    raise NotFound(f"Error: No such object: {name}")


def inspect(context: Context, values: Values, names: list[str]) -> int:
    """``inspect``."""
    if values.given("type") and values.type not in _KINDS:
        raise InvalidInput(f'"{values.type}" is not a valid value for --type')
    return _show(context, names, values.format, _KINDS.get(values.type, _any), values.size)


def _one_kind(kind: str) -> Callable[[Context, Values, list[str]], int]:
    def run(context: Context, values: Values, names: list[str]) -> int:
        return _show(context, names, values.format, _KINDS[kind], kind == "container" and values.size)

    return run


def _show(context: Context, names: list[str], form: str, find: Find, size: bool) -> int:
    """Print what was found; what was not is told after it, with exit code 1."""
    found: list[Any] = []
    failures: list[CortenError] = []
    for name in names:
        try:
            found.append(find(context, name, size))
        except CortenError as error:
            failures.append(error)
    _print(context, found, form)
    for error in failures:
        context.failure(error)
    return 1 if failures else 0


def _print(context: Context, found: list[Any], form: str) -> None:
    if not form:
        import json

        text = json.dumps(found, indent=4, ensure_ascii=False)
        context.out(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))
        return
    from .template import Template
    from .template_functions import to_json

    if form == "json":
        for value in found:
            context.out(to_json(value))
        return
    try:
        template = Template(form)
        for value in found:
            context.out(template.render(value))
    except InvalidInput as error:
        raise InvalidInput(f"template parsing error: {error.message}") from None


_FORMAT = Option("-f, --format", STRING, "Format output using a custom template: 'json' or a Go template")
_SIZE = Option("-s, --size", FLAG, "Display total file sizes")
INSPECT = Command(
    inspect,
    "Return low-level information on Docker objects",
    "[OPTIONS] NAME|ID [NAME|ID...]",
    (_FORMAT, Option("-s, --size", FLAG, "Display total file sizes if the type is container"),
     Option("--type", STRING, "Only inspect objects of the given type")),
    arguments=(1, None),
)  # fmt: skip


def _command(kind: str, *options: Option) -> Command:
    word = kind.upper()
    return Command(
        _one_kind(kind),
        f"Display detailed information on one or more {kind}s",
        f"[OPTIONS] {word} [{word}...]",
        (_FORMAT, *options),
        arguments=(1, None),
    )


CONTAINER = _command("container", _SIZE)
IMAGE = _command("image")
NETWORK = _command("network", Option("-v, --verbose", FLAG, "Verbose output for diagnostics"))
VOLUME = _command("volume")
