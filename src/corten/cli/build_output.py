"""``build --output``: what becomes of an image besides being one: an archive of it, or its files."""

from __future__ import annotations

import os

from corten.errors import CortenError, InvalidInput
from corten.spec import reference as references

from .context import Context
from .transfer import to_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES = ("image", "registry", "docker", "oci", "tar", "local")
_FILES = ("tar", "local", "oci")
_FLAGS = ("push", "tar")


class Output:
    """One ``--output``: ``type=TYPE,dest=PATH,name=NAME,push=BOOL,tar=BOOL``, or a path alone, which is ``type=local``;
    ``-`` is standard output. Fields are those of CSV."""

    def __init__(self, text: str) -> None:
        """Raises InvalidInput."""
        fields = _fields(text) if "=" in text else {}
        self.type = fields.pop("type", "local" if text != "-" else "tar")
        self.destination = fields.pop("dest", "" if "=" in text else text)
        flags = {name: _flag(text, fields.pop(name)) for name in _FLAGS if name in fields}
        self._pushes, self._packs = flags.get("push", self.type == "registry"), flags.get("tar", True)
        if not self.destination and self._packs and self.type in ("tar", "oci"):
            self.destination = "-"
        self.names = [name for name in fields.pop("name", "").split(",") if name]
        if self.type not in _TYPES or fields:
            raise InvalidInput(f"--output {text}: it takes type={'|'.join(_TYPES)}, dest, name, push and tar")
        if self.type in _FILES and not self.destination:
            raise InvalidInput(f"--output {text}: dest is required for {self.type} exporter")
        if self.destination == "-" and (self.type == "local" or not self._packs):
            raise InvalidInput(f"--output {text}: files in a directory cannot go to standard output")
        if self.destination == "-" and os.isatty(1):
            raise InvalidInput(f"--output {text}: dest file is required. refusing to write to a terminal")
        if self.type in ("image", "registry") and self.destination:
            raise InvalidInput(f"--output {text}: an image has no destination")
        if self.type in ("tar", "local") and (self.names or self._pushes):
            raise InvalidInput(f"--output {text}: files have no name, and go to no registry")

    def write(self, context: Context, image: str, names: list[str]) -> None:
        """Bring an image where it is to go; ``names`` are those that it has. Raises CortenError."""
        for name in self.names:
            reference = references.parse(name).tagged()
            query = {"repo": reference.name, "tag": reference.tag}
            context.client.post(f"/images/{image}/tag", query)
        if self._pushes:
            self._push(context, image, [*names, *self.names])
        if self.type in ("docker", "oci") and self.destination:
            self._archive(context, self.names or names or [image])
        elif self.type == "tar":
            to_file(context, _files(context, image), self._file)
        elif self.type == "local":
            _unpack(_files(context, image), self.destination)

    def _push(self, context: Context, image: str, names: list[str]) -> None:
        from .push import send

        if not names:
            raise InvalidInput(f"push {image}: the image needs a name, with --tag or name=")
        for name in dict.fromkeys(names):
            send(context, references.parse(name).tagged(), "", quiet=True)

    def _archive(self, context: Context, names: list[str]) -> None:
        with context.client.open("GET", "/images/get", {"names": tuple(names)}) as answer:
            if self._packs:
                to_file(context, answer, self._file)
            else:
                os.makedirs(os.path.join(self.destination, "blobs/sha256"), exist_ok=True)
                _unpack(iter(answer), self.destination)

    @property
    def _file(self) -> str:
        return "" if self.destination == "-" else self.destination


def _fields(text: str) -> dict[str, str]:
    import csv

    return dict(field.partition("=")[::2] for field in next(csv.reader([text])))


def _flag(text: str, value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise InvalidInput(f"--output {text}: {value} is neither true nor false")
    return value.lower() in ("true", "1")


def _files(context: Context, image: str) -> Iterator[bytes]:
    """The archive of an image's files, by a container that is never started."""
    client = context.client
    asked = {"Image": image, "Cmd": ["-"], "HostConfig": {"NetworkMode": "none"}}
    made = client.post("/containers/create", None, asked)
    try:
        with client.open("GET", f"/containers/{made['Id']}/export") as answer:
            yield from answer
    finally:
        client.delete(f"/containers/{made['Id']}", {"force": True, "v": True})


def _unpack(pieces: Iterator[bytes], destination: str) -> None:
    """Lay files out below a directory; they are this user's. Names that lead out of it are refused, and nothing is
    written through a link."""
    import tarfile

    from .archive_files import ChunkReader, extract

    try:
        os.makedirs(destination, exist_ok=True)
        with tarfile.open(fileobj=ChunkReader(pieces), mode="r|") as archive:
            files = (member for member in archive if not (member.ischr() or member.isblk() or member.isfifo()))
            extract(((archive, _inside(member), os.path.normpath(member.name)) for member in files), destination)
    except (OSError, tarfile.TarError) as error:
        raise CortenError(f"write {destination}: {error}") from error


def _inside(member: tarfile.TarInfo) -> tarfile.TarInfo:  # type: ignore[name-defined]  # noqa: F821
    """An absolute link means the image's root, and is made relative to it."""
    if member.issym() and member.linkname.startswith("/"):
        above = os.path.dirname(member.name.lstrip("./")) or "."
        member.linkname = os.path.relpath(member.linkname.lstrip("/") or ".", above)
    return member
