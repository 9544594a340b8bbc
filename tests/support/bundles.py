"""OCI bundles, and ``corten-runtime`` on them."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import referencing.jsonschema

from tests.support.command import Result

PROJECT = Path(__file__).resolve().parents[2]
CAPABILITIES = ["CAP_KILL", "CAP_CHOWN"]
SCHEMAS = PROJECT / "tests/data/oci"
Runtime = Callable[..., Result]


def argv(bundle: Path) -> list[str]:
    """The command line of a runtime whose root is in the bundle's directory."""
    return [sys.executable, str(PROJECT / "scripts/corten-runtime"), "--root", str(bundle / "state")]


def executable(path: Path) -> Path:
    """A program that other engines can be told: this project's ``corten-runtime``."""
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {PROJECT}/scripts/corten-runtime "$@"\n')
    path.chmod(0o755)
    return path


def group_of(bundle: Path) -> str:
    """A control group that no other run of these tests has."""
    return f"corten-oci-{hashlib.sha256(bytes(bundle)).hexdigest()[:8]}"


def configure(bundle: Path, args: list[str], *, top: dict[str, Any] | None = None, **process: Any) -> None:
    """Write the config.json of a command; ``top`` are members of its outermost object."""
    sets = dict.fromkeys(("bounding", "effective", "permitted"), CAPABILITIES)
    (bundle / "config.json").write_text(json.dumps({
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": args, "env": ["PATH=/bin"], "cwd": "/", "capabilities": sets,
                    **process},
        "root": {"path": "rootfs"}, "hostname": "oci",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
        ],
        "linux": {"namespaces": [{"type": one} for one in ("pid", "mount", "ipc", "uts", "network")],
                  "resources": {"devices": [{"allow": False, "access": "rwm"}]},
                  "cgroupsPath": f"/{group_of(bundle)}/one"},
        **(top or {}),
    }))  # fmt: skip


def validate(value: Any, schema: str) -> None:
    """Hold a value against a schema of the OCI. Raises jsonschema.ValidationError."""
    contents = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    registry: referencing.Registry[Any] = referencing.Registry().with_resources(
        (name, referencing.Resource.from_contents(content, referencing.jsonschema.DRAFT4))
        for name, content in contents.items()
    )
    jsonschema.Draft4Validator(contents[schema], registry=registry).validate(value)
