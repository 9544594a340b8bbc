"""The functions of templates: text/template's own, and those of Docker; how values are printed and compared."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def truth(value: Any) -> bool:
    """Go's idea of it: zero, empty and nil are false."""
    return bool(value) or hasattr(value, "field") or callable(value)


def text_of(value: Any) -> str:
    """A value as ``{{value}}`` prints it."""
    return _printed(value)


def _printed(value: Any) -> str:
    """Go's ``%v``."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(_printed(item) for item in value) + "]"
    if isinstance(value, dict):
        if (fields := _struct_of(value)) is not None:
            return "{" + " ".join(_printed(value.get(name, zero)) for name, zero in fields) + "}"
        return "map[" + " ".join(f"{key}:{_member(item)}" for key, item in sorted(value.items())) + "]"
    return str(value)


_STRUCTS: tuple[tuple[tuple[str, Any], ...], ...] = (
    (("Name", ""), ("MaximumRetryCount", 0)),
    (("Type", ""), ("Config", {})),
    (("HostIp", ""), ("HostPort", "")),
    (("Type", ""), ("Name", ""), ("Source", ""), ("Destination", ""), ("Driver", ""), ("Mode", ""), ("RW", False),
     ("Propagation", "")),
)  # fmt: skip
"""The API's small objects, which Docker prints as Go's structs: their fields in order, with Go's zero values."""
_LEAST = 2


def _struct_of(value: dict[str, Any]) -> tuple[tuple[str, Any], ...] | None:
    """The fields of the struct that an object is, told by its members; None for a map."""
    for fields in _STRUCTS:
        names = [name for name, _ in fields]
        if len(value) >= max(_LEAST, len(names) - 2) and all(name in names for name in value):
            return fields
    return None


def _member(value: Any) -> str:
    """A map's value. An empty object there is a struct without fields: the API's way to write a set."""
    return "{}" if value == {} else _printed(value)


def _float(value: float) -> str:
    if value.is_integer() and abs(value) < 1e21:
        return str(int(value))
    return repr(value)


def to_json(value: Any) -> str:
    """``json``, without blanks. A row is escaped for HTML, as Go's encoder does to what encodes itself."""
    import json

    if not hasattr(value, "as_dict"):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    text = json.dumps(value.as_dict(), separators=(",", ":"), ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def html_escape(value: Any) -> str:
    """``html``."""
    from html import escape

    return escape(_printed(value))


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "")  # the zero value of Go's map[string]string
        elif isinstance(value, (list, str)):
            if not 0 <= key < len(value):
                raise IndexError(f"index out of range: {key}")
            value = value[key]
        else:
            raise TypeError("index of untyped nil" if value is None else f"can't index item of type {value!r}")
    return value


def _slice(value: Any, *bounds: int) -> Any:
    start, end = (*bounds, 0, None)[:2] if not bounds else (bounds[0], bounds[1] if len(bounds) > 1 else None)
    return value[start:end]


def _print(*values: Any) -> str:
    """Go's Sprint: a blank between operands when neither is a string."""
    text = ""
    for number, value in enumerate(values):
        between = number and not isinstance(value, str) and not isinstance(values[number - 1], str)
        text += (" " if between else "") + _printed(value)
    return text


def _pad(text: str, before: int, after: int) -> str:
    return " " * before + text + " " * after if text else text


def _truncate(text: str, length: int) -> str:
    return text[:length] if len(text) > length else text


def _title(text: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))


def printf(form: str, *values: Any) -> str:
    """Go's Sprintf, for the verbs ``v s q d t x X f g c %``."""
    output, rest, at = "", list(values), 0
    while at < len(form):
        if form[at] != "%":
            output += form[at]
            at += 1
            continue
        end = at + 1
        while end < len(form) and form[end] in "+-# 0123456789.":
            end += 1
        verb = form[end : end + 1]
        output += "%" if verb == "%" else _verb(form[at + 1 : end], verb, rest)
        at = end + 1
    return output


def _verb(flags: str, verb: str, rest: list[Any]) -> str:
    if not rest:
        return f"%!{verb}(MISSING)"
    value = rest.pop(0)
    flags = flags.replace("#", "") if verb in "vsqt" else flags
    if verb in ("v", "s", "t"):
        return f"%{flags}s" % _printed(value)
    if verb == "q":
        import json

        return f"%{flags}s" % json.dumps(_printed(value), ensure_ascii=False)
    if verb in ("d", "x", "X", "c", "f", "g", "e"):
        return str(f"%{flags}{verb}" % value)
    return f"%!{verb}({_printed(value)})"


def _equal(first: Any, *others: Any) -> bool:
    return any(first == other and isinstance(first, bool) == isinstance(other, bool) for other in others)


def _length(value: Any) -> int:
    if value is None:
        raise TypeError("len of nil pointer")
    return len(value)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": _equal,
    "ge": lambda a, b: a >= b,
    "gt": lambda a, b: a > b,
    "html": html_escape,
    "index": _index,
    "join": lambda items, separator: separator.join(items or []),
    "json": to_json,
    "le": lambda a, b: a <= b,
    "len": _length,
    "lower": lambda text: text.lower(),
    "lt": lambda a, b: a < b,
    "ne": lambda a, b: not _equal(a, b),
    "not": lambda value: not truth(value),
    "pad": _pad,
    "print": _print,
    "printf": printf,
    "println": lambda *values: " ".join(map(_printed, values)) + "\n",
    "slice": _slice,
    "split": lambda text, separator: text.split(separator),
    "title": _title,
    "truncate": _truncate,
    "upper": lambda text: text.upper(),
}
"""``and`` and ``or`` are not here: they evaluate no more than they need."""
