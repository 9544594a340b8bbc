"""``python -m tests.interop.builds [--projects | CASE ...]``: what BuildKit and Corten make of the same Dockerfiles.

Compared are the image's configuration, its history, and each layer's files. With ``--projects`` they are those of
``tests/data/projects``, on a Debian that ``corten image bootstrap`` makes; they need the registries of Debian, PyPI and
npm.

buildkitd and buildctl are built from BuildKit's Go module, once, into ``.cache/interop``; runc runs its commands. It
needs root. Where the two are meant to differ, :func:`_meant` says so.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import os
import re
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from tests.interop import build_cases
from tests.interop.dockerfiles import MODULE, VERSION
from tests.support import contexts, images
from tests.support.engine import Engine

_CACHE = Path(__file__).resolve().parents[2] / ".cache/interop/buildkit" / VERSION / "daemon"
_PROGRAMS = ("buildctl", "buildkitd")
_TOOLS = """//go:build tools

package daemon

import (
	_ "github.com/moby/buildkit/cmd/buildctl"
	_ "github.com/moby/buildkit/cmd/buildkitd"
)
"""
_PROJECTS = Path(__file__).resolve().parents[1] / "data/projects"
_LONG = 1800
"""Seconds of a build that fetches packages."""
_TRUSTED = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
_SECRET = f"id=certificates,src={_TRUSTED}"
EPOCH = 1_700_000_000
_OLD = 1_600_000_000
"""What the files of contexts were changed at."""

_MOMENTS = re.compile(
    r"(^|[ .])(var/log/|var/cache/|var/lib/(apt|dpkg)/|etc/(passwd|shadow|group|gshadow)-$|etc/shadow$|.*\.pyc$)"
)
_KNOWN = {
    # A directory that a copy makes has 0755; BuildKit gives it what --chmod says, for files.
    "copy with flags": ("layer 4.c", "files.c"),
    "native": ("layer 1.bin", "files.bin"),
    # A directory that an archive implies is of the owner whom --chown names; BuildKit's is root's.
    "add": ("layer 3.z/n", "files.z/n"),
}
"""By case, places where the two are meant to differ."""

Row = tuple[Any, ...]


def programs() -> Path:
    """Where buildctl and buildkitd are, built if need be. Raises CalledProcessError, FileNotFoundError without Go."""
    if not all((_CACHE / name).exists() for name in _PROGRAMS):
        _CACHE.mkdir(parents=True, exist_ok=True)
        (_CACHE / "go.mod").write_text(f"module daemon\n\ngo 1.26\n\nrequire {MODULE} {VERSION}\n")
        (_CACHE / "tools.go").write_text(_TOOLS)
        environment = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
        packages = [f"{MODULE}/cmd/{name}" for name in _PROGRAMS]
        subprocess.run(["go", "build", "-o", "./", *packages], cwd=_CACHE, env=environment, check=True)
    return _CACHE


@dataclasses.dataclass(frozen=True, slots=True)
class Made:
    """An image, as it is in an OCI archive; or why there is none."""

    config: dict[str, Any]
    layers: tuple[dict[str, Row], ...]
    error: str = ""


# --- BuildKit


class BuildKit:
    """A buildkitd with a root of its own."""

    def __init__(self, scratch: Path) -> None:
        self._scratch, self._programs = scratch, programs()
        self._address = f"unix://{scratch}/buildkitd.sock"
        options = [
            "--root", str(scratch / "root"), "--addr", self._address, "--containerd-worker=false",
            "--oci-worker-binary", "runc", "--oci-worker-snapshotter", "overlayfs", "--oci-worker-net", "host",
        ]  # fmt: skip
        self._log = (scratch / "buildkitd.log").open("wb")
        command = [str(self._programs / "buildkitd"), *options]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, cwd=scratch)

    def __enter__(self) -> BuildKit:
        for _ in range(300):
            if self._ctl("debug", "workers").returncode == 0:
                return self
            time.sleep(0.1)
        raise RuntimeError(f"buildkitd does not answer: {self._scratch / 'buildkitd.log'}")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()
        subprocess.run(["umount", "-R", str(self._scratch / "root")], stderr=subprocess.DEVNULL, check=False)

    def _ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self._programs / "buildctl"), "--addr", self._address, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def build(self, where: Path, base: Path, options: dict[str, str]) -> Made:
        """The image of a context, in which the image ``start`` is the layout's."""
        digest = json.loads((base / "index.json").read_text())["manifests"][0]["digest"]
        target = self._scratch / "theirs.tar"
        asked = {"context:start": f"oci-layout://start@{digest}", "build-arg:SOURCE_DATE_EPOCH": str(EPOCH), **options}
        opts = [word for pair in asked.items() for word in ("--opt", "=".join(pair))]
        done = self._ctl(
            "build", "--frontend", "dockerfile.v0", "--local", f"context={where}", "--local", f"dockerfile={where}",
            "--oci-layout", f"start={base}", "--secret", _SECRET, *opts,
            "--output", f"type=oci,dest={target},rewrite-timestamp=true", "--progress", "plain",
        )  # fmt: skip
        return read(target) if done.returncode == 0 else Made({}, (), done.stderr.strip().splitlines()[-1])


