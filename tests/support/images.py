"""Images made by hand, from the machine's static busybox: small, deterministic, no network."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BUSYBOX = Path("/bin/busybox")
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
CREATED = "2024-01-01T00:00:00Z"
_USERS = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nalice:x:1000:1000::/home/alice:/bin/sh\n"
_GROUPS = "root:x:0:\ndaemon:x:1:\nalice:x:1000:\nwheel:x:10:alice\n"


def busybox_problem() -> str:
    """Why an image of busybox cannot be made here; '' when it can."""
    if not BUSYBOX.exists():
        return "busybox-static is not installed"
    return "" if not _is_dynamic(BUSYBOX) else f"{BUSYBOX} is not static: install busybox-static"


def _is_dynamic(path: Path) -> bool:
    return b"ld-linux" in path.read_bytes()[:4096]


def applets() -> list[str]:
    """The names that this busybox answers to."""
    listing = subprocess.run([str(BUSYBOX), "--list"], capture_output=True, check=True, text=True)
    return sorted(set(listing.stdout.split()) - {"busybox"})


def busybox_root(target: Path) -> Path:
    """Lay a root file system out in ``target``: busybox, its applets, users, the usual directories."""
    for name in ("bin", "dev", "etc", "home/alice", "proc", "root", "sys", "tmp", "usr/bin", "var/www"):
        (target / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(BUSYBOX, target / "bin/busybox")
    (target / "bin/busybox").chmod(0o755)
    for name in applets():
        (target / "bin" / name).symlink_to("busybox")
    (target / "etc/passwd").write_text(_USERS)
    (target / "etc/group").write_text(_GROUPS)
    (target / "tmp").chmod(0o1777)
    return target


def layer_of(root: Path) -> bytes:
    """An uncompressed layer of a directory: sorted, times zero, owned by root."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(root, arcname=".", filter=_plain)
    return buffer.getvalue()


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    if entry.name == ".":
        return None if not entry.isdir() else entry
    entry.name = entry.name.removeprefix("./")
    return entry


def layer(files: Mapping[str, bytes | str | None]) -> bytes:
    """A layer of a few entries: bytes are a file's content, a string a symlink's target, None a directory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            archive.addfile(*_entry(name, content))
    return buffer.getvalue()


def _entry(name: str, content: bytes | str | None) -> tuple[tarfile.TarInfo, io.BytesIO | None]:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o755
    if content is None:
        entry.type = tarfile.DIRTYPE
        return entry, None
    if isinstance(content, str):
        entry.type, entry.linkname = tarfile.SYMTYPE, content
        return entry, None
    entry.size = len(content)
    return entry, io.BytesIO(content)


def digest(content: bytes) -> str:
    """``sha256:…`` of some bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def config_of(layers: list[bytes], **config: Any) -> bytes:
    """An OCI image configuration for uncompressed layers; ``config`` are members of its ``config`` object."""
    defaults = {"Cmd": ["sh"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    return json.dumps({
        "created": CREATED, "architecture": ARCHITECTURE, "os": "linux", "config": {**defaults, **config},
        "rootfs": {"type": "layers", "diff_ids": [digest(content) for content in layers]},
        "history": [{"created": CREATED, "created_by": f"layer {number}"} for number, _ in enumerate(layers)],
    }).encode()  # fmt: skip


def docker_archive(target: Path, reference: str, layers: list[bytes], **config: Any) -> Path:
    """A ``docker save`` archive, which ``docker load`` and ``corten load`` both take."""
    description = config_of(layers, **config)
    names = [f"{digest(content)[7:]}/layer.tar" for content in layers]
    name = f"{digest(description)[7:]}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [reference], "Layers": names}]).encode()
    members = {name: description, **dict(zip(names, layers, strict=True)), "manifest.json": manifest}
    with tarfile.open(target, "w") as archive:
        for member, content in members.items():
            archive.addfile(*_entry(member, content))
    return target


def busybox_layer(directory: Path) -> bytes:
    """The root file system of busybox as one archive."""
    return layer_of(busybox_root(directory / "root"))


def busybox_archive(directory: Path, reference: str = "busybox:latest", **config: Any) -> Path:
    """A docker archive of the machine's busybox, made in ``directory``."""
    root = busybox_root(directory / "root")
    try:
        return docker_archive(directory / "busybox.tar", reference, [layer_of(root)], **config)
    finally:
        shutil.rmtree(root)


def oci_layout(
    target: Path, reference: str, layers: list[bytes], *, compress: bool = True, **config: Any
) -> Path:
    """An OCI image layout directory with one image, its layers gzipped or plain."""
    blobs = target / "blobs/sha256"
    blobs.mkdir(parents=True)
    description = config_of(layers, **config)
    media = _LAYER + ("+gzip" if compress else "")
    packed = [gzip.compress(content, mtime=0) if compress else content for content in layers]
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": _MANIFEST, "config": descriptor(_CONFIG, description),
        "layers": [descriptor(media, content) for content in packed],
    }).encode()  # fmt: skip
    for content in (description, manifest, *packed):
        (blobs / digest(content)[7:]).write_bytes(content)
    entry = descriptor(_MANIFEST, manifest)
    entry["annotations"] = {"org.opencontainers.image.ref.name": reference}
    (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (target / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return target


def index_layout(target: Path, reference: str, layers: list[bytes], *, nested: bool, **config: Any) -> Path:
    """An OCI image layout directory with an index: an image for this machine, an attestation of it as BuildKit writes
    them, and an image for another machine; ``nested``, an index around each platform's."""
    blobs = target / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(media_type: str, content: bytes) -> dict[str, Any]:
        (blobs / digest(content)[7:]).write_bytes(content)
        return descriptor(media_type, content)

    def manifest(config: bytes, layers: list[bytes], layer_type: str, **platform: str) -> dict[str, Any]:
        value = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": put(_CONFIG, config),
                 "layers": [put(layer_type, one) for one in layers]}  # fmt: skip
        return {**put(_MANIFEST, json.dumps(value).encode()), "platform": {"os": "linux", **platform}}

    def index(*entries: dict[str, Any]) -> dict[str, Any]:
        return put(_INDEX, json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}).encode())

    own = manifest(config_of(layers, **config), layers, _LAYER, architecture=ARCHITECTURE)
    said = manifest(config_of([b"{}"]), [b"{}"], "application/vnd.in-toto+json", architecture="unknown", os="unknown")
    foreign = [layer({"of": b"another machine"})]
    other = config_of(foreign).replace(b'"%s"' % ARCHITECTURE.encode(), b'"s390x"')
    away = manifest(other, foreign, _LAYER, architecture="s390x")
    inside = [{**index(own, said), "platform": own["platform"]}, index(away)] if nested else [own, said, away]
    top = {**index(*inside), "annotations": {"org.opencontainers.image.ref.name": reference}}
    (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (target / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    return target


def descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    """An OCI descriptor of some bytes."""
    return {"mediaType": media_type, "digest": digest(content), "size": len(content)}
