"""Still more ways of dockerd's, that docker-py's and moby's own tests ask for (``make interop``)."""

from __future__ import annotations

import io
import json
import tarfile
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tests.support import contexts
from tests.support.engine import Engine
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network]


def _create(engine: Engine, **body: Any) -> dict[str, Any]:
    host = {"NetworkMode": "none", **body.pop("HostConfig", {})}
    made: dict[str, Any] = engine.api(
        "POST", "/containers/create", {"Image": "busybox", "HostConfig": host, **body}
    ).check().json  # fmt: skip
    return made


def _build(engine: Engine, dockerfile: str, query: str = "") -> list[dict[str, Any]]:
    said = engine.api("POST", f"/build?{query}", contexts.archive({"Dockerfile": dockerfile})).check().body
    return [json.loads(line) for line in said.splitlines()]


def _image(engine: Engine, name: str) -> dict[str, Any]:
    told: dict[str, Any] = engine.api("GET", f"/images/{name}/json").check().json
    return told


def test_an_archive_of_the_root_is_named_by_a_slash(shared_engine: Engine) -> None:
    id = _create(shared_engine)["Id"]
    packed = shared_engine.api("GET", f"/containers/{id}/archive?path=/").check().body
    shared_engine.api("DELETE", f"/containers/{id}").check()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        first = archive.next()
        assert first is not None
        assert first.name in ("", "/")  # Python takes a slash at the end away
    assert packed[:2] == b"/\0"
    assert b"/bin/busybox\0" in packed


@pytest.mark.parametrize("source", ["/", "/."])
def test_the_root_is_copied_by_both_command_lines(shared_engine: Engine, source: str, tmp_path: Any) -> None:
    id = _create(shared_engine)["Id"]
    for place, command in enumerate((shared_engine.docker, shared_engine.cli)):
        target = tmp_path / str(place)
        target.mkdir()
        command("cp", f"{id}:{source}", str(target)).check()
        assert (target / "bin/busybox").is_file()
    shared_engine.api("DELETE", f"/containers/{id}").check()


def test_the_first_of_several_parameters_counts(shared_engine: Engine) -> None:
    """docker-py sends what it has for a Dockerfile twice."""
    context = contexts.archive({"one": "FROM busybox\nLABEL which=one\n"})
    shared_engine.api("POST", "/build?t=first&dockerfile=one&dockerfile=two", context).check()
    assert _image(shared_engine, "first")["Config"]["Labels"] == {"which": "one"}
    shared_engine.api("DELETE", "/images/first").check()


def test_an_image_that_was_built_knows_what_it_stands_on(shared_engine: Engine) -> None:
    base = _image(shared_engine, "busybox")["Id"]
    _build(shared_engine, "FROM busybox\nLABEL a=b\n", "t=child")
    assert _image(shared_engine, "child")["Parent"] == base
    refused = shared_engine.api("DELETE", f"/images/{base}")
    assert (refused.status, "image has dependent child images" in refused.json["message"]) == (409, True)
    shared_engine.api("DELETE", "/images/child").check()
    assert _image(shared_engine, "busybox")["Id"] == base


def test_parents_are_saved_and_loaded(shared_engine: Engine) -> None:
    ids = []
    for above, name in (("busybox", "generation:1"), ("generation:1", "generation:2")):
        container = _create(shared_engine, Image=above, Cmd=["true"])["Id"]
        query = f"container={container}&repo=generation&tag={name[-1]}"
        ids.append(shared_engine.api("POST", f"/commit?{query}", {"Labels": {"name": name}}).check().json["Id"])
        shared_engine.api("DELETE", f"/containers/{container}").check()
    archive = shared_engine.api("GET", "/images/get?names=generation:2&names=generation:1").check().body
    for name in ("generation:2", "generation:1"):
        shared_engine.api("DELETE", f"/images/{name}").check()
    shared_engine.api("POST", "/images/load", archive).check()
    assert [_image(shared_engine, f"generation:{n}").get("Parent", "") for n in (1, 2)] == ["", ids[0]]
    for name in ("generation:2", "generation:1"):
        shared_engine.api("DELETE", f"/images/{name}").check()