# --- Corten


def build(engine: Engine, where: Path, options: dict[str, str]) -> Made:
    """The same by Corten."""
    target = engine.root.parent / "ours.tar"
    words = [word for name, value in options.items() for word in _option(name, value)]
    done = engine.cli(
        "build", "--output", f"type=oci,dest={target}", "--build-arg", f"SOURCE_DATE_EPOCH={EPOCH}", *words,
        "--secret", _SECRET, str(where), timeout=_LONG,
    )  # fmt: skip
    return read(target) if done.code == 0 else Made({}, (), done.err.strip().splitlines()[-1])


def _option(name: str, value: str) -> list[str]:
    """buildctl's name of an option, in Docker's words."""
    kind, _, rest = name.partition(":")
    if kind == "target":
        return ["--target", value]
    return [f"--{kind}", f"{rest}={value}"]


# --- what there is


def read(archive: Path) -> Made:
    """The image in an OCI archive."""
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> IO[bytes]:
            found = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert found is not None
            return found

        index = tar.extractfile("index.json")
        assert index is not None
        manifest = json.load(blob(json.load(index)["manifests"][0]["digest"]))
        layers = []
        for one in manifest["layers"] or ():
            with tarfile.open(fileobj=blob(one["digest"])) as layer:
                layers.append(dict(_rows(layer)))
        return Made(json.load(blob(manifest["config"]["digest"])), tuple(layers))


def _rows(layer: tarfile.TarFile) -> Iterator[tuple[str, Row]]:
    for member in layer:
        file = layer.extractfile(member) if member.isreg() else None
        content = hashlib.sha256(file.read()).hexdigest()[:12] if file else ""
        xattrs = sorted(name for name in member.pax_headers if name.startswith("SCHILY.xattr."))
        row = (member.type.decode(), oct(member.mode & 0o7777), member.uid, member.gid, member.size, member.linkname,
               int(member.mtime), content, *xattrs)  # fmt: skip
        yield member.name.removeprefix("./").strip("/"), row


def differences(ours: Made, theirs: Made) -> Iterator[str]:
    """Each place where two images differ, and what either has there."""
    if ours.error or theirs.error:
        if bool(ours.error) != bool(theirs.error):
            yield f"error: {ours.error!r} / {theirs.error!r}"
        return
    theirs = _without_empty_layers(theirs)
    yield from _differences("config", ours.config, theirs.config)
    if len(ours.layers) != len(theirs.layers):
        yield f"layers: {len(ours.layers)} / {len(theirs.layers)}"
        return
    for place, (mine, other) in enumerate(zip(ours.layers, theirs.layers, strict=True)):
        yield from _differences(f"layer {place}", mine, other)
    yield from _differences("files", merged(ours.layers), merged(theirs.layers))


def merged(layers: Sequence[dict[str, Row]]) -> dict[str, Row]:
    """The files that layers show (OCI image-spec, layer.md, "Whiteouts")."""
    shown: dict[str, Row] = {}
    for layer in layers:
        gone = [path for path in layer if "/.wh." in f"/{path}"]
        for path in gone:
            above, _, name = path.rpartition("/")
            hidden = above if name == ".wh..wh..opq" else f"{above}/{name[4:]}".lstrip("/")
            shown = {
                one: row for one, row in shown.items()
                if not one.startswith(f"{hidden}/") and (one != hidden or name == ".wh..wh..opq")
            }  # fmt: skip
        for path, row in layer.items():
            if path not in gone:
                if row[0] != "5":
                    shown = {one: kept for one, kept in shown.items() if not one.startswith(f"{path}/")}
                shown[path] = row
    return shown


def _without_empty_layers(made: Made) -> Made:
    """BuildKit keeps a layer of a command that changes nothing; dockerd's classic builder has none, nor has Corten."""
    history, layers = [], list(made.layers)
    kept = iter(made.layers)
    for line in made.config["history"]:
        if not line.get("empty_layer") and not (layer := next(kept)):
            line = {**line, "empty_layer": True}
            layers.remove(layer)
        history.append(line)
    return Made({**made.config, "history": history}, tuple(layers))


