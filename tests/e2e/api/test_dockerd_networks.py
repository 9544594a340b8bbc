"""Networks as docker-py's own tests ask for them (``make interop``)."""

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


def test_two_networks_of_one_name(shared_engine: Engine) -> None:
    """Only before API 1.44, and only for who does not ask to be told: by the name it is nobody then."""
    api = shared_engine.api
    first = api("POST", "/v1.43/networks/create", {"Name": "twin"}).check().json["Id"]
    ids, made = [first], []
    try:
        for version, check in (("1.43", True), ("1.44", False), ("1.51", None)):
            assert api("POST", f"/v{version}/networks/create", {"Name": "twin", "CheckDuplicate": check}).status == 409
        told = api("POST", "/v1.43/networks/create", {"Name": "twin", "CheckDuplicate": None}).check().json
        ids.append(told["Id"])
        assert told["Warning"] == f"Network with name twin (id : {first}) already exists"
        for method, path in (("GET", "/networks/twin"), ("DELETE", "/networks/twin")):
            answer = api(method, path)
            said = "network twin is ambiguous (2 matches found on name)"
            assert (answer.status, answer.json["message"]) == (400, said)
        assert [api("GET", f"/networks/{id[:20]}").check().json["Id"] for id in ids] == ids
        body = {"Image": "busybox", "Cmd": ["sleep", "600"], "StopSignal": "SIGKILL"}
        asked = {**body, "HostConfig": {"NetworkMode": "twin"}}
        made.append(api("POST", "/containers/create", asked).check().json["Id"])
        answer = api("POST", f"/containers/{made[0]}/start")
        assert (answer.status, answer.json["message"]) == (400, said)
        api("DELETE", f"/containers/{made.pop()}").check()
        for id in ids:
            asked = {**body, "HostConfig": {"NetworkMode": id}}
            made.append(api("POST", "/containers/create", asked).check().json["Id"])
            api("POST", f"/containers/{made[-1]}/start").check()
            place = shared_engine.inspect(made[-1])["NetworkSettings"]["Networks"]
            assert [(name, one["NetworkID"]) for name, one in place.items()] == [("twin", id)]
        api("POST", f"/containers/{made[0]}/kill").check()
        api("POST", f"/containers/{made[0]}/wait").check()
        assert api("POST", "/networks/prune").check().json["NetworksDeleted"] is None
        api("POST", f"/networks/{ids[0]}/disconnect", {"Container": made[0]}).check()
        assert api("POST", "/networks/prune").check().json["NetworksDeleted"] == ["twin"]
        assert api("GET", "/networks/twin").check().json["Id"] == ids[1]
    finally:
        for container in made:
            api("DELETE", f"/containers/{container}?force=1")
        for id in ids:
            api("DELETE", f"/networks/{id}")
