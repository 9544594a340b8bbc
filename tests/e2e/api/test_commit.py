"""Commit: what a container changed becomes a layer, with whiteouts; its configuration, changed, an image's."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture(autouse=True)
def _clean(shared_engine: Engine) -> Iterator[None]:
    yield
    for one in shared_engine.api("GET", "/containers/json?all=1").json:
        shared_engine.api("DELETE", f"/containers/{one['Id']}?force=1&v=1").check()
    for image in shared_engine.api("GET", "/images/json").json:
        if "busybox:latest" not in image["RepoTags"]:
            shared_engine.api("DELETE", f"/images/{image['Id']}?force=1")


def _changed(engine: Engine, script: str, *options: str) -> None:
    engine.docker("run", "--name", "work", *options, "busybox", "sh", "-c", script).check()


def test_files_added_changed_and_deleted_are_the_images(shared_engine: Engine) -> None:
    script = "echo new >/new; echo other >>/etc/passwd; rm /etc/group; rm -rf /home/alice; ln -s /new /link"
    script += "; mkdir -m 1777 /d"
    _changed(shared_engine, script)
    said = shared_engine.docker("commit", "work", "made:one").check().out.strip()
    assert said.startswith("sha256:")
    look = "cat /new /link; tail -1 /etc/passwd; ls /etc/group /home/alice; stat -c %a /d"
    told = shared_engine.docker("run", "--rm", "made:one", "sh", "-c", look)
    assert told.out.split() == ["new", "new", "other", "1777"]
    assert told.err.count("No such file") == 2


def test_the_layer_has_whiteouts_and_no_places_that_the_runtime_made(shared_engine: Engine, tmp_path: Path) -> None:
    script = "rm /etc/group; rm -rf /var/www; mkdir /var/www; echo x >/var/www/x; touch /f; chown 7:8 /f"
    _changed(shared_engine, script)
    shared_engine.docker("commit", "work", "made:two").check()
    archive = tmp_path / "made.tar"
    shared_engine.docker("save", "-o", str(archive), "made:two").check()
    with tarfile.open(archive) as whole:
        (listed,) = json.load(whole.extractfile("manifest.json"))  # type: ignore[arg-type]
        layer = whole.extractfile(listed["Layers"][-1]).read()  # type: ignore[union-attr]
    with tarfile.open(fileobj=io.BytesIO(layer)) as own:
        members = {member.name: member for member in own}
    assert sorted(members) == ["etc", "etc/.wh.group", "f", "var", "var/www", "var/www/.wh..wh..opq", "var/www/x"]
    assert (members["f"].uid, members["f"].gid) == (7, 8)


def test_configuration_comes_from_the_container_and_its_changes(shared_engine: Engine) -> None:
    _changed(shared_engine, "true", "-e", "A=1", "-e", "B=2", "-w", "/tmp", "-l", "kept=yes")
    changes = ['CMD ["echo","hi"]', "ENV B=3 C=4", "EXPOSE 80", "USER alice", "VOLUME /data", "LABEL own=x",
               "STOPSIGNAL SIGINT", "ONBUILD RUN true", "HEALTHCHECK --interval=5s CMD true"]  # fmt: skip
    flags = [word for change in changes for word in ("-c", change)]
    shared_engine.docker("commit", *flags, "-m", "why", "-a", "who", "work", "made:three").check()
    image = shared_engine.api("GET", "/images/made:three/json").check().json
    config = image["Config"]
    assert (config["Cmd"], config["User"], config["WorkingDir"]) == (["echo", "hi"], "alice", "/tmp")
    assert {"A=1", "B=3", "C=4"} <= set(config["Env"])
    assert "B=2" not in config["Env"]
    assert (config["ExposedPorts"], config["Volumes"]) == ({"80/tcp": {}}, {"/data": {}})
    assert config["Labels"] == {"kept": "yes", "own": "x"}
    assert (config["StopSignal"], config["OnBuild"]) == ("SIGINT", ["RUN true"])
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 5 * 10**9}
    assert (image["Author"], image["Comment"]) == ("who", "why")
    base = shared_engine.api("GET", "/images/busybox/json").check().json
    assert image["Parent"] == base["Id"]
    assert image["RootFS"]["Layers"] == base["RootFS"]["Layers"]
    rows = shared_engine.api("GET", "/images/made:three/history").check().json
    assert [row["Id"] for row in rows[:2]] == [image["Id"], base["Id"]]
    assert (rows[0]["Comment"], rows[0]["Size"]) == ("why", 0)


def test_a_running_container_stands_still_meanwhile_and_goes_on(shared_engine: Engine) -> None:
    shared_engine.docker("run", "-d", "--name", "work", "busybox", "sleep", "600").check()
    id = shared_engine.inspect("work")["Id"]
    for query, still in (("", ["pause", "unpause", "commit"]), ("&pause=0", ["commit"])):
        answer = shared_engine.api("POST", f"/commit?container=work{query}").check()
        assert answer.json["Id"].startswith("sha256:")
        events = _actions(shared_engine, id)
        assert events[-len(still) :] == still
        assert shared_engine.inspect("work")["State"]["Status"] == "running"


def _actions(engine: Engine, id: str) -> list[str]:
    filters = json.dumps({"container": [id]}, separators=(",", ":"))
    body = engine.api("GET", f"/events?since=1&until={time.time():.9f}&filters={filters}").body
    return [json.loads(line)["Action"] for line in body.splitlines()]


def test_an_entrypoint_drops_the_old_command(shared_engine: Engine) -> None:
    _changed(shared_engine, "true")
    shared_engine.docker("commit", "-c", 'ENTRYPOINT ["/bin/echo"]', "work", "made:four").check()
    config = shared_engine.api("GET", "/images/made:four/json").check().json["Config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["/bin/echo"], None)


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 400, "invalid name or ID supplied"),
        ("container=nobody", 404, "No such container: nobody"),
        ("container=work&repo=Foo", 400, "must be lowercase"),
        ("container=work&changes=FOO%20x", 400, "foo is not a valid change command"),
        ("container=work&changes=EXPOSE%20x", 400, "invalid port"),
    ],
)
def test_what_cannot_be_committed_is_said(shared_engine: Engine, query: str, status: int, said: str) -> None:
    shared_engine.docker("create", "--name", "work", "busybox").check()
    answer = shared_engine.api("POST", f"/commit?{query}")
    assert (answer.status, said in answer.json["message"]) == (status, True), answer.json


def test_images_that_others_were_made_from(shared_engine: Engine) -> None:
    """By name they lose the name, by ID they stay; with the last that was made from them they go."""
    _changed(shared_engine, "touch /one")
    parent = shared_engine.docker("commit", "work", "parent").check().out.strip()
    shared_engine.docker("run", "--name", "next", "parent", "touch", "/two").check()
    shared_engine.docker("commit", "next", "child").check()
    shared_engine.docker("rm", "work", "next").check()
    refused = shared_engine.api("DELETE", f"/images/{parent}?force=1")
    assert (refused.status, "image has dependent child images" in refused.json["message"]) == (409, True)
    assert shared_engine.api("DELETE", "/images/parent").check().json == [{"Untagged": "parent:latest"}]
    assert shared_engine.api("POST", "/images/prune").check().json["ImagesDeleted"] is None
    rows = shared_engine.api("DELETE", "/images/child").check().json
    assert {"Deleted": parent} in rows


def test_prune_tells_what_came_free(shared_engine: Engine) -> None:
    shared_engine.docker("create", "--name", "keep", "busybox").check()
    _changed(shared_engine, "dd if=/dev/zero of=/zeros bs=1M count=3 2>/dev/null")
    for _ in range(2):
        shared_engine.docker("commit", "work", "big").check()
    shared_engine.docker("rm", "work").check()
    dangling = shared_engine.api("GET", '/images/json?filters={"dangling":["true"]}').check().json
    assert [image["RepoTags"] for image in dangling] == [[]]
    pruned = shared_engine.api("POST", "/images/prune").check().json
    assert pruned["ImagesDeleted"] == [{"Deleted": dangling[0]["Id"]}]
    assert pruned["SpaceReclaimed"] < 1 << 20  # the layer is the other image's, too
    pruned = shared_engine.api("POST", '/images/prune?filters={"dangling":["false"],"label!":["x"]}').check().json
    assert pruned["SpaceReclaimed"] > 3 << 20
    assert {"Untagged": "big:latest"} in pruned["ImagesDeleted"]
