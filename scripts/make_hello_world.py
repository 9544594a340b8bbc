#!/usr/bin/env python3
"""Make the hello-world image that Corten ships: an OCI layout with a static program of a few hundred bytes for each
architecture, assembled here by hand. Deterministic: a test makes it again and compares.

    python3 scripts/make_hello_world.py [TARGET]
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import sys
import tarfile
from pathlib import Path

TARGET = Path(__file__).parents[1] / "src/corten/images/hello-world.tar"
CREATED = "2026-01-01T00:00:00Z"
MESSAGE = """
Hello from Corten!
This message shows that your installation works.

To get here, Corten took these steps:
 1. The command asked the engine, over a unix socket, to create a container of "hello-world".
 2. The engine had no such image, so it fetched one, or took the one that comes with Corten.
 3. A monitor cloned a process into namespaces of its own: mounts, pids, network, ipc, names, cgroups.
 4. That process mounted its root, gave up its privileges, and became the program that writes this.
 5. The monitor wrote it down, the engine streamed it to the command, the command to your terminal.

To see each step with its reason, and the shell command that does the same:
 $ corten run --explain hello-world

To be root in a small Linux of your own, with no registry in reach:
 $ corten image bootstrap busybox
 $ corten run -it busybox sh

"""
BASE, HEADERS = 0x400000, 64 + 56


def x86_64(address: int, length: int) -> bytes:
    """write(1, message, length); exit(0)."""
    return b"".join((
        b"\xb8\x01\x00\x00\x00",  # mov eax, 1 (write)
        b"\xbf\x01\x00\x00\x00",  # mov edi, 1
        b"\xbe" + struct.pack("<I", address),  # mov esi, message
        b"\xba" + struct.pack("<I", length),  # mov edx, length
        b"\x0f\x05",  # syscall
        b"\xb8\x3c\x00\x00\x00",  # mov eax, 60 (exit)
        b"\x31\xff",  # xor edi, edi
        b"\x0f\x05",  # syscall
    ))  # fmt: skip


def aarch64(address: int, length: int) -> bytes:
    """write(1, message, length); exit(0)."""

    def movz(register: int, value: int, shift: int = 0) -> bytes:
        return struct.pack("<I", 0xD2800000 | shift // 16 << 21 | value << 5 | register)

    def movk(register: int, value: int, shift: int) -> bytes:
        return struct.pack("<I", 0xF2800000 | shift // 16 << 21 | value << 5 | register)

    call = struct.pack("<I", 0xD4000001)  # svc #0
    return b"".join((
        movz(8, 64), movz(0, 1),
        movz(1, address & 0xFFFF), movk(1, address >> 16, 16),
        movz(2, length), call,
        movz(8, 93), movz(0, 0), call,
    ))  # fmt: skip


MACHINES = {"amd64": (62, x86_64), "arm64": (183, aarch64)}


def program(architecture: str) -> bytes:
    """A static ELF executable of one read-only, executable segment."""
    machine, assemble = MACHINES[architecture]
    message = MESSAGE.encode()
    size = len(assemble(0, 0))
    entry = BASE + HEADERS
    code = assemble(entry + size, len(message))
    body = code + message
    total = HEADERS + len(body)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, entry, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, BASE, BASE, total, total, 0x10000)
    return header + segment + body


def add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    """One file, with nothing in its header that differs from run to run."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    archive.addfile(member, io.BytesIO(content))


def tar_of(files: dict[str, bytes], mode: int) -> bytes:
    """An archive of files in their order."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            add(archive, name, content, mode)
    return target.getvalue()


def blob(files: dict[str, bytes], media_type: str, content: bytes) -> dict[str, object]:
    """Keep a blob, and describe it."""
    digest = hashlib.sha256(content).hexdigest()
    files[f"blobs/sha256/{digest}"] = content
    return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(content)}


def encode(value: object) -> bytes:
    """JSON, always the same."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def manifest(files: dict[str, bytes], architecture: str) -> dict[str, object]:
    """One architecture's image."""
    layer = blob(files, "layer.v1.tar", tar_of({"hello": program(architecture)}, 0o755))
    config = {
        "architecture": architecture, "os": "linux", "created": CREATED, "config": {"Cmd": ["/hello"], "Env": [
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        "history": [{"created": CREATED, "created_by": "scripts/make_hello_world.py"}],
    }  # fmt: skip
    described = blob(files, "manifest.v1+json", encode({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(files, "config.v1+json", encode(config)), "layers": [layer],
    }))  # fmt: skip
    return {**described, "platform": {"architecture": architecture, "os": "linux"}}


def layout() -> bytes:
    """The whole OCI layout, as a tar archive."""
    files: dict[str, bytes] = {}
    media_type = "application/vnd.oci.image.index.v1+json"
    index = {"schemaVersion": 2, "mediaType": media_type, "manifests": [manifest(files, one) for one in MACHINES]}
    name = {"org.opencontainers.image.ref.name": "latest"}
    entry = {**blob(files, "index.v1+json", encode(index)), "annotations": name}
    files["index.json"] = encode({"schemaVersion": 2, "mediaType": media_type, "manifests": [entry]})
    files["oci-layout"] = encode({"imageLayoutVersion": "1.0.0"})
    return tar_of(dict(sorted(files.items())), 0o644)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(layout())
    print(f"{target}: {target.stat().st_size} bytes")
