"""``build --output``: what becomes of an image besides being one: an archive of it, or its files."""

from __future__ import annotations

import os

from corten.errors import CortenError, InvalidInput

from .context import Context
from .transfer import to_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPES = ("image", "docker", "oci", "tar", "local")


class Output:
    """One ``--output``: ``type=TYPE,dest=PATH``, or a path alone, which is ``type=local``; ``-`` is standard output."""

    def __init__(self, text: str) -> None:
        fields = dict(field.partition("=")[::2] for field in text.split(",")) if "=" in text else {}
        self.type = fields.pop("type", "local" if text != "-" else "tar")
        self.destination = fields.pop("dest", "" if "=" in text else text)
        if self.type not in _TYPES or fields:
            raise InvalidInput(f"--output {text}: it takes type={'|'.join(_TYPES)} and dest=PATH")
        if self.type in ("tar", "local", "oci") and not self.destination:
            raise InvalidInput(f"--output {text}: dest is required for {self.type} exporter")
        if self.type == "image" and self.destination:
            raise InvalidInput(f"--output {text}: an image has no destination")

    def write(self, context: Context, image: str, names: list[str]) -> None:
        """Bring an image where it is to go. Raises CortenError."""
        if self.type in ("docker", "oci") and self.destination:
            with context.client.open("GET", "/images/get", {"names": tuple(names or [image])}) as answer:
                to_file(context, answer, self._file)
        elif self.type == "tar":
            to_file(context, _files(context, image), self._file)
        elif self.type == "local":
            _unpack(_files(context, image), self.destination)

    @property
    def _file(self) -> str:
        return "" if self.destination == "-" else self.destination


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