def test_events_of_an_image_have_its_labels(shared_engine: Engine) -> None:
    since = time.time()
    _build(shared_engine, "FROM busybox\nLABEL org.example.kind=labelled\n", "t=labelled")
    shared_engine.api("POST", "/images/busybox/tag?repo=labelled&tag=not").check()
    wanted = urllib.parse.quote(json.dumps({"label": ["org.example.kind=labelled"], "type": ["image"]}))
    until = time.time()
    said = shared_engine.api("GET", f"/events?since={since:.9f}&until={until:.9f}&filters={wanted}").check().body
    for name in ("labelled", "labelled:not"):
        shared_engine.api("DELETE", f"/images/{name}").check()
    (told,) = [json.loads(line) for line in said.splitlines()]
    assert (told["Action"], told["Actor"]["Attributes"]["name"]) == ("tag", "labelled:latest")


def _events(engine: Engine, since: float, **filters: list[str]) -> list[str]:
    wanted = urllib.parse.quote(json.dumps(filters))
    said = engine.api("GET", f"/events?since={since:.9f}&until={time.time():.9f}&filters={wanted}").check().body
    return [json.loads(line)["Action"] for line in said.splitlines()]


def test_what_is_done_with_a_container_and_its_volume_is_told(shared_engine: Engine) -> None:
    since = time.time()
    id = _create(shared_engine, Cmd=["sleep", "600"], HostConfig={"Binds": ["told-of:/v"]})["Id"]
    shared_engine.api("POST", f"/containers/{id}/start").check()
    packed = shared_engine.api("GET", f"/containers/{id}/archive?path=/etc/passwd").check().body
    shared_engine.api("PUT", f"/containers/{id}/archive?path=/tmp", packed).check()
    shared_engine.api("GET", f"/containers/{id}/top").check()
    shared_engine.api("GET", f"/containers/{id}/export").check()
    shared_engine.api("DELETE", f"/containers/{id}?force=1").check()
    shared_engine.api("DELETE", "/volumes/told-of").check()
    assert _events(shared_engine, since, container=[id], type=["container"]) == [
        "create", "start", "archive-path", "extract-to-dir", "top", "export", "kill", "die", "destroy",
    ]  # fmt: skip
    assert _events(shared_engine, since, volume=["told-of"]) == ["create", "mount", "unmount", "destroy"]


@pytest.mark.skipif(
    not Path("/sys/fs/cgroup/memory/memory.oom_control").exists(), reason="only cgroup v1 can leave them waiting"
)
def test_a_container_that_waits_for_memory_is_told_of(shared_engine: Engine) -> None:
    since, eater = time.time(), "x=a; while :; do x=$x$x; done"
    host = {"OomKillDisable": True, "Memory": 16 << 20}
    id = _create(shared_engine, Cmd=["sh", "-c", eater], HostConfig=host)["Id"]
    shared_engine.api("POST", f"/containers/{id}/start").check()
    wait_until(lambda: "oom" in _events(shared_engine, since, container=[id]), "the event of a full memory")
    running = shared_engine.inspect(id)["State"]["Running"]
    shared_engine.api("DELETE", f"/containers/{id}?force=1").check()
    assert running


def test_an_image_that_others_stand_on_and_that_has_lost_its_name_is_hidden(shared_engine: Engine) -> None:
    ids = []
    for lines in ("FROM busybox\nLABEL n=1\n", "FROM renewed\nLABEL n=2\n"):
        _build(shared_engine, lines, "t=renewed")
        ids.append(_image(shared_engine, "renewed")["Id"])
    shown, whole = ({one["Id"] for one in shared_engine.api("GET", f"/images/json{all}").check().json}
                    for all in ("", "?all=1"))  # fmt: skip
    gone = [next(iter(row.values())) for row in shared_engine.api("DELETE", "/images/renewed").check().json]
    assert whole - shown == {ids[0]}
    assert {*ids} <= {*gone}


