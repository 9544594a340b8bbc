"""Debian's docker-registry on a loopback port, and images put there by hand, in any media type."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.command import run
from tests.support.images import config_of, descriptor
from tests.support.process import end, wait_until

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def registry_problem() -> str:
    """Why no registry can be started here; '' when one can."""
    return "" if shutil.which("docker-registry") else "docker-registry is not installed"


def free_port() -> int:
    """A loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Registry:
    """One registry process: plain HTTP, anonymous, on a directory of its own."""

    def __init__(self, directory: Path, *, within: Sequence[str] = (), **auth: Any) -> None:
        """``within`` is a command that becomes the registry's, such as ``nsenter``."""
        self.directory = directory
        self.within = tuple(within)
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self._auth = auth
        self.tls: dict[str, Any] = {}
        """Its certificate and the authorities of its clients, as its configuration has them."""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Registry:
        """Start it and wait until it listens."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "config.yml"
        config.write_text(
            json.dumps(
                {
                    "version": "0.1",
                    "log": {"level": "warn"},
                    "http": {"addr": self.host, **({"tls": self.tls} if self.tls else {})},
                    "storage": {
                        "filesystem": {"rootdirectory": str(self.directory / "data")},
                        "delete": {"enabled": True},
                    },
                    **({"auth": self._auth} if self._auth else {}),
                }
            )
        )
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.within, "docker-registry", "serve", str(config)], stdout=log, stderr=log
            )
        wait_until(self._listens, "docker-registry", pid=self._process.pid)
        return self

    def _listens(self) -> bool:
        if self.within:
            return run([*self.within, "bash", "-c", f": </dev/tcp/127.0.0.1/{self.port}"]).code == 0
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        """End it; what it stored stays."""
        if self._process is not None:
            end(self._process)
            self._process = None

    def remove(self) -> None:
        """End it and remove what it stored."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def blob_path(self, digest: str) -> Path:
        """The file that holds a blob: for tests that damage it."""
        short = digest.removeprefix("sha256:")
        return self.directory / f"data/docker/registry/v2/blobs/sha256/{short[:2]}/{short}/data"

    def reference(self, name: str, tag: str = "latest") -> str:
        """What to pull."""
        return f"{self.host}/{name}:{tag}"

    # --- pushing, by hand

    def put_blob(self, name: str, media_type: str, content: bytes) -> dict[str, Any]:
        """Upload a blob; its descriptor."""
        entry = descriptor(media_type, content)
        location = self._send("POST", f"/v2/{name}/blobs/uploads/", b"").headers["Location"]
        mark = "&" if "?" in location else "?"
        self._send("PUT", f"{location}{mark}digest={entry['digest']}", content, "application/octet-stream")
        return entry

    def put_manifest(self, name: str, tag: str, media_type: str, value: dict[str, Any]) -> dict[str, Any]:
        """Upload a manifest or an index under a tag or digest; its descriptor."""
        content = json.dumps(value).encode()
        self._send("PUT", f"/v2/{name}/manifests/{tag}", content, media_type)
        return descriptor(media_type, content)

    def put_image(
        self,
        name: str,
        layers: list[bytes],
        *,
        tag: str = "latest",
        packed: list[bytes] | None = None,
        manifest: str = OCI_MANIFEST,
        config_type: str = OCI_CONFIG,
        layer_type: str = OCI_LAYER,
        **config: Any,
    ) -> dict[str, Any]:
        """Push an image of uncompressed ``layers``, stored as ``packed`` says; the manifest's descriptor."""
        described = self.put_blob(name, config_type, config_of(layers, **config))
        stored = [self.put_blob(name, layer_type, content) for content in packed or layers]
        value = {"schemaVersion": 2, "mediaType": manifest, "config": described, "layers": stored}
        return self.put_manifest(name, tag, manifest, value)

    def _send(self, method: str, target: str, content: bytes, media_type: str = "") -> Any:
        url = target if target.startswith("http") else f"http://{self.host}{target}"
        request = urllib.request.Request(url, data=content, method=method)
        if media_type:
            request.add_header("Content-Type", media_type)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            return opener.open(request, timeout=300)  # it hashes and syncs what it is sent before it answers
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {url}: {error.code} {error.read()!r}") from None