def _differences(place: str, ours: Any, theirs: Any) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for name in sorted({*ours, *theirs}):
            yield from _differences(f"{place}.{name}", ours.get(name), theirs.get(name))
    elif place.endswith(".history") and len(ours) == len(theirs):
        for number, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from _differences(f"{place}.{number}", mine, other)
    elif ours != theirs and not _meant(place, ours, theirs):
        yield f"{place}: {ours} / {theirs}"


def _meant(place: str, ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
    """Whether the two are meant to differ here.

    - The digests of layers: the archives are written by different programs.
    - Directories that a layer has for their time alone, and the times of directories: BuildKit's are those of what is
      copied into them, or of the moment.
    - Marks of deletions: one for a whole directory, or one for each of its names. The files that are left are compared.
    - What programs wrote that says when they ran: logs, caches of libraries, archives of users as they were.
    - The labels that are asked for beside the Dockerfile are steps, and in the history, as with the classic builder.
    """
    if place.startswith(("layer ", "files")) and ours and theirs and ours[0] == theirs[0] == "5":
        return [*ours[:6], *ours[7:]] == [*theirs[:6], *theirs[7:]]
    if place.startswith("layer ") and (ours or theirs)[0] == "5" and not (ours and theirs):
        return True
    if "/.wh." in place or _MOMENTS.search(place):
        return True
    if place == "config.history":
        return [line for line in ours if not line["created_by"].startswith("LABEL ")] == theirs
    return place == "config.rootfs.diff_ids"


# --- the command


@contextlib.contextmanager
def _sides(*, on_debian: bool) -> Iterator[tuple[Engine, BuildKit, Path]]:
    with tempfile.TemporaryDirectory(prefix="interop-") as directory:
        scratch = Path(directory)
        archive = images.busybox_archive(scratch, "start:latest")
        base = scratch / "base"
        engine = Engine(scratch / "corten", judged=False)
        engine.root.mkdir()
        try:
            engine.start().load(archive)
            if on_debian:
                engine.cli("image", "bootstrap", "debian:bookworm", timeout=_LONG).check()
                engine.cli("tag", "debian:bookworm", "start").check()
                archive = scratch / "debian.tar"
                engine.cli("save", "-o", str(archive), "start:latest", timeout=_LONG).check()
            subprocess.run(["skopeo", "copy", "-q", f"docker-archive:{archive}", f"oci:{base}:latest"], check=True)
            with BuildKit(scratch) as buildkit:
                yield engine, buildkit, base
        finally:
            engine.remove()


def _projects() -> dict[str, build_cases.Case]:
    return {
        place.name: build_cases.Case(
            (place / "Dockerfile").read_text().removeprefix("# syntax=docker/dockerfile:1\n"),
            {
                str(one.relative_to(place)): one.read_bytes()
                for one in place.rglob("*") if one.is_file() and one.name != "Dockerfile"
            },
            options={"build-arg:BASE": "start"},
        )
        for place in sorted(_PROJECTS.iterdir())
    }


def _context(where: Path, case: build_cases.Case) -> Path:
    contexts.directory(where, case.dockerfile, case.files)
    for path in sorted(where.rglob("*")):
        if not path.is_symlink() and path.is_file():
            path.chmod(case.modes.get(str(path.relative_to(where)), 0o644))
        os.utime(path, (_OLD, _OLD), follow_symlinks=False)
    return where


def main(arguments: Sequence[str]) -> int:
    """Compare; 1 where something differs that is not meant to."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop.builds", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--projects", action="store_true", help="those of projects, on a Debian")
    asked = parser.parse_args(arguments)
    cases = _projects() if asked.projects else build_cases.CASES
    chosen = {name: case for name, case in cases.items() if name in asked.cases or not asked.cases}
    differing = 0
    with (
        _sides(on_debian=asked.projects) as (engine, buildkit, base),
        tempfile.TemporaryDirectory(prefix="interop-") as directory,
    ):
        for name, case in chosen.items():
            where = _context(Path(directory) / name.replace(" ", "-"), case)
            ours, theirs = build(engine, where, case.options), buildkit.build(where, base, case.options)
            found = [one for one in differences(ours, theirs) if not one.startswith(_KNOWN.get(name, ()))]
            differing += bool(found)
            refused = f", refused: {ours.error} / {theirs.error}" if ours.error and theirs.error else ""
            print(f"{name}: {'the same' if not found else ''}{refused}", flush=True)
            for one in found:
                print(f"    {one}", flush=True)
    print(f"{len(chosen)} compared (Corten's / BuildKit's), {differing} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
