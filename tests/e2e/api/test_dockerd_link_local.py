"""Link-local addresses of containers, as docker-py asks for them (``make interop``)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]


def _addresses(engine: Engine, container: str) -> str:
    return engine.docker("exec", container, "ip", "address", "show", "dev", "eth0").check().out


def test_a_container_has_the_link_local_addresses_that_it_asks_for(shared_engine: Engine) -> None:
    """On the default bridge, too, and when it joins a network while it runs."""
    asked = {"IPAMConfig": {"LinkLocalIPs": ["169.254.8.8", "fe80::8"]}}
    body: dict[str, Any] = {
        "Image": "busybox", "Cmd": ["sleep", "600"], "StopSignal": "SIGKILL",
        "NetworkingConfig": {"EndpointsConfig": {"bridge": asked}},
    }  # fmt: skip
    id = shared_engine.api("POST", "/containers/create", body).check().json["Id"]
    try:
        shared_engine.api("POST", f"/containers/{id}/start").check()
        said = _addresses(shared_engine, id)
        assert "inet 169.254.8.8/16" in said
        assert "inet6 fe80::8/64" in said
        place = shared_engine.inspect(id)["NetworkSettings"]["Networks"]["bridge"]
        assert place["IPAMConfig"]["LinkLocalIPs"] == ["169.254.8.8", "fe80::8"]
        shared_engine.api("POST", "/networks/bridge/disconnect", {"Container": id}).check()
        again = {"Container": id, "EndpointConfig": {"IPAMConfig": {"LinkLocalIPs": ["169.254.9.9"]}}}
        shared_engine.api("POST", "/networks/bridge/connect", again).check()
        said = _addresses(shared_engine, id)
        assert "inet 169.254.9.9/16" in said
        assert "169.254.8.8" not in said
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1").check()