def test_a_load_tells_of_names_that_move(shared_engine: Engine) -> None:
    _build(shared_engine, "FROM busybox\nLABEL moving=1\n", "t=moving")
    archive = shared_engine.api("GET", "/images/moving/get").check().body
    shared_engine.api("POST", "/images/busybox/tag?repo=moving").check()
    said = shared_engine.api("POST", "/images/load?quiet=1", archive).check().body.decode()
    shared_engine.api("DELETE", "/images/moving").check()
    assert "The image moving:latest already exists, renaming the old one with ID sha256:" in said
    assert "Loaded image: moving:latest" in said


def test_the_containers_of_an_image_are_those_of_its_children_too(shared_engine: Engine) -> None:
    _build(shared_engine, "FROM busybox\nLABEL generation=1\n", "t=child")
    _build(shared_engine, "FROM child\nLABEL generation=2\n", "t=grandchild")
    id = _create(shared_engine, Image="grandchild")["Id"]
    shown = {}
    for name in ("busybox", "child", "grandchild"):
        wanted = urllib.parse.quote(json.dumps({"ancestor": [name]}))
        shown[name] = [one["Id"] for one in shared_engine.api("GET", f"/containers/json?all=1&filters={wanted}").json]
    shared_engine.api("DELETE", f"/containers/{id}").check()
    for name in ("grandchild", "child"):
        shared_engine.api("DELETE", f"/images/{name}").check()
    assert all(id in found for found in shown.values())


def test_a_directory_that_the_runtime_mounts_into_keeps_its_owner_and_mode(shared_engine: Engine) -> None:
    """/etc differs in every container, by what is mounted there: a change of its own is to be told from that."""
    changed, plain = (_create(shared_engine, Cmd=["sh", "-c", line])["Id"] for line in ("chown 7:8 /etc", "true"))
    for id in (changed, plain):
        shared_engine.api("POST", f"/containers/{id}/start").check()
        shared_engine.api("POST", f"/containers/{id}/wait").check()
    told = [shared_engine.api("GET", f"/containers/{id}/changes").check().json for id in (changed, plain)]
    shared_engine.api("POST", f"/commit?container={changed}&repo=owned", {}).check()
    _build(shared_engine, "FROM busybox\nRUN chmod 711 /etc\n", "t=moded")
    shown = [shared_engine.docker("run", "--rm", image, "stat", "-c", "%u:%g %a", "/etc").check().out
             for image in ("owned", "moded")]  # fmt: skip
    for id in (changed, plain):
        shared_engine.api("DELETE", f"/containers/{id}").check()
    for image in ("owned", "moded"):
        shared_engine.api("DELETE", f"/images/{image}").check()
    assert told == [[{"Path": "/etc", "Kind": 0}], None] or told == [[{"Path": "/etc", "Kind": 0}], []]
    assert shown == ["7:8 755\n", "0:0 711\n"]


def test_a_runtime_where_docker_py_puts_it(shared_engine: Engine) -> None:
    id = _create(shared_engine, Runtime="runc")["Id"]
    told = shared_engine.inspect(id)["HostConfig"]["Runtime"]
    shared_engine.api("DELETE", f"/containers/{id}").check()
    assert told == "runc"


def test_options_of_a_place_in_a_network_that_are_nobodys(shared_engine: Engine) -> None:
    networks = {"EndpointsConfig": {"bridge": {"DriverOpts": {"org.example.speed": "high"}}}}
    made = _create(shared_engine, HostConfig={"NetworkMode": "bridge"}, NetworkingConfig=networks)
    told = shared_engine.inspect(made["Id"])["NetworkSettings"]["Networks"]["bridge"]["DriverOpts"]
    shared_engine.api("DELETE", f"/containers/{made['Id']}").check()
    assert told == {"org.example.speed": "high"}
    assert made["Warnings"] == ["driver options without effect on network bridge: org.example.speed"]


def test_a_subnet_of_ipv6_asks_for_it(shared_engine: Engine) -> None:
    body = {"Name": "six", "IPAM": {"Config": [{"Subnet": "fd00:6:6::/64"}]}}
    id = shared_engine.api("POST", "/networks/create", body).check().json["Id"]
    told = shared_engine.api("GET", f"/networks/{id}").check().json
    shared_engine.api("DELETE", f"/networks/{id}").check()
    assert told["EnableIPv6"] is True
    assert {one["Subnet"] for one in told["IPAM"]["Config"]} > {"fd00:6:6::/64"}
