"""Committing: what a container changed of its image becomes a layer, and with its configuration a new image."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from corten.engine import image_changes
from corten.engine.archives import Archives
from corten.engine.clock import now
from corten.engine.images import Images
from corten.engine.lifecycle import Lifecycle
from corten.engine.model import Container, ContainerConfig
from corten.engine.updating import Updating
from corten.errors import Conflict, NotFound
from corten.spec.digest import Digest
from corten.spec.image import Image
from corten.spec.reference import Reference

_MEMBERS = ("User", "ExposedPorts", "Env", "Cmd", "Healthcheck", "ArgsEscaped", "Volumes", "WorkingDir", "Entrypoint",
            "OnBuild", "Labels", "StopSignal", "Shell")  # fmt: skip
"""Of a container's configuration, what is an image's."""


@dataclasses.dataclass(frozen=True, slots=True)
class CommitOptions:
    """How the image is called, who made it and why; ``changes`` are Dockerfile instructions."""

    name: Reference | None = None
    author: str = ""
    comment: str = ""
    changes: tuple[str, ...] = ()
    pause: bool = True
    """A container that runs stands still meanwhile."""


@dataclasses.dataclass(frozen=True, slots=True)
class Commits:
    """Commits the containers of one engine."""

    lifecycle: Lifecycle
    updating: Updating
    archives: Archives
    images: Images

    async def commit(self, container: Container, override: ContainerConfig, options: CommitOptions) -> str:
        """The ID of the new image. ``override`` wins over the container's configuration where it says something.

        Raises InvalidInput, NotFound when the container's image is gone, CortenError.
        """
        base = self.images.find(container.image)
        if base is None:
            raise NotFound(f"No such image: {container.image}")
        config = image_changes.apply(options.changes, _config(container, override))
        async with self._still(container, options.pause):
            has_changes = bool(await self.archives.changes(container))
            layer = await self.archives.layer(container) if has_changes else None

            def document(diff_id: Digest | None) -> bytes:
                return _document(base, container, config, options, diff_id)

            image = await self.images.add_layer(base, layer, document, options.name)
        named = options.name.familiar if options.name else ""
        about = {"comment": options.comment, "imageID": image.id, "imageRef": named}
        self.lifecycle.publish(container, "commit", **about)
        return image.id

    @contextlib.asynccontextmanager
    async def _still(self, container: Container, pause: bool) -> AsyncIterator[None]:
        state = container.state
        if not pause or not state.running or state.paused or state.restarting:
            yield
            return
        try:
            await self.updating.pause(container)
        except Conflict:  # it ended meanwhile, or somebody else paused it: it stands still
            yield
            return
        try:
            yield
        finally:
            with contextlib.suppress(NotFound, Conflict):
                await self.updating.unpause(self.lifecycle.records.get(container.id))


def _config(container: Container, override: ContainerConfig) -> dict[str, Any]:
    own, asked = msgspec.to_builtins(container.config), msgspec.to_builtins(override)
    config = {name: asked[name] or own[name] for name in _MEMBERS if asked[name] or own[name]}
    if asked["Env"]:
        config["Env"] = image_changes.with_variables(own["Env"] or [], asked["Env"])
    if asked["Labels"]:
        config["Labels"] = {**(own["Labels"] or {}), **asked["Labels"]}
    return config


def _document(
    base: Image, container: Container, config: Mapping[str, Any], options: CommitOptions, diff_id: Digest | None
) -> bytes:
    raw = json.loads(base.raw)
    time = now()
    step: dict[str, Any] = {"created": time, "created_by": " ".join([container.path, *container.args])}
    step |= {name: value for name, value in (("author", options.author), ("comment", options.comment)) if value}
    if diff_id is None:
        step["empty_layer"] = True
    diff_ids = [*base.diff_ids, *([diff_id] if diff_id else [])]
    raw |= {
        "created": time,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [*(raw.get("history") or []), step],
        "author": options.author,
        "comment": options.comment,
        "container": container.id,
        "container_config": {name: value for name, value in msgspec.to_builtins(container.config).items() if value},
    }
    return json.dumps({name: value for name, value in raw.items() if value != ""}).encode()
