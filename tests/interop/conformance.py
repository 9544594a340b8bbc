"""``python -m tests.interop.conformance``: the conformance tests of the OCI distribution specification, against
``corten registry serve``. Needs root, a network, Go."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.interop.golang import module
from tests.interop.suite import call
from tests.support import images
from tests.support.engine import Engine
from tests.support.hub import Hub

_MODULE = "github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111"
_LONGEST = 600
"""Seconds."""


def main() -> int:
    """Build and run them; 0 when nothing failed. What they found is printed."""
    with tempfile.TemporaryDirectory(prefix="ct-") as scratch:
        program = _built(Path(scratch))
        engine = Engine(Path(scratch) / "engine", judged=False)
        try:
            engine.start().load(images.busybox_archive(Path(scratch)))
            with Hub(engine, "--allow-push", "--allow-delete") as hub:
                return _run(program, hub, Path(scratch))
        finally:
            engine.remove()


def _built(directory: Path) -> Path:
    """The program, built from a copy: Go's cache cannot be written to. Raises Unavailable."""
    source = directory / "source"
    shutil.copytree(module(_MODULE), source)
    for path in (source, *source.rglob("*")):
        path.chmod(0o755)
    env = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    call(["go", "build", "-o", str(directory / "conformance"), "."], cwd=source, env=env)
    return directory / "conformance"


def _run(program: Path, hub: Hub, directory: Path) -> int:
    told = {
        "OCI_REGISTRY": hub.host, "OCI_TLS": "disabled", "OCI_REPO1": "conformance/one", "OCI_REPO2": "conformance/two",
        "OCI_RESULTS_DIR": str(directory), "OCI_LOG": "warn", "OCI_API_BLOBS_UPLOAD_CANCEL": "true",
    }  # fmt: skip
    done = subprocess.run(
        [program], cwd=directory, env={**os.environ, **told}, capture_output=True, text=True, timeout=_LONGEST
    )
    result = done.stdout.partition("OCI Conformance Result")
    print(result[1] + result[2] if not done.returncode else done.stdout + done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
