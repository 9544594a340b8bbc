"""Push, distribution inspect, login and search: against a real registry on loopback."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import images
from tests.support.command import Cli
from tests.support.engine import Engine
from tests.support.registry import OCI_INDEX, Registry, registry_problem

pytestmark = [pytest.mark.root, pytest.mark.network, pytest.mark.registry]


@pytest.fixture(autouse=True)
def _clean(shared_engine: Engine) -> Iterator[None]:
    yield
    for image in shared_engine.api("GET", "/images/json").json:
        for tag in image["RepoTags"]:
            if tag != "busybox:latest":
                shared_engine.api("DELETE", f"/images/{tag}")


def _lines(body: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in body.splitlines() if line.strip()]


def _push(engine: Engine, name: str, tag: str = "", auth: dict[str, str] | None = None) -> list[dict[str, Any]]:
    header = base64.urlsafe_b64encode(json.dumps(auth or {}).encode()).decode()
    query = f"?tag={tag}" if tag else ""
    answer = engine.api("POST", f"/images/{name}/push{query}", b"", headers={"X-Registry-Auth": header})
    return _lines(answer.check().body)


def test_what_was_pushed_can_be_pulled_by_another(shared_engine: Engine, registry: Registry) -> None:
    name = registry.reference("pushed/box", "v1")
    shared_engine.docker("tag", "busybox", name).check()
    said = shared_engine.docker("push", name).check().out
    assert f"The push refers to repository [{registry.host}/pushed/box]" in said
    assert "v1: digest: sha256:" in said
    looked = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{name}"], capture_output=True, check=True
    )
    digest = json.loads(looked.stdout)["Digest"]
    (image,) = shared_engine.docker("image", "inspect", name, "--format", "{{json .RepoDigests}}").check().out.split()
    assert json.loads(image) == [f"{registry.host}/pushed/box@{digest}"]
    shared_engine.docker("rmi", name).check()
    pinned = f"{registry.host}/pushed/box@{digest}"
    shared_engine.docker("pull", pinned).check()
    assert shared_engine.docker("run", "--rm", pinned, "echo", "hi").check().out == "hi\n"
    assert shared_engine.docker("rmi", pinned).check().out == f"Untagged: {pinned}\n"


def test_progress_is_dockers(shared_engine: Engine, registry: Registry) -> None:
    repository = f"{registry.host}/progress"
    shared_engine.docker("tag", "busybox", f"{repository}:one").check()
    lines = _push(shared_engine, repository, "one")
    statuses = [line.get("status", "").partition(":")[0] for line in lines]
    assert statuses[:2] == [f"The push refers to repository [{registry.host.partition(':')[0]}", "Preparing"]
    assert {"Pushing", "Pushed"} <= set(statuses)
    moving = next(line for line in lines if line.get("status") == "Pushing")
    assert moving["progressDetail"]["total"] >= moving["progressDetail"]["current"] > 0
    told = lines[-1]["aux"]
    assert (told["Tag"], told["Digest"].startswith("sha256:"), told["Size"] > 100) == ("one", True, True)
    again = [line.get("status") for line in _push(shared_engine, repository, "one")]
    assert "Layer already exists" in again
    assert "Pushing" not in again


def test_without_a_tag_all_tags_come(shared_engine: Engine, registry: Registry) -> None:
    repository = f"{registry.host}/all/box"
    names = [f"{repository}:{tag}" for tag in ("a", "b", "c")]
    for name in names:
        shared_engine.docker("tag", "busybox", name).check()
        shared_engine.docker("push", name).check()
    for command in (shared_engine.docker, shared_engine.cli):
        shared_engine.docker("rmi", *names).check()
        command("pull", "-a", repository).check()
        shown = shared_engine.docker("images", "--format", "{{.Tag}}", repository).check().out.split()
        assert sorted(shown) == ["a", "b", "c"]
    shared_engine.docker("rmi", *names).check()


def test_what_is_here_is_not_pulled_in_words(shared_engine: Engine, registry: Registry) -> None:
    name = registry.reference("here/box", "v1")
    shared_engine.docker("tag", "busybox", name).check()
    shared_engine.docker("push", name).check()
    said = shared_engine.docker("pull", name).check().out
    shared_engine.docker("rmi", name).check()
    assert "Already exists" in said
    assert "Pull" not in said.replace("Pulling from", "")


def test_a_header_that_is_no_credentials_is_as_good_as_none(shared_engine: Engine, registry: Registry) -> None:
    name = registry.reference("header/box", "v1")
    shared_engine.docker("tag", "busybox", name).check()
    for method, path in (("POST", f"/images/{name}/push"), ("POST", f"/images/create?fromImage={name}")):
        answer = shared_engine.api(method, path, b"", headers={"X-Registry-Auth": "abc"})
        assert (answer.status, "error" in answer.body.decode()) == (200, False)
    shared_engine.docker("rmi", name).check()


def test_without_a_tag_all_tags_go(shared_engine: Engine, registry: Registry) -> None:
    repository = f"{registry.host}/several"
    for tag in ("a", "b"):
        shared_engine.docker("tag", "busybox", f"{repository}:{tag}").check()
    told = [line["aux"]["Tag"] for line in _push(shared_engine, repository) if "aux" in line]
    assert told == ["a", "b"]
    assert shared_engine.docker("push", "--all-tags", repository).check().out.count("digest: sha256:") == 2
    for command in (shared_engine.cli, shared_engine.docker):
        shared_engine.docker("rmi", f"{repository}:a", f"{repository}:b").check()
        command("pull", "--all-tags", repository).check()
        shown = shared_engine.docker("images", "--format", "{{.Tag}}", repository).check().lines
        assert sorted(shown) == ["a", "b"]


def test_all_platforms_of_an_image_go_on(shared_engine: Engine, registry: Registry) -> None:
    entries = []
    for architecture in ("s390x", shared_engine.api("GET", "/images/busybox/json").json["Architecture"]):
        layer = images.layer({architecture: b"made for it"})
        entry = registry.put_image("several/platforms", [layer], tag=architecture)
        entries.append({**entry, "platform": {"architecture": architecture, "os": "linux"}})
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    came = registry.put_manifest("several/platforms", "latest", OCI_INDEX, index)
    name, copied = registry.reference("several/platforms"), registry.reference("several/copied")
    shared_engine.cli("pull", "--all-platforms", name).check()
    shared_engine.cli("tag", name, copied).check()
    assert f"digest: {came['digest']} " in shared_engine.cli("push", copied).check().out


def test_a_committed_layer_arrives(shared_engine: Engine, registry: Registry) -> None:
    name = registry.reference("committed")
    shared_engine.docker("run", "--name", "work", "busybox", "sh", "-c", "echo hello >/greeting").check()
    shared_engine.docker("commit", "work", name).check()
    shared_engine.docker("rm", "work").check()
    shared_engine.docker("push", name).check()
    shared_engine.docker("rmi", name).check()
    shared_engine.docker("pull", name).check()
    assert shared_engine.docker("run", "--rm", name, "cat", "/greeting").check().out == "hello\n"


def test_what_cannot_be_pushed_is_the_last_line(shared_engine: Engine, registry: Registry) -> None:
    unknown = _push(shared_engine, f"{registry.host}/unknown", "x")[-1]
    assert unknown["errorDetail"]["message"].startswith("An image does not exist locally with the tag:")
    nobody = "127.0.0.1:1/box"
    shared_engine.docker("tag", "busybox", nobody).check()
    refused = shared_engine.docker("push", nobody)
    assert (refused.code, "connection refused" in refused.err) == (1, True)


@pytest.fixture(scope="module")
def guarded(workspace: Path) -> Iterator[Registry]:
    """A registry with one user: ``me`` with the password ``secret``."""
    if reason := registry_problem():
        pytest.skip(reason)
    directory = workspace / "guarded"
    directory.mkdir()
    # bcrypt, which the registry insists on, of Debian's crypt(3).
    script = 'print crypt("secret", q($2y$05$) . "abcdefghijklmnopqrstuu")'
    hashed = subprocess.run(["perl", "-e", script], capture_output=True, check=True).stdout.decode()
    (directory / "users").write_text(f"me:{hashed}\n")
    made = Registry(directory, htpasswd={"realm": "here", "path": str(directory / "users")})
    try:
        yield made.start()
    finally:
        made.remove()


def test_credentials_open_a_guarded_registry(shared_engine: Engine, guarded: Registry) -> None:
    name = guarded.reference("mine")
    shared_engine.docker("tag", "busybox", name).check()
    shared_engine.docker("logout", guarded.host)
    denied = shared_engine.docker("push", name)
    assert (denied.code, "push access denied" in denied.err) == (1, True), denied.err
    wrong = shared_engine.docker("login", "-u", "me", "--password-stdin", guarded.host, stdin=b"guess")
    said = f"login attempt to http://{guarded.host}/v2/ failed with status: 401 Unauthorized"
    assert (wrong.code, said in wrong.err) == (1, True), wrong.err
    said = shared_engine.docker("login", "-u", "me", "--password-stdin", guarded.host, stdin=b"secret").check()
    assert "Login Succeeded" in said.out
    shared_engine.docker("push", name).check()
    shared_engine.docker("pull", name).check()
    status = shared_engine.api("GET", f"/distribution/{name}/json").status
    assert status in (401, 403)
    shared_engine.docker("logout", guarded.host).check()


HELPER = """#!/bin/sh
# The protocol of docker-credential-helpers: one file a registry, and a word for what is not there.
kept={directory}/kept
case "$1" in
store) cat > "$kept" ;;
get)
    cat > {directory}/asked
    cat "$kept" 2> /dev/null || {{ echo "credentials not found in native keychain"; exit 1; }} ;;
