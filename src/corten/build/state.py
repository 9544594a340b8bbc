"""Where a stage has got to: its layers, and the configuration that the image would have."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from corten.spec import digest as digests
from corten.spec.digest import Digest
from corten.spec.platform import Platform

Config = Mapping[str, Any]

_MEMBERS = (
    "User", "ExposedPorts", "Env", "Cmd", "Healthcheck", "ArgsEscaped", "Volumes", "WorkingDir", "Entrypoint",
    "OnBuild", "Labels", "StopSignal", "Shell",
)  # fmt: skip
COMMENT = "buildkit.dockerfile.v0"
"""What tells those who read a history that its lines are a Dockerfile's instructions, as BuildKit writes them."""


class Layer(msgspec.Struct, frozen=True):
    """One layer: its blob's digest, size and media type, its diff ID, and when it was made (RFC 3339)."""

    digest: str
    size: int
    media_type: str
    diff_id: str
    created: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """A stage, after some of its instructions. ``config`` is the image's, in the API's names; ``created`` that of the
    newest step."""

    layers: tuple[Layer, ...] = ()
    config: Config = dataclasses.field(default_factory=dict)
    history: tuple[Mapping[str, Any], ...] = ()
    platform: Platform = dataclasses.field(default_factory=Platform)
    created: str = ""
    author: str = ""
    image: str = ""
    """The ID of the image that it is, as long as nothing was added to one."""
    base: str = ""
    """The ID of the image that it began as."""
    moment: str = ""
    """When all that is added is made; '' where only layers have a time of their own."""
    has_command: bool = False
    """CMD was set in this stage: an ENTRYPOINT leaves it."""

    @property
    def chain(self) -> str:
        """The chain ID of its layers, '' without any: all that a command sees of the files."""
        chain = digests.chain_ids(Digest(layer.diff_id) for layer in self.layers)
        return chain[-1] if chain else ""

    def document(self) -> bytes:
        """The configuration document of the image that it would be (OCI image-spec, config.md)."""
        platform = self.platform
        value: dict[str, Any] = {
            "architecture": platform.architecture,
            **({"variant": platform.variant} if platform.variant else {}),
            "os": platform.os,
            **({"os.version": platform.os_version} if platform.os_version else {}),
            **({"author": self.author} if self.author else {}),
            "created": self.created,
            "config": {name: self.config[name] for name in _MEMBERS if self.config.get(name) not in (None, "")},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in self.layers]},
            "history": list(self.history),
        }
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")

    @property
    def id(self) -> str:
        """The ID of that image."""
        return self.image or digests.of(self.document())

    def step(self, created_by: str, layer: Layer | None = None, **changes: Any) -> State:
        """After one more instruction; ``changes`` replace members of the configuration, None takes one away."""
        created = layer.created if layer else self.moment or self.created
        entry: dict[str, Any] = {"created": created, "created_by": created_by, "comment": COMMENT}
        if layer is None:
            entry["empty_layer"] = True
        config = {**self.config, **changes}
        return dataclasses.replace(
            self,
            layers=(*self.layers, layer) if layer else self.layers,
            config={name: value for name, value in config.items() if value is not None},
            history=(*self.history, entry),
            created=created,
            image="",
        )


def of_image(raw: bytes, layers: tuple[Layer, ...], platform: Platform, image: str) -> State:
    """The state that an image is, from its configuration document."""
    document = json.loads(raw)
    config = document.get("config") or {}
    return State(
        layers=layers,
        config={name: config[name] for name in _MEMBERS if config.get(name)},
        history=tuple(document.get("history") or ()),
        platform=platform,
        created=document.get("created") or "",
        author=document.get("author") or "",
        image=image,
        base=image,
    )
