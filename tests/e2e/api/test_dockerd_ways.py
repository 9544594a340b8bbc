"""Ways of dockerd's that other projects' suites rely on, each found by one of them (``make interop``)."""

from __future__ import annotations

import io
import json
import tarfile
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import docker
import pytest

from tests.support import http
from tests.support.engine import Engine
from tests.support.process import wait_until

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture
def sleeper(shared_engine: Engine) -> Iterator[str]:
    """A container that runs, without a network; removed whatever happens."""
    made = _run(shared_engine, "sleep", "600")
    yield made
    shared_engine.api("DELETE", f"/containers/{made}?force=1")


def _run(engine: Engine, *command: str, host: dict[str, Any] | None = None, **config: Any) -> str:
    """The ID of a new container, started."""
    host = {"NetworkMode": "none", **(host or {})}
    body = {"Image": "busybox", "Cmd": command, "StopSignal": "SIGKILL", "HostConfig": host, **config}
    id: str = engine.api("POST", "/containers/create", body).check().json["Id"]
    engine.api("POST", f"/containers/{id}/start").check()
    return id


def _exec(engine: Engine, container: str, start: dict[str, Any], **config: Any) -> http.Response:
    id = engine.api("POST", f"/containers/{container}/exec", config).check().json["Id"]
    return engine.api("POST", f"/exec/{id}/start", start)


def test_an_exec_is_framed_as_its_start_says(shared_engine: Engine, sleeper: str) -> None:
    """docker-py's ``exec_create(tty=True)`` and ``exec_start()``."""
    config = {"Cmd": ["echo", "hi"], "AttachStdout": True, "Tty": True}
    framed = _exec(shared_engine, sleeper, {"Detach": False}, **config)
    assert framed.body == b"\x01\0\0\0\0\0\0\x04hi\r\n"
    assert framed.headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    raw = _exec(shared_engine, sleeper, {"Detach": False, "Tty": True}, **config)
    assert raw.body == b"hi\r\n"
    assert raw.headers["content-type"] == "application/vnd.docker.raw-stream"


def test_a_stream_begins_when_its_head_was_read(shared_engine: Engine) -> None:
    """docker-py loses what it reads in one piece with the head: the log of a container that has ended is there at
    once."""
    client = docker.APIClient(base_url=f"unix://{shared_engine.socket}", version="auto")
    id = _run(shared_engine, "echo", "hello")
    try:
        shared_engine.api("POST", f"/containers/{id}/wait").check()
        assert {client.attach(id, stream=False, logs=True) for _ in range(30)} == {b"hello\n"}
    finally:
        client.close()
        shared_engine.api("DELETE", f"/containers/{id}?force=1").check()


def test_names_of_members_match_in_any_case(shared_engine: Engine, sleeper: str) -> None:
    """docker-py sends ``detachKeys``; Go's decoder does not mind."""
    body = {"cmd": ["true"], "detachKeys": "ctrl-x", "ATTACHSTDOUT": True}
    id = shared_engine.api("POST", f"/containers/{sleeper}/exec", body).check().json["Id"]
    shared_engine.api("POST", f"/exec/{id}/start", {"detach": False}).check()
    told = shared_engine.api("GET", f"/exec/{id}/json").check().json
    assert (told["DetachKeys"], told["OpenStdout"]) == ("ctrl-x", True)
    body = {"image": "busybox", "hostConfig": {"networkmode": "none", "RestartPolicy": {"name": "always"}}}
    id = shared_engine.api("POST", "/containers/create", body).check().json["Id"]
    host = shared_engine.inspect(id)["HostConfig"]
    shared_engine.api("DELETE", f"/containers/{id}").check()
    assert (host["NetworkMode"], host["RestartPolicy"]["Name"]) == ("none", "always")


def test_wait_is_told_of_an_end_though_a_start_follows(shared_engine: Engine) -> None:
    id = _run(shared_engine, "sh", "-c", "exit 3", host={"RestartPolicy": {"Name": "always"}})
    try:
        assert shared_engine.api("POST", f"/containers/{id}/wait").check().json["StatusCode"] == 3
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1").check()


