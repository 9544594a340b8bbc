"""What users call images: which names a pattern means, and which of them an archive keeps."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence

from corten.errors import InvalidInput
from corten.spec import reference as references
from corten.spec.image import Image
from corten.spec.reference import Reference


def matches(name: Reference, pattern: str) -> bool:
    """Docker's pattern of ``reference=``: on the familiar name, with or without its tag."""
    return _globs(name.familiar_name, pattern) or _globs(name.familiar, pattern)


def _globs(name: str, pattern: str) -> bool:
    """As Go's path.Match: a star does not reach over a slash."""
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


def narrowed(image: Image, patterns: Sequence[str]) -> Image:
    """With only the names that were asked for, as Docker lists it."""
    if not patterns:
        return image
    names = tuple(name for name in image.references if any(matches(name, one) for one in patterns))
    return dataclasses.replace(image, references=names)


def has_label(image: Image, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in image.config.labels and (not equals or image.config.labels[key] == value)


def repository_of(ref: str) -> str:
    """The name of a repository, where a reference is that and no more; else ''."""
    try:
        reference = references.parse(ref)
    except InvalidInput:
        return ""
    return "" if reference.tag or reference.digest else reference.name


def names_of(image: Image, ref: str) -> list[Reference]:
    """The names that an archive keeps: the one asked for; of a whole repository all its tags; of an ID none."""
    try:
        reference = references.parse(ref)
    except InvalidInput:
        return []
    tagged = [name for name in image.references if name.tag and name.name == reference.name]
    return [name for name in tagged if not reference.tag or name.tag == reference.tag]


def with_digests(image: Image, name: Reference) -> list[Reference]:
    """A name that goes, and the digests of its repository, which mean nothing without a tag there."""
    others = [one for one in image.references if one.name == name.name and one != name]
    return [name] if name.digest or any(one.tag for one in others) else [name, *others]
