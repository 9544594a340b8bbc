"""What a log tells of its container: labels, variables and a tag, as its options choose them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from corten.engine.model import Container
from corten.errors import InvalidInput
from corten.wire.template import Template

DEFAULT_TAG = "{{.ID}}"


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression of an option. Raises InvalidInput."""
    try:
        return re.compile(text)
    except re.error as error:
        raise InvalidInput(f"error parsing regexp: {error}: `{text}`") from None


def template(text: str) -> Template:
    """A tag's template. Raises InvalidInput."""
    try:
        return Template(text)
    except InvalidInput as error:
        raise InvalidInput(f"error parsing log tag {text!r}: {error.message}") from None


def attributes(
    container: Container, options: Mapping[str, str], named: Callable[[str], str] = str
) -> dict[str, str]:
    """The labels and variables that the options name; ``named`` gives the name that each is told under."""
    labels = container.config.labels or {}
    variables = dict(one.split("=", 1) for one in container.config.env or () if "=" in one)
    found: dict[str, str] = {}
    for kind, values in (("labels", labels), ("env", variables)):
        for name in _chosen(values, options.get(kind, ""), options.get(f"{kind}-regex", "")):
            found[named(name)] = values[name]
    return found


def _chosen(values: Mapping[str, str], names: str, expression: str) -> Iterator[str]:
    yield from (name for name in names.split(",") if name in values)
    if expression:
        wanted = pattern(expression)
        yield from (name for name in values if wanted.search(name))


def tag(container: Container, options: Mapping[str, str], default: str) -> str:
    """The tag: Docker's template over what it calls the logging context. Raises InvalidInput."""
    text = options.get("tag") or default
    if "{{" not in text:
        return text
    image = container.image.removeprefix("sha256:")
    known: dict[str, Any] = {
        "ID": container.id[:12], "FullID": container.id, "Name": container.name,
        "ImageID": container.image[:12], "ImageFullID": container.image, "ImageName": container.config.image or image,
        "ContainerID": container.id, "ContainerName": f"/{container.name}",
        "ContainerImageName": container.config.image,
        "ContainerLabels": container.config.labels or {}, "ContainerEnv": container.config.env or [],
        "ContainerArgs": container.args, "ContainerEntrypoint": container.path, "DaemonName": "docker",
        "Command": " ".join([container.path, *container.args]),
        "ExtraAttributes": lambda _: attributes(container, options),
    }  # fmt: skip
    return template(text).render(known)
