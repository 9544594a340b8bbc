"""Members of a JSON document under the names that a type has for them.

Go's decoder takes ``detachKeys`` for ``DetachKeys``, and clients have come to rely on it: docker-py does.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import msgspec


@dataclasses.dataclass(frozen=True, slots=True)
class _Shape:
    """Of what a type is made: an object's members, or what each value of a list or a map is."""

    names: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """By their lower-case form."""
    members: Mapping[str, _Shape | None] = dataclasses.field(default_factory=dict)
    each: _Shape | None = None


def as_named(value: Any, kind: type) -> Any:
    """``value`` with each member under the name that ``kind`` has for it, whatever its case."""
    return _named(value, _shape_of(kind))


def _named(value: Any, shape: _Shape | None) -> Any:
    if shape is None:
        return value
    if shape.each is not None:
        if isinstance(value, list):
            return [_named(one, shape.each) for one in value]
        if isinstance(value, dict):
            return {name: _named(one, shape.each) for name, one in value.items()}
    if not isinstance(value, dict) or not shape.members:
        return value
    return dict(_member(name, one, shape) for name, one in value.items())


def _member(name: str, value: Any, shape: _Shape) -> tuple[str, Any]:
    if name not in shape.members:
        name = shape.names.get(name.lower(), name)
    inner = shape.members.get(name)
    return name, value if inner is None else _named(value, inner)


@functools.cache
def _shape_of(kind: type) -> _Shape | None:
    return _read(msgspec.inspect.type_info(kind))


def _read(info: msgspec.inspect.Type) -> _Shape | None:
    if isinstance(info, msgspec.inspect.UnionType):
        return next((shape for shape in map(_read, info.types) if shape is not None), None)
    if isinstance(info, msgspec.inspect.StructType):
        members = {field.encode_name: _read(field.type) for field in info.fields}
        return _Shape({name.lower(): name for name in members}, members)
    if isinstance(info, msgspec.inspect.ListType):
        each = _read(info.item_type)
        return _Shape(each=each) if each else None
    if isinstance(info, msgspec.inspect.DictType):
        each = _read(info.value_type)
        return _Shape(each=each) if each else None
    return None