erase) rm -f "$kept" ;;
esac
"""


def test_credentials_are_asked_of_a_helper(shared_engine: Engine, guarded: Registry, tmp_path: Path) -> None:
    helper, settings = tmp_path / "docker-credential-kept", tmp_path / "config.json"
    helper.write_text(HELPER.format(directory=tmp_path))
    helper.chmod(0o755)
    settings.write_text(json.dumps({"credHelpers": {guarded.host: "kept"}}))
    own = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "DOCKER_CONFIG": str(tmp_path)}
    corten, docker = (Cli(one.argv, {**one.environment, **own}) for one in (shared_engine.cli, shared_engine.docker))
    name = guarded.reference("helped")
    corten("tag", "busybox", name).check()
    assert "push access denied" in corten("push", name).err
    corten("login", "-u", "me", "--password-stdin", guarded.host, stdin=b"secret").check()
    assert "secret" not in settings.read_text()
    assert json.loads((tmp_path / "kept").read_text())["Secret"] == "secret"
    for command in (corten, docker):
        command("push", name).check()
        command("pull", name).check()
        assert (tmp_path / "asked").read_text() == guarded.host
    corten("logout", guarded.host).check()
    assert not (tmp_path / "kept").exists()
    assert corten("pull", name).code


def test_what_a_registry_has_is_told_without_bringing_it(shared_engine: Engine, registry: Registry) -> None:
    name = registry.reference("looked/at")
    shared_engine.docker("tag", "busybox", name).check()
    shared_engine.docker("push", name).check()
    image = shared_engine.api("GET", "/images/busybox/json").check().json
    shared_engine.docker("rmi", name).check()
    found = shared_engine.api("GET", f"/distribution/{name}/json").check().json
    assert found["Descriptor"]["digest"] == image["Descriptor"]["digest"]
    assert found["Platforms"] == [{"architecture": image["Architecture"], "os": "linux"}]
    assert shared_engine.api("GET", f"/distribution/{registry.host}/nothing/json").status == 404
    told = shared_engine.docker("manifest", "inspect", "--insecure", name)
    assert "schemaVersion" in told.check().out


def test_search_says_that_no_hub_can_be_reached(shared_engine: Engine) -> None:
    answer = shared_engine.api("GET", "/images/search?term=127.0.0.1:1/x")
    assert (answer.status, "connection refused" in answer.json["message"]) == (503, True)
    assert shared_engine.api("GET", "/images/search?term=x&limit=1000").status == 400
    assert shared_engine.docker("search", "127.0.0.1:1/x").code == 1
