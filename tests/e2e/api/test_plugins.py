"""What a plugin of a registry asks for, which a client shows before it installs one; Corten installs none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.engine import Engine
from tests.support.http import Response
from tests.support.registry import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, Registry, free_port

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.registry]

_CONFIG = "application/vnd.docker.plugin.v1+json"
_GREEDY = {
    "network": {"type": "host"},
    "IpcHost": True,
    "pidhost": True,
    "Mounts": [{"Name": "unset", "Source": None}, {"source": "/var/lib"}],
    "linux": {"Capabilities": ["CAP_SYS_ADMIN"], "allowAllDevices": True, "devices": [{"path": "/dev/fuse"}]},
}


def _put(registry: Registry, name: str, kind: str, config: Any) -> str:
    described = registry.put_blob(name, kind, json.dumps(config).encode())
    layer = registry.put_blob(name, DOCKER_LAYER_GZIP, b"never fetched")
    value = {"schemaVersion": 2, "mediaType": DOCKER_MANIFEST, "config": described, "layers": [layer]}
    registry.put_manifest(name, "latest", DOCKER_MANIFEST, value)
    return f"{registry.host}/{name}"


def _ask(engine: Engine, name: str) -> Response:
    return engine.api("GET", f"/plugins/privileges?remote={name}")


def test_what_a_plugin_asks_for(shared_engine: Engine, registry: Registry) -> None:
    greedy = _put(registry, "plugins/greedy", _CONFIG, _GREEDY)
    assert [(one["Name"], one["Value"]) for one in _ask(shared_engine, greedy).check().json] == [
        ("network", ["host"]),
        ("host ipc namespace", ["true"]),
        ("host pid namespace", ["true"]),
        ("mount", ["/var/lib"]),
        ("device", ["/dev/fuse"]),
        ("allow-all-devices", ["true"]),
        ("capabilities", ["CAP_SYS_ADMIN"]),
    ]
    modest = _put(registry, "plugins/modest", _CONFIG, {"Network": {"Type": "bridge"}, "Mounts": None})
    assert _ask(shared_engine, f"{modest}:latest").check().json == []


def test_what_is_no_plugin_or_is_not_there(shared_engine: Engine, registry: Registry) -> None:
    image = _put(registry, "plugins/image", DOCKER_CONFIG, {})
    answer = _ask(shared_engine, image)
    said = f"did not find plugin config for specified reference {image}:latest"
    assert (answer.status, answer.json["message"]) == (400, said)
    wrong = _put(registry, "plugins/wrong", _CONFIG, {"mounts": "all"})
    assert "mounts is not a list" in _ask(shared_engine, wrong).json["message"]
    assert _ask(shared_engine, f"{registry.host}/plugins/nobody").status == 404
    assert _ask(shared_engine, "A:b").status == 400


def test_of_a_registry_that_does_not_answer_nothing_is_known(shared_engine: Engine) -> None:
    assert _ask(shared_engine, f"127.0.0.1:{free_port()}/plugins/any").check().json == []


def test_none_is_installed(shared_engine: Engine, registry: Registry) -> None:
    name = _put(registry, "plugins/wanted", _CONFIG, _GREEDY)
    told = shared_engine.docker("plugin", "install", "--grant-all-permissions", name)
    assert (told.code, "Corten has no plugins" in told.err) == (1, True), told.err
    assert shared_engine.api("GET", "/plugins").check().json == []