def test_a_running_container_is_not_removed(shared_engine: Engine, sleeper: str) -> None:
    said = shared_engine.api("DELETE", f"/containers/{sleeper}")
    assert said.status == 409
    assert said.json["message"] == (
        f"You cannot remove a running container {sleeper}: container is running: "
        "stop the container before removal or force remove"
    )
    shared_engine.api("POST", f"/containers/{sleeper}/pause").check()
    said = shared_engine.api("DELETE", f"/containers/{sleeper}")
    assert "a paused container" in said.json["message"]
    assert "unpause and then stop the container before" in said.json["message"]


def test_a_bad_archive_is_told_in_the_stream(shared_engine: Engine) -> None:
    """docker-py raises its ImageLoadError for what stands in the stream, and another for a status."""
    answer = shared_engine.api("POST", "/images/load", b"abc")
    assert answer.status == 200
    assert "not an archive of images" in answer.json["error"]
    assert answer.json["errorDetail"]["message"] == answer.json["error"]


@pytest.mark.parametrize("name", ["runc", "io.containerd.runc.v2"])
def test_the_usual_runtime_has_dockerds_names(shared_engine: Engine, name: str) -> None:
    body = {"Image": "busybox", "HostConfig": {"Runtime": name, "NetworkMode": "none"}}
    id = shared_engine.api("POST", "/containers/create", body).check().json["Id"]
    told = shared_engine.inspect(id)["HostConfig"]["Runtime"]
    shared_engine.api("DELETE", f"/containers/{id}").check()
    assert told == name


def test_commit_of_a_container_that_just_ends(shared_engine: Engine) -> None:
    """Between the end of its last process and the engine's word of it, a container cannot be frozen."""
    for _ in range(8):
        id = _run(shared_engine, "true")
        image = shared_engine.api("POST", f"/commit?container={id}", {}).check().json["Id"]
        shared_engine.api("DELETE", f"/containers/{id}?force=1").check()
        shared_engine.api("DELETE", f"/images/{image}").check()


def _create(engine: Engine, query: str = "", **config: Any) -> str:
    body = {"Image": "busybox", "HostConfig": {"NetworkMode": "none"}, **config}
    id: str = engine.api("POST", f"/containers/create{query}", body).check().json["Id"]
    return id


def _output(engine: Engine, *arguments: str) -> str:
    return engine.docker("run", "--rm", "--network", "none", *arguments).check().out


def test_the_memory_of_another_container(shared_engine: Engine) -> None:
    script = "echo hi > /dev/shm/x; sleep 600"
    id = _run(shared_engine, "sh", "-c", script, host={"IpcMode": "shareable"})
    try:
        joined = ("--ipc", f"container:{id}", "busybox")
        wait_until(lambda: _output(shared_engine, *joined, "ls", "/dev/shm") == "x\n", "the file")
        assert _output(shared_engine, *joined, "cat", "/dev/shm/x") == "hi\n"
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1").check()


def test_events_to_a_moment_are_those_before_it(shared_engine: Engine) -> None:
    id = _run(shared_engine, "true")
    shared_engine.api("POST", f"/containers/{id}/wait").check()
    now = time.time()
    filters = urllib.parse.quote(json.dumps({"container": [id], "event": ["create", "start"]}))
    said = shared_engine.api("GET", f"/events?until={now:.9f}&filters={filters}").check().body
    shared_engine.api("DELETE", f"/containers/{id}").check()
    assert [json.loads(line)["Action"] for line in said.splitlines()] == ["create", "start"]
    refused = shared_engine.api("GET", f"/events?since={now + 2:.0f}&until={now:.0f}")
    assert refused.status == 400
    assert "cannot be after `until` time" in refused.json["message"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("", 'invalid resize height "": invalid syntax'),
        ("?h=10", 'invalid resize width "": invalid syntax'),
        ("?h=a&w=1", 'invalid resize height "a": invalid syntax'),
        ("?h=1&w=-1", 'invalid resize width "-1": value out of range'),
        ("?h=65536&w=1", 'invalid resize height "65536": value out of range'),
    ],
)
def test_sizes_of_a_terminal(shared_engine: Engine, sleeper: str, query: str, said: str) -> None:
    exec = shared_engine.api("POST", f"/containers/{sleeper}/exec", {"Cmd": ["true"]}).check().json["Id"]
    for target in (f"/containers/{sleeper}/resize", f"/exec/{exec}/resize"):
        answer = shared_engine.api("POST", target + query)
        assert (answer.status, answer.json["message"]) == (400, said)


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"{}", "text/plain", "unsupported Content-Type header (text/plain): must be 'application/json'"),
        (b"{}", "", "malformed Content-Type header (): mime: no media type"),
        (b"{x}", "application/json", "invalid JSON: invalid character 'x' looking for beginning of object key string"),
        (b'{"a": 1} b', "application/json", "unexpected content after JSON"),
    ],
)
def test_bodies_that_are_no_json(shared_engine: Engine, body: bytes, kind: str, said: str) -> None:
    answer = shared_engine.api("POST", "/containers/create", body, headers={"Content-Type": kind})
    assert (answer.status, answer.json["message"]) == (400, said)


