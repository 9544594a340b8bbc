"""``inspect``, and its forms for one kind of object."""

from __future__ import annotations

from corten.errors import CortenError, InvalidInput, NotFound

from .context import Context
from .options import FLAG, STRING, Command, Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from corten.wire.template import Template

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


_BAD_TEMPLATE = 64


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


def _images(context: Context, values: Values, names: list[str]) -> int:
    """``image inspect``."""
    from .platforms import as_query

    query = {"platform": as_query(values.platform)}
    return _show(
        context, names, values.format, lambda context, name, _: context.client.get(f"/images/{name}/json", query), False
    )


def _one_kind(kind: str) -> Callable[[Context, Values, list[str]], int]:
    def run(context: Context, values: Values, names: list[str]) -> int:
        return _show(context, names, values.format, _KINDS[kind], kind == "container" and values.size)

    return run


class BadTemplate(InvalidInput):
    """A template that cannot be parsed: the one error of these commands with an exit code of its own."""


def _show(context: Context, names: list[str], form: str, find: Find, size: bool) -> int:
    """Print what was found; what was not is told after it, with exit code 1."""
    found: list[Any] = []
    missing: list[CortenError] = []
    for name in names:
        try:
            found.append(find(context, name, size))
        except CortenError as error:
            missing.append(error)
    try:
        _print(context, found, form)
    except BadTemplate as error:
        return context.failure(error, code=_BAD_TEMPLATE)
    for failure in missing:
        context.failure(failure)
    return 1 if missing else 0


def _print(context: Context, found: list[Any], form: str) -> None:
    if not form:
        import json

        context.out(json.dumps(found, indent=4, ensure_ascii=False))
        return
    from corten.wire.template import Template
    from corten.wire.template_functions import to_json

    if form == "json":
        context.out(to_json(found))
        return
    try:
        template = Template(form)
    except InvalidInput as error:
        raise BadTemplate(f"template parsing error: {error.message}") from None
    for value in found:
        context.out(_rendered(context, template, value))


def _rendered(context: Context, template: Template, value: Any) -> str:
    try:
        return template.render(_typed(value))
    except InvalidInput as error:
        context.out("")
        raise InvalidInput(f"template parsing error: {error.message}") from None


def _typed(value: Any, name: str = "") -> Any:
    """The value with its nulls as Go's types have them: an empty list prints ``[]``, a null one would not."""
    if value is None:
        return [] if name in _LISTS else {} if name in _MAPS else None
    if isinstance(value, dict):
        return {key: _typed(item, key) for key, item in value.items()}
    return [_typed(item) for item in value] if isinstance(value, list) else value


_LISTS = frozenset((
    "Aliases", "Args", "Binds", "BlkioDeviceReadBps", "BlkioDeviceReadIOps", "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps", "BlkioWeightDevice", "CapAdd", "CapDrop", "Cmd", "Config", "DeviceCgroupRules",
    "DeviceRequests", "Devices", "Dns", "DnsOptions", "DnsSearch", "Entrypoint", "Env", "ExecIDs", "ExtraHosts",
    "GroupAdd", "Layers", "Links", "MaskedPaths", "Mounts", "OnBuild", "ReadonlyPaths", "RepoDigests", "RepoTags",
    "SecondaryIPAddresses", "SecondaryIPv6Addresses", "SecurityOpt", "Shell", "Ulimits", "VolumesFrom",
))  # fmt: skip
_MAPS = frozenset((
    "Annotations", "Containers", "Data", "DriverOpts", "ExposedPorts", "Labels", "Networks", "Options",
    "PortBindings", "Ports", "Status", "StorageOpt", "Sysctls", "Tmpfs", "Volumes",
))  # fmt: skip


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


def _command(
    kind: str, *options: Option, run: Callable[[Context, Values, list[str]], int] | None = None
) -> Command:
    word = kind.upper()
    return Command(
        run or _one_kind(kind),
        f"Display detailed information on one or more {kind}s",
        f"[OPTIONS] {word} [{word}...]",
        (_FORMAT, *options),
        arguments=(1, None),
    )


CONTAINER = _command("container", _SIZE)
IMAGE = _command(
    "image",
    Option("--platform", STRING, 'Inspect the image of this platform (e.g., "linux/amd64")'),
    run=_images,
)
NETWORK = _command("network", Option("-v, --verbose", FLAG, "Verbose output for diagnostics"))
VOLUME = _command("volume")
