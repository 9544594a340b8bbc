"""``--mount type=bind,source=…,target=…,…``: comma-separated fields, as docs.docker.com describes them."""

from __future__ import annotations

from corten.errors import InvalidInput

from .notation import size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_TRUE = ("", "1", "true")
_FALSE = ("0", "false")


def mount(text: str) -> dict[str, Any]:
    """The API's Mount. Raises InvalidInput."""
    made: dict[str, Any] = {"Type": "volume", "Target": ""}
    for part in _fields(text):
        key, equals, value = part.partition("=")
        setter = _SETTERS.get(key.lower())
        if setter is None:
            raise InvalidInput(
                f"unexpected key '{key}' in '{part}'" if equals else f"invalid field '{part}' must be a key=value pair"
            )
        if not equals and key.lower() not in _ALONE:
            raise InvalidInput(f"invalid field '{part}' must be a key=value pair")
        setter(made, value)
    _check(made)
    return made


def _check(made: dict[str, Any]) -> None:
    if not made["Target"]:
        raise InvalidInput("target is required")
    _check_recursion(made)
    for kind, options in _OPTIONS:
        if options in made and made["Type"] != kind:
            raise InvalidInput(f"cannot mix '{kind}-*' options with mount type '{made['Type']}'")


def _check_recursion(made: dict[str, Any]) -> None:
    options = made.get("BindOptions", {})
    for value, name in _RECURSIONS.items():
        if name != "NonRecursive" and options.get(name) and not made.get("ReadOnly"):
            raise InvalidInput(
                f"option 'bind-recursive={value}' requires 'readonly' to be specified in conjunction"
            )
    if options.get("ReadOnlyForceRecursive") and options.get("Propagation") != "rprivate":
        raise InvalidInput(
            "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"
        )


def _recursive(made: dict[str, Any], value: str) -> None:
    """How a bind mount treats the mounts below it; ``enabled`` is the rule."""
    if value == "enabled":
        return
    if value not in _RECURSIONS:
        raise InvalidInput(
            f'invalid value for bind-recursive: {value} (must be "enabled", "disabled", "writable", or "readonly")'
        )
    made.setdefault("BindOptions", {})[_RECURSIONS[value]] = True


def _fields(text: str) -> list[str]:
    """The comma-separated fields; one in double quotes may hold commas (a line of CSV)."""
    fields: list[str] = [""]
    quoted = False
    for character in text:
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            fields.append("")
        else:
            fields[-1] += character
    return fields


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise InvalidInput(f"invalid value for 'readonly': {text}")
    return text.lower() in _TRUE


def _plain(name: str) -> Callable[[dict[str, Any], str], None]:
    return lambda made, value: made.__setitem__(name, value)


def _inner(group: str, name: str, convert: Callable[[str], Any] = str) -> Callable[[dict[str, Any], str], None]:
    return lambda made, value: made.setdefault(group, {}).__setitem__(name, convert(value))


def _driver(name: str) -> Callable[[dict[str, Any], str], None]:
    def set_driver(made: dict[str, Any], value: str) -> None:
        config = made.setdefault("VolumeOptions", {}).setdefault("DriverConfig", {})
        if name == "Name":
            config["Name"] = value
        else:
            key, _, option = value.partition("=")
            config.setdefault("Options", {})[key] = option

    return set_driver


def _label(made: dict[str, Any], value: str) -> None:
    key, _, text = value.partition("=")
    made.setdefault("VolumeOptions", {}).setdefault("Labels", {})[key] = text


def _read_only(made: dict[str, Any], value: str) -> None:
    made["ReadOnly"] = _boolean(value)


def _octal(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise InvalidInput(f"invalid value for tmpfs-mode: {text}") from None


_OPTIONS = (
    ("bind", "BindOptions"), ("volume", "VolumeOptions"), ("image", "ImageOptions"), ("tmpfs", "TmpfsOptions"),
)  # fmt: skip
_ALONE = ("readonly", "ro", "volume-nocopy", "bind-nonrecursive")
_RECURSIONS = {
    "disabled": "NonRecursive", "writable": "ReadOnlyNonRecursive", "readonly": "ReadOnlyForceRecursive",
}  # fmt: skip
_SETTERS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "type": lambda made, value: made.__setitem__("Type", value.lower()),
    "source": _plain("Source"),
    "src": _plain("Source"),
    "target": _plain("Target"),
    "destination": _plain("Target"),
    "dst": _plain("Target"),
    "readonly": _read_only,
    "ro": _read_only,
    "consistency": _plain("Consistency"),
    "bind-propagation": _inner("BindOptions", "Propagation"),
    "bind-nonrecursive": _inner("BindOptions", "NonRecursive", _boolean),
    "bind-recursive": _recursive,
    "bind-create-src": _inner("BindOptions", "CreateMountpoint", _boolean),
    "volume-nocopy": _inner("VolumeOptions", "NoCopy", _boolean),
    "volume-subpath": _inner("VolumeOptions", "Subpath"),
    "volume-driver": _driver("Name"),
    "volume-opt": _driver("Options"),
    "volume-label": _label,
    "image-subpath": _inner("ImageOptions", "Subpath"),
    "tmpfs-size": _inner("TmpfsOptions", "SizeBytes", size),
    "tmpfs-mode": _inner("TmpfsOptions", "Mode", _octal),
}