def test_a_restart_does_not_remove(shared_engine: Engine) -> None:
    id = _run(shared_engine, "sleep", "600", host={"AutoRemove": True})
    shared_engine.api("POST", f"/containers/{id}/restart").check()
    assert shared_engine.inspect(id)["State"]["Running"]
    shared_engine.api("POST", f"/containers/{id}/kill").check()
    wait_until(lambda: shared_engine.api("GET", f"/containers/{id}/json").status == 404, "its removal")


def test_a_container_that_starts_again_is_never_seen_ended(shared_engine: Engine) -> None:
    """Its state is "restarting" until it runs, and a kill then ends it for good."""
    id = _run(shared_engine, "false", host={"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}})
    seen = set()

    def over() -> bool:
        told = shared_engine.inspect(id)
        seen.add((told["State"]["Status"], told["RestartCount"]))
        return bool(told["RestartCount"] == 3 and told["State"]["Status"] == "exited")

    wait_until(over, "the last restart")
    shared_engine.api("DELETE", f"/containers/{id}").check()
    assert {count for status, count in seen if status == "exited"} == {3}


def test_a_kill_of_one_that_waits_for_its_start(shared_engine: Engine) -> None:
    id = _run(shared_engine, "false", host={"RestartPolicy": {"Name": "always"}})
    wait_until(lambda: shared_engine.inspect(id)["RestartCount"] > 3, "longer waits")
    wait_until(lambda: shared_engine.inspect(id)["State"]["Restarting"], "one")
    shared_engine.api("POST", f"/containers/{id}/kill").check()
    assert not shared_engine.inspect(id)["State"]["Running"]
    shared_engine.api("DELETE", f"/containers/{id}").check()


def test_limits_that_are_taken_back(shared_engine: Engine) -> None:
    id = _run(shared_engine, "sleep", "600", host={"PidsLimit": 32})
    try:
        shared_engine.api("POST", f"/v1.39/containers/{id}/update", {"PidsLimit": 16}).check()
        assert shared_engine.inspect(id)["HostConfig"]["PidsLimit"] == 32
        shared_engine.api("POST", f"/containers/{id}/update", {"PidsLimit": -1}).check()
        assert shared_engine.inspect(id)["HostConfig"]["PidsLimit"] == 0
        assert "pids_stats" in shared_engine.api("GET", f"/containers/{id}/stats?stream=0").check().json
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1").check()


def test_the_hosts_dev_is_shown_as_it_is(shared_engine: Engine) -> None:
    nodes = "test -c /dev/null && echo here > /dev/null && mount | grep -c ' /dev '"
    assert _output(shared_engine, "-v", "/dev:/dev:ro", "busybox", "sh", "-c", nodes) == "1\n"


def test_the_data_root_in_a_container(shared_engine: Engine) -> None:
    root = str(shared_engine.root)
    for source in (root, f"{root}/containers", "/"):
        id = _create(shared_engine, HostConfig={"Binds": [f"{source}:/d"], "NetworkMode": "none"})
        assert shared_engine.inspect(id)["Mounts"][0]["Propagation"] == "rslave"
        shared_engine.api("DELETE", f"/containers/{id}").check()
    body = {"Image": "busybox", "HostConfig": {"Binds": [f"{root}:/d:shared"]}}
    assert shared_engine.api("POST", "/containers/create", body).status == 400
    assert _output(shared_engine, "-v", f"{root}:/d:ro", "busybox", "ls", "-d", "/d/containers") == "/d/containers\n"


def test_names_of_images(shared_engine: Engine) -> None:
    for tag in ("one", "two"):
        shared_engine.api("POST", f"/images/busybox/tag?repo=ways&tag={tag}").check()
    archive = shared_engine.api("GET", "/images/ways/get").check().body
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        listed = json.load(tar.extractfile("manifest.json") or io.BytesIO())
        assert sorted(name for entry in listed for name in entry["RepoTags"]) == ["ways:one", "ways:two"]
        assert tar.getmember(listed[0]["Config"]).mtime == 1704067200  # the image's age
    refused = shared_engine.api("POST", "/images/busybox/tag?repo=sha256&tag=x")
    assert refused.json["message"] == "refusing to create an ambiguous tag using digest algorithm as name"
    globbed = shared_engine.api("GET", "/images/json?filters=" + urllib.parse.quote('{"reference": ["way*"]}')).json
    assert [sorted(one["RepoTags"]) for one in globbed] == [["ways:one", "ways:two"]]
    for tag in ("one", "two"):
        shared_engine.api("DELETE", f"/images/ways:{tag}").check()


def test_a_name_that_is_another_images_now(shared_engine: Engine) -> None:
    shared_engine.api("POST", "/images/busybox/tag?repo=moved").check()
    id = _create(shared_engine, "?name=of-moved", Image="moved")
    rows = "/containers/json?all=1&filters=" + urllib.parse.quote('{"name": ["of-moved"]}')
    assert shared_engine.api("GET", rows).json[0]["Image"] == "moved"
    shared_engine.api("DELETE", "/images/moved").check()
    assert shared_engine.api("GET", rows).json[0]["Image"] == shared_engine.inspect(id)["Image"]
    shared_engine.api("DELETE", f"/containers/{id}").check()


def test_an_import_for_another_machine(shared_engine: Engine) -> None:
    empty = bytes(1024)
    made = shared_engine.api("POST", "/images/create?fromSrc=-&platform=linux/sparc64", empty).check().json["status"]
    told = shared_engine.api("GET", f"/images/{made}/json").check().json
    assert (told["Os"], told["Architecture"]) == ("linux", "sparc64")
    shared_engine.api("DELETE", f"/images/{made}").check()
    refused = shared_engine.api("POST", "/images/create?fromSrc=-&platform=macos/arm64", empty)
    assert (refused.status, "operating system is not supported" in refused.json["message"]) == (400, True)


def test_what_a_request_names_and_is_not_there(shared_engine: Engine) -> None:
    for host in ({"PidMode": "container:nope"}, {"IpcMode": "container:nope"}, {"VolumesFrom": ["nope"]}):
        answer = shared_engine.api("POST", "/containers/create", {"Image": "busybox", "HostConfig": host})
        assert (answer.status, answer.json["message"]) == (400, "No such container: nope")


def test_paths_as_they_are_kept(shared_engine: Engine) -> None:
    # Not judged: the specification has no such path.
    assert http.request(shared_engine.socket, "GET", "/networks/").check().json
    id = _create(shared_engine, WorkingDir="/tmp//x/../")
    assert shared_engine.inspect(id)["Config"]["WorkingDir"] == "/tmp"
    assert shared_engine.api("PUT", f"/containers/{id}/archive?path=/tmp", b"").status == 200
    answer = shared_engine.api("GET", f"/containers/{id}/archive?path=/etc/passwd/")
    assert (answer.status, "not a directory" in answer.json["message"]) == (400, True)
    shared_engine.api("DELETE", f"/containers/{id}").check()


def _file(engine: Engine, id: str, path: str) -> bytes:
    """The content of a file of a container's, by its archive."""
    archive = engine.api("GET", f"/containers/{id}/archive?path={path}").check().body
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return (tar.extractfile(tar.getmembers()[0]) or io.BytesIO()).read()


def test_the_engines_files_of_one_that_has_ended(shared_engine: Engine) -> None:
    """Copied out, and back in, they are the engine's; an export has the empty files below them."""
    id = _run(shared_engine, "sleep", "600", host={"ExtraHosts": ["there:192.0.2.1"]}, Hostname="here")
    try:
        running = _exported(shared_engine, id)
        shared_engine.api("POST", f"/containers/{id}/kill").check()
        assert _file(shared_engine, id, "/etc/hostname") == b"here\n"
        assert b"192.0.2.1\tthere" in _file(shared_engine, id, "/etc/hosts")
        assert b"nameserver" in _file(shared_engine, id, "/etc/resolv.conf")
        assert running == _exported(shared_engine, id) == {"etc/hostname": 0, "etc/hosts": 0, "etc/resolv.conf": 0}
        assert shared_engine.api("GET", f"/containers/{id}/changes").check().json == []
    finally:
        shared_engine.api("DELETE", f"/containers/{id}?force=1")


def _exported(engine: Engine, id: str) -> dict[str, int]:
    """The sizes of the files of /etc that the engine writes, in an export."""
    with tarfile.open(fileobj=io.BytesIO(engine.api("GET", f"/containers/{id}/export").check().body)) as tar:
        return {one.name: one.size for one in tar if one.name in ("etc/hostname", "etc/hosts", "etc/resolv.conf")}


def test_options_of_whatever_path(shared_engine: Engine) -> None:
    for path in ("/_ping", "/v1.41/containers/json", "/nope"):  # not judged: the specification has no such method
        answer = http.request(shared_engine.socket, "OPTIONS", path)
        assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(("version", "option"), [("1.43", "rw"), ("1.44", "ro")])
def test_what_is_mounted_below_a_read_only_mount(shared_engine: Engine, version: str, option: str) -> None:
    """Clients that cannot ask for the one have the other, as before there was a choice."""
    host = {"NetworkMode": "none", "Binds": ["/dev:/d:ro"]}
    body = {"Image": "busybox", "Cmd": ["grep", " /d/pts ", "/proc/mounts"], "Tty": True, "HostConfig": host}
    id = shared_engine.api("POST", f"/v{version}/containers/create", body).check().json["Id"]
    shared_engine.api("POST", f"/containers/{id}/start").check()
    shared_engine.api("POST", f"/containers/{id}/wait").check()
    shown = shared_engine.api("GET", f"/containers/{id}/logs?stdout=1").check().body.decode().split()
    shared_engine.api("DELETE", f"/containers/{id}").check()
    assert shown[3].split(",")[0] == option


def _archive(files: dict[str, Any]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, value in files.items():
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def test_an_image_of_no_layers(shared_engine: Engine) -> None:
    config = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["x"]}}
    manifest = [{"Config": "c.json", "RepoTags": ["bare:latest"], "Layers": []}]
    files = {"manifest.json": manifest, "c.json": config}
    refused = shared_engine.api("POST", "/images/load", _archive(files))
    assert "invalid image JSON, no RootFS key" in refused.json["error"]
    files["c.json"] = {**config, "rootfs": {"type": "layers", "diff_ids": []}}
    assert b"Loaded image: bare:latest" in shared_engine.api("POST", "/images/load", _archive(files)).body
    shared_engine.api("DELETE", "/images/bare").check()


def test_an_archive_of_the_oldest_form(shared_engine: Engine) -> None:
    """Before Docker 1.10: a directory a layer, and "repositories" of names."""
    base, top, layer = "a" * 64, "b" * 64, _archive({"f": b"x"})
    config = {"created": "2014-01-01T00:00:00Z", "os": "linux", "architecture": "amd64", "config": {"Cmd": ["/old"]}}
    files: dict[str, Any] = {"repositories": {"oldest": {"latest": top}}}
    files |= {f"{base}/VERSION": b"1.0", f"{base}/json": {**config, "id": base}, f"{base}/layer.tar": layer}
    files |= {f"{top}/json": {**config, "id": top, "parent": base}, f"{top}/layer.tar": _archive({"g": b"y"})}
    said = shared_engine.api("POST", "/images/load", _archive(files)).check().body
    assert b"Loaded image: oldest:latest" in said
    told = shared_engine.api("GET", "/images/oldest/json").check().json
    assert (told["Config"]["Cmd"], len(told["RootFS"]["Layers"]), told["Size"]) == (["/old"], 2, 2)
    shared_engine.api("DELETE", "/images/oldest").check()
    for name, value in ((f"{top}/json", {**config, "parent": top}), ("repositories", {"x": {"latest": "../etc"}})):
        refused = shared_engine.api("POST", "/images/load", _archive({**files, name: value}))
        assert "load image: layer" in refused.json["error"]
    del files[f"{top}/layer.tar"]
    refused = shared_engine.api("POST", "/images/load", _archive(files))
    assert f"{top}/layer.tar is not a file of the archive" in refused.json["error"]


def _linked(engine: Engine, path: str) -> http.Response:
    return http.request(engine.socket, "GET", f"/containers/{path}/json")  # not judged: the specification has no such


def test_links_go_with_names(shared_engine: Engine) -> None:
    """What links to a container names it for the API, too, and keeps doing so under new names."""
    db = _run(shared_engine, "sleep", "600", host={"NetworkMode": "bridge"})
    shared_engine.api("POST", f"/containers/{db}/rename?name=db").check()
    app = _create(shared_engine, "?name=app", HostConfig={"Links": ["db:sql"]})
    try:
        assert _linked(shared_engine, "app/sql").check().json["Id"] == db
        for old, new in (("app", "app2"), ("db", "db2")):
            shared_engine.api("POST", f"/containers/{old}/rename?name={new}").check()
        assert shared_engine.inspect("app2")["HostConfig"]["Links"] == ["/db2:/app2/sql"]
        assert _linked(shared_engine, "app2/sql").check().json["Id"] == db
        assert _linked(shared_engine, "app2/nope").status == 404
        listed = shared_engine.api("GET", "/containers/json").check().json
        used = shared_engine.api("GET", "/v1.41/system/df").check().json["Containers"]
        names = [one["Names"] for rows in (listed, used) for one in rows if one["Id"] == db]
        assert names == [["/db2", "/app2/sql"], ["/db2", "/app2/sql"]]
    finally:
        for id in (app, db):
            shared_engine.api("DELETE", f"/containers/{id}?force=1")


@pytest.mark.parametrize(("version", "code"), [("1.41", 126), ("1.42", 127)])
def test_the_code_of_a_command_that_is_not_there(shared_engine: Engine, sleeper: str, version: str, code: int) -> None:
    for command, expected in ((["nope"], code), (["sh", "-c", "exit 127"], 127)):
        body = {"Cmd": command, "AttachStdout": True}
        exec = shared_engine.api("POST", f"/containers/{sleeper}/exec", body).check().json["Id"]
        shared_engine.api("POST", f"/exec/{exec}/start", {"Detach": False})
        told = shared_engine.api("GET", f"/v{version}/exec/{exec}/json").check().json
        assert told["ExitCode"] == expected


def test_a_subnet_by_an_address_in_it(shared_engine: Engine) -> None:
    """Before 1.44 it was taken for the subnet."""
    config = {"Subnet": "10.123.45.6/24", "IPRange": "10.123.45.129/28"}
    body = {"Name": "within", "IPAM": {"Config": [config]}}
    assert shared_engine.api("POST", "/v1.44/networks/create", body).status == 400
    id = shared_engine.api("POST", "/v1.43/networks/create", body).check().json["Id"]
    told = shared_engine.api("GET", f"/networks/{id}").check().json["IPAM"]["Config"]
    shared_engine.api("DELETE", f"/networks/{id}").check()
    assert (told[0]["Subnet"], told[0]["IPRange"]) == ("10.123.45.0/24", "10.123.45.128/28")


@pytest.mark.parametrize("path", ["/bin/busybox", "/bin/sh/", "/bin/busybox/below", "/etc/../bin/sh"])
def test_a_file_is_no_working_directory(shared_engine: Engine, path: str) -> None:
    answer = shared_engine.api("POST", "/containers/create", {"Image": "busybox", "WorkingDir": path})
    assert answer.status == 400
    assert answer.json["message"].startswith("Cannot mkdir: /bin/")
    assert answer.json["message"].endswith(" is not a directory")
