"""``RUN --mount=…`` and ``RUN --device=…``: comma-separated fields, checked as BuildKit checks them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from corten.build import numbers
from corten.build.expansion import quoted
from corten.build.instructions import Device, Mount
from corten.build.suggestions import hinted
from corten.errors import InvalidInput

_TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_SHARING = ("shared", "private", "locked")
_KEYS = (
    "type", "from", "source", "target", "readonly", "id", "sharing", "required", "size", "mode", "uid", "gid", "src",
    "dst", "destination", "ro", "rw", "readwrite", "env",
)  # fmt: skip
_TEXTS = {
    "from": "from_", "source": "source", "src": "source", "target": "target", "dst": "target", "destination": "target",
    "id": "id", "env": "env",
}  # fmt: skip
_READ_ONLY = {"readonly": True, "ro": True, "readwrite": False, "rw": False}
_HAS_AN_AGENT = ("secret", "ssh")
_HAS_AN_OWNER = ("secret", "ssh", "cache")


def fields(option: str, what: str) -> list[str]:
    """The fields of one line of CSV: ``a,"b,c","d""e"``. Raises InvalidInput."""
    rest, found = option.removesuffix("\n").removesuffix("\r"), []
    if not rest:
        raise InvalidInput(f"failed to parse csv {what}: EOF")
    at = 0
    while True:
        if rest.startswith('"', at):
            field, at = _quoted_field(rest, at, what)
        else:
            end = rest.find(",", at)
            field = rest[at : end if end >= 0 else len(rest)]
            if '"' in field:
                raise InvalidInput(f'failed to parse csv {what}: bare " in non-quoted-field')
            at += len(field)
        found.append(field)
        if at >= len(rest):
            return found
        at += 1


def _quoted_field(text: str, at: int, what: str) -> tuple[str, int]:
    """The field that begins with a quote there, and where it ends."""
    parts = []
    while True:
        end = text.find('"', at + 1)
        if end < 0:
            break
        parts.append(text[at + 1 : end])
        at = end + 1
        if at == len(text) or text[at] == ",":
            return "".join(parts), at
        if text[at] != '"':
            break
        parts.append('"')
    raise InvalidInput(f'failed to parse csv {what}: extraneous or missing " in quoted-field')


def source_of(option: str) -> str:
    """The stage, image or context that a mount is from, '' for the build's context: known before variables are, so
    it may hold none. Raises InvalidInput."""
    found = ""
    for field in fields(option, "mounts"):
        key, equals, value = field.partition("=")
        if not equals or key.lower() != "from":
            continue
        if "$" in value[:-1]:
            raise InvalidInput(f"'{key.lower()}' doesn't support variable expansion, define alias stage instead")
        found = value
    return found


def parse(option: str, expand: Callable[[str], str]) -> Mount:
    """A mount, its values expanded. Raises InvalidInput."""
    mount, said_how = Mount(), False
    for field in fields(option, "mounts"):
        key, equals, value = field.partition("=")
        key = key.lower()
        mount = _with_value(mount, key, expand(value), field) if equals else _with_word(mount, key, field)
        said_how = said_how or key in _READ_ONLY
    if not said_how:
        mount = dataclasses.replace(mount, read_only=mount.type not in ("cache", "tmpfs"))
    _check(mount)
    return mount


def _with_word(mount: Mount, key: str, field: str) -> Mount:
    if key in _READ_ONLY:
        return dataclasses.replace(mount, read_only=_READ_ONLY[key])
    if key != "required":
        raise InvalidInput(f"invalid field '{field}' must be a key=value pair")
    _only_for(mount, key, _HAS_AN_AGENT)
    return dataclasses.replace(mount, required=True)


def _with_value(mount: Mount, key: str, value: str, field: str) -> Mount:
    if key in _TEXTS:
        return _changed(mount, _TEXTS[key], value)
    if key in _READ_ONLY:
        return dataclasses.replace(mount, read_only=_valid(numbers.boolean, key, value) is _READ_ONLY[key])
    if key == "type":
        return dataclasses.replace(mount, type=_one_of(value, _TYPES, "mount type"))
    if key == "sharing":
        return dataclasses.replace(mount, sharing=_one_of(value, _SHARING, "sharing value"))
    if key == "required":
        _only_for(mount, key, _HAS_AN_AGENT)
        return dataclasses.replace(mount, required=_valid(numbers.boolean, key, value))
    if key == "size":
        _only_for(mount, key, ("tmpfs",))
        return dataclasses.replace(mount, size=_valid(numbers.size, key, value))
    if key in ("mode", "uid", "gid"):
        try:
            return _changed(mount, key, numbers.unsigned(value, 8 if key == "mode" else 10))
        except ValueError:
            raise InvalidInput(f"invalid value {value} for {key}") from None
    raise InvalidInput(hinted(f"unexpected key '{key}' in '{field}'", key, _KEYS))


def _changed(mount: Mount, field: str, value: Any) -> Mount:
    return dataclasses.replace(mount, **{field: value})


def _valid(read: Callable[[str], Any], key: str, value: str) -> Any:
    try:
        return read(value)
    except ValueError:
        raise InvalidInput(f"invalid value for {key}: {value}") from None


def _one_of(value: str, known: tuple[str, ...], what: str) -> str:
    if value.lower() not in known:
        raise InvalidInput(hinted(f"unsupported {what} {quoted(value)}", value, known))
    return value.lower()


def _only_for(mount: Mount, key: str, types: tuple[str, ...]) -> None:
    if mount.type not in types:
        raise InvalidInput(f"unexpected key '{key}' for mount type '{mount.type}'")


def _check(mount: Mount) -> None:
    """What contradicts the type, whatever order the fields came in."""
    for name in ("mode", "uid", "gid"):
        if getattr(mount, name) is not None and mount.type not in _HAS_AN_OWNER:
            raise InvalidInput(f"{name} not allowed for {quoted(mount.type)} type mounts")
    if mount.type == "secret":
        if mount.from_:
            raise InvalidInput("secret mount should not have a from")
        if mount.sharing:
            raise InvalidInput("secret mount should not define sharing")
        if not (mount.source or mount.target or mount.id):
            raise InvalidInput("invalid secret mount. one of source, target required")
        if mount.source and mount.id:
            raise InvalidInput("both source and id can't be set")
    if mount.sharing and mount.type != "cache":
        raise InvalidInput(f"invalid cache sharing set for {mount.type} mount")


def parse_device(option: str) -> Device:
    """``[name=]NAME[,required[=true]]``. Raises InvalidInput."""
    name, required = "", False
    for field in fields(option, "devices"):
        key, equals, value = field.partition("=")
        key = key.lower()
        if key == "required":
            required = _valid(numbers.boolean, key, value) if equals else True
        elif key == "name" and equals:
            if name:
                raise InvalidInput(f"device name already set to {name}")
            name = value
        elif not name:
            name = field
        elif not equals:
            raise InvalidInput(f"invalid field '{field}' must be a key=value pair")
        else:
            raise InvalidInput(hinted(f"unexpected key '{key}' in '{field}'", key, ("name", "required")))
    return Device(name, required)
