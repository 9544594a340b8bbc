"""Image references as Docker and distribution define them: ``[domain/]path[:tag][@digest]``.

A reference is kept in full (``docker.io/library/busybox:latest``) and shown in its familiar form
(``busybox:latest``). Grammar and sentences of errors are those of github.com/distribution/reference.
"""

from __future__ import annotations

import dataclasses
import re

from corten.errors import InvalidInput
from corten.spec import digest as digests
from corten.spec.digest import Digest

DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"
_OFFICIAL = "library/"
_LONGEST_PATH = 255

_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(
    rf"({_DOMAIN})/({_COMPONENT}(?:/{_COMPONENT})*)(?::({_TAG}))?(?:@({_DIGEST}))?", re.ASCII
)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}", re.ASCII)
_TAG_ONLY = re.compile(_TAG, re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A name with at most a tag and a digest; ``str()`` is the full form, which :func:`parse` reads back."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @property
    def name(self) -> str:
        """Domain and path: ``docker.io/library/busybox``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: ``busybox``, ``user/tool``, ``registry.example:5000/tool``."""
        if self.domain != DOCKER_HUB:
            return self.name
        short = self.path.removeprefix(_OFFICIAL)
        # Without its beginning, a name of 64 hexadecimal digits is an ID's, and none of an image.
        return self.path if "/" in short or _IDENTIFIER.fullmatch(short) else short

    @property
    def familiar(self) -> str:
        """The reference as people write it, with its tag and digest."""
        return self.familiar_name + self._suffix()

    def tagged(self) -> Reference:
        """This reference; with the tag ``latest`` when it has neither tag nor digest."""
        return self if self.tag or self.digest else dataclasses.replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """The same name with another tag. Raises InvalidInput."""
        if not _TAG_ONLY.fullmatch(tag):
            raise InvalidInput("invalid tag format")
        return Reference(self.domain, self.path, tag)

    def with_digest(self, digest: Digest) -> Reference:
        """The same name with a digest and no tag: the form of a RepoDigest."""
        return Reference(self.domain, self.path, "", digest)

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        return self.name + self._suffix()


def parse(text: str) -> Reference:
    """Read a reference in its familiar or full form. Raises InvalidInput with Docker's sentences."""
    if _IDENTIFIER.fullmatch(text):
        raise InvalidInput(f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings")
    domain, remainder = _split_domain(text)
    path = re.split("[:@]", remainder, maxsplit=1)[0]
    if path != path.lower():
        raise InvalidInput(f"invalid reference format: repository name ({path}) must be lowercase")
    matched = _REFERENCE.fullmatch(f"{domain}/{remainder}")
    if not matched:
        raise InvalidInput("invalid reference format")
    if len(path) > _LONGEST_PATH:
        raise InvalidInput(f"repository name must not be more than {_LONGEST_PATH} characters")
    digest = matched[4]
    return Reference(matched[1], matched[2], matched[3] or "", digests.parse(digest) if digest else None)


def parse_tagged(text: str) -> Reference:
    """Read a reference that is to be a tag: ``latest`` by default, no digest. Raises InvalidInput."""
    reference = parse(text)
    if reference.digest:
        raise InvalidInput("refusing to create a tag with a digest reference")
    return reference.tagged()


def _split_domain(text: str) -> tuple[str, str]:
    head, slash, rest = text.partition("/")
    if slash and (head == "localhost" or set(".:") & set(head) or head != head.lower()):
        domain, remainder = head, rest
    else:
        domain, remainder = DOCKER_HUB, text
    if domain == "index.docker.io":
        domain = DOCKER_HUB
    if domain == DOCKER_HUB and "/" not in remainder:
        remainder = _OFFICIAL + remainder
    return domain, remainder
