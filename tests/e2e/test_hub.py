"""``corten registry serve``: others pull an engine's images, with the digests that they have, and push to it."""

from __future__ import annotations

import http.client
import json
import random
import shutil
import ssl
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from corten.registry.upload import Uploads
from corten.spec import reference as references
from corten.spec.descriptor import OCI_LAYER, Descriptor
from corten.spec.digest import Digest
from tests.e2e.test_exchange import _BOUNDED
from tests.e2e.test_exchange import podman as podman
from tests.support import images as make
from tests.support.certificates import Authority, openssl_problem
from tests.support.command import Cli, run
from tests.support.cutting import CuttingRelay
from tests.support.dockerd import Dockerd
from tests.support.engine import Engine
from tests.support.hub import Hub

pytestmark = [pytest.mark.root, pytest.mark.network]


@pytest.fixture(scope="module")
def made(shared_engine: Engine) -> Engine:
    """An engine with ``team/app:v1``, a commit on busybox."""
    shared_engine.cli("run", "--name", "work", "busybox", "sh", "-c", "echo new >/new").check()
    shared_engine.cli("commit", "-c", 'CMD ["cat", "/new"]', "work", "team/app:v1").check()
    shared_engine.cli("rm", "work").check()
    return shared_engine


@pytest.fixture(scope="module")
def hub(made: Engine) -> Iterator[Hub]:
    """A registry that one may push to and delete from."""
    with Hub(made, "--allow-push", "--allow-delete") as started:
        yield started


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()


def ask(hub: Hub, method: str, target: str, body: bytes | None = None, **headers: str) -> Answer:
    connection = http.client.HTTPConnection(hub.host, timeout=30)
    try:
        connection.request(method, target, body, {name.replace("_", "-"): value for name, value in headers.items()})
        return Answer(connection.getresponse())
    finally:
        connection.close()


def digest_of(engine: Engine, name: str) -> str:
    """The digest of an image's manifest in an engine."""
    return str(engine.api("GET", f"/images/{name}/json").check().json["Descriptor"]["digest"])


def remote_digest(name: str) -> str:
    looked = run(["skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{name}"])
    return looked.check().out.strip()


# --- pulling


def test_another_corten_and_podman_and_skopeo_pull(made: Engine, hub: Hub, engine: Engine, podman: Cli) -> None:
    name = f"{hub.host}/team/app:v1"
    pulled = engine.cli("pull", name).check().out
    assert engine.cli("run", "--rm", name).check().out == "new\n"
    digest = digest_of(made, "team/app:v1")
    assert f"Digest: {digest}" in pulled
    assert digest_of(engine, name) == remote_digest(name) == digest
    podman("pull", "--tls-verify=false", name).check()
    assert podman("run", *_BOUNDED, name).check().out == "new\n"
    # Whatever goes on from there goes on unchanged, and so does a push of the same image.
    again = f"{hub.host}/other/app:v1"
    engine.cli("tag", name, again).check()
    said = engine.cli("push", again).check().out
    assert f"digest: {digest}" in said
    assert "Mounted from team/app" in said or "Layer already exists" in said
    assert made.cli("run", "--rm", again).check().out == "new\n"
    made.cli("rmi", again).check()


@pytest.mark.dockerd
def test_docker_pulls_and_pushes(made: Engine, dockerd: Dockerd) -> None:
    within = ("nsenter", f"--net=/proc/{dockerd.pid}/ns/net", "--")
    with Hub(made, "--allow-push", within=within) as beside:
        name, back = f"{beside.host}/team/app:v1", f"{beside.host}/by/docker:v1"
        dockerd.docker("pull", name).check()
        assert dockerd.docker("run", "--rm", "--network", "none", name).check().out == "new\n"
        told = json.loads(dockerd.docker("image", "inspect", "--format", "{{json .RepoDigests}}", name).check().out)
        assert told == [f"{beside.host}/team/app@{digest_of(made, 'team/app:v1')}"]
        dockerd.docker("tag", name, back).check()
        pushed = dockerd.docker("push", back).check().out
        assert digest_of(made, back) in pushed
        assert made.cli("run", "--rm", back).check().out == "new\n"
        dockerd.docker("rmi", back, name).check()
        made.cli("rmi", back).check()


def test_podman_and_skopeo_push(made: Engine, hub: Hub, podman: Cli, tmp_path: Path) -> None:
    by_podman, by_skopeo = f"{hub.host}/by/podman:v1", f"{hub.host}/by/skopeo:v1"
    podman("pull", "--tls-verify=false", f"{hub.host}/team/app:v1").check()
    podman("push", "--tls-verify=false", f"{hub.host}/team/app:v1", by_podman).check()
    make.oci_layout(tmp_path / "layout", "v1", [make.busybox_layer(tmp_path)], Cmd=["echo", "by skopeo"])
    source = f"oci:{tmp_path / 'layout'}:v1"
    run(["skopeo", "copy", "--preserve-digests", "--dest-tls-verify=false", source, f"docker://{by_skopeo}"]).check()
    assert made.cli("run", "--rm", by_podman).check().out == "new\n"
    assert made.cli("run", "--rm", by_skopeo).check().out == "by skopeo\n"
    assert remote_digest(by_skopeo) == digest_of(made, by_skopeo)
    kept = Path(made.api("GET", "/info").json["DockerRootDir"]) / "registry/repositories/by"
    assert [one for one in kept.rglob("*") if one.is_file()] == []  # the engine has them: they are not kept twice
    assert ask(hub, "DELETE", "/v2/by/podman/manifests/v1").status == 202
    assert made.cli("image", "inspect", by_podman).code == 1
    made.cli("rmi", by_skopeo).check()


def every(hub: Hub, repository: str, name: str) -> dict[str, bytes]:
    """What a registry has of an index, by digest: each manifest and blob is asked for."""
    answer = ask(hub, "GET", f"/v2/{repository}/manifests/{name}")
    assert answer.status == 200, name
    found, value = {str(answer.headers["Docker-Content-Digest"]): answer.body}, json.loads(answer.body)
    for one in value.get("manifests", ()):
        found |= every(hub, repository, one["digest"])
    for one in [*value.get("layers", ()), *filter(None, [value.get("config")])]:
        found[one["digest"]] = ask(hub, "GET", f"/v2/{repository}/blobs/{one['digest']}").body
    return found


def test_indexes_of_indexes_and_attestations_are_kept_as_they_came(
    made: Engine, hub: Hub, engine: Engine, tmp_path: Path
) -> None:
    layers = [make.busybox_layer(tmp_path)]
    nested = make.index_layout(tmp_path / "nested", f"{hub.host}/nested:v1", layers, nested=True, Cmd=["echo", "in"])
    run(["tar", "-C", str(nested), "-cf", str(tmp_path / "nested.tar"), "."]).check()
    made.load(tmp_path / "nested.tar")
    came = every(hub, "nested", "v1")
    assert set(came) == {f"sha256:{one.name}" for one in (nested / "blobs/sha256").iterdir()}
    name, again = f"{hub.host}/nested:v1", f"{hub.host}/by/nested"
    engine.cli("pull", "--all-platforms", name).check()
    assert engine.cli("run", "--rm", name).check().out == "in\n"
    for tag in ("v1", "v2"):  # of the second one, only the tag is new to the registry
        engine.cli("tag", name, f"{again}:{tag}").check()
        engine.cli("push", f"{again}:{tag}").check()
        assert every(hub, "by/nested", tag) == came
        assert made.cli("run", "--rm", f"{again}:{tag}").check().out == "in\n"
    flat = make.index_layout(tmp_path / "flat", "v1", layers, nested=False, Cmd=["echo", "flat"])
    target = f"docker://{hub.host}/by/skopeo-all:v1"
    copy = ("skopeo", "copy", "--all", "--preserve-digests", "--dest-tls-verify=false")
    run([*copy, f"oci:{flat}:v1", target]).check()
    assert made.cli("run", "--rm", f"{hub.host}/by/skopeo-all:v1").check().out == "flat\n"
    blobs = {f"sha256:{one.name}" for one in (flat / "blobs/sha256").iterdir()}
    assert set(every(hub, "by/skopeo-all", "v1")) == blobs
    # The engine has taken it all.
    kept = Path(made.api("GET", "/info").json["DockerRootDir"]) / "registry/repositories"
    assert [one for one in kept.rglob("*") if one.is_file()] == [], hub.notes()
    made.cli("rmi", name, f"{again}:v1", f"{again}:v2", f"{hub.host}/by/skopeo-all:v1").check()


# --- the protocol, beside what the conformance tests look at


def test_ranges_heads_and_pages(made: Engine, hub: Hub) -> None:
    top = ask(hub, "GET", "/v2/team/app/manifests/v1")
    layer = json.loads(top.body)["layers"][-1]
    target = f"/v2/team/app/blobs/{layer['digest']}"
    whole = ask(hub, "GET", target)
    assert (make.digest(whole.body), make.digest(top.body)) == (layer["digest"], top.headers["Docker-Content-Digest"])
    head = ask(hub, "HEAD", target)
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(layer["size"]))
    for asked, part in (("5-9", whole.body[5:10]), ("-7", whole.body[-7:]), ("20-", whole.body[20:])):
        answer = ask(hub, "GET", target, Range=f"bytes={asked}")
        assert (answer.status, answer.body) == (206, part)
    assert ask(hub, "GET", target, Range="bytes=999999999-").status == 416
    for tag in ("a", "b", "c"):
        made.cli("tag", "team/app:v1", f"team/paged:{tag}").check()
    first = ask(hub, "GET", "/v2/team/paged/tags/list?n=2")
    assert json.loads(first.body) == {"name": "team/paged", "tags": ["a", "b"]}
    following = first.headers["Link"].partition("<")[2].partition(">")[0]
    assert json.loads(ask(hub, "GET", following).body)["tags"] == ["c"]
    listed = json.loads(ask(hub, "GET", "/v2/_catalog").body)["repositories"]
    assert {"busybox", "team/app", "team/paged"} <= set(listed)
    made.cli("rmi", "team/paged:a", "team/paged:b", "team/paged:c").check()


HOSTILE = [
    "/v2/../../etc/passwd", "/v2/team/app/blobs/sha256:../../../../etc/passwd", "/v2/team/app/blobs/uploads/..",
    "/v2/team/app/manifests/..%2f..%2fconfig", "/v2/team/..%2f../manifests/v1", "/v2/UPPER/tags/list", "/",
    "/v2/team/app/blobs/md5:00", "/v2/" + "a/" * 4000 + "tags/list", "/v2/team/app/manifests/" + "x" * 200, "/token",
]  # fmt: skip


@pytest.mark.parametrize("target", HOSTILE, ids=lambda target: target[:40])
def test_strange_paths_lead_nowhere(hub: Hub, target: str) -> None:
    assert ask(hub, "GET", target).status in (400, 404, 414)


def test_strange_manifests_are_refused(hub: Hub) -> None:
    for content in (b"", b"[]", b"{", b'{"layers": 1}', b'{"config": []}', b"[" * 50_000, b" " * (5 << 20)):
        kind = "application/vnd.oci.image.manifest.v1+json"
        answer = ask(hub, "PUT", "/v2/strange/manifests/x", content, Content_Type=kind)
        assert answer.status in (400, 413), content[:20]
    unknown = json.dumps({"layers": [{"digest": "sha256:" + "0" * 64, "size": 1}]}).encode()
    assert ask(hub, "PUT", "/v2/strange/manifests/x", unknown, Content_Type="x/y").status == 404
    assert ask(hub, "GET", "/v2/strange/tags/list").status == 404


def test_an_upload_that_breaks_off_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    content = random.Random(6).randbytes(8_000_000)
    blob = Descriptor(OCI_LAYER, Digest(make.digest(content)), len(content))
    (tmp_path / "blob").write_bytes(content)
    relay = CuttingRelay(hub.port, [3_000_000, 3_000_000])
    try:
        with Uploads(references.parse(f"127.0.0.1:{relay.port}/broken"), wait=lambda _: None) as uploads:
            uploads.ping()
            uploads.blob(blob, lambda: (tmp_path / "blob").open("rb"), lambda _: None)
            assert uploads.has(blob)
    finally:
        relay.close()
    assert len(content) < relay.sent < 1.5 * len(content)
    assert make.digest(ask(hub, "GET", f"/v2/broken/blobs/{blob.digest}").body) == blob.digest


# --- who may what


def test_only_what_was_chosen_is_served_and_only_to_be_read(made: Engine, engine: Engine) -> None:
    made.cli("tag", "busybox", "hidden:v1").check()
    other = made.api("GET", "/images/team/app:v1/json").json["Id"]
    with Hub(made, "busybox") as small:
        assert json.loads(ask(small, "GET", "/v2/_catalog").body)["repositories"] == ["busybox", "hidden"]
        assert ask(small, "GET", "/v2/team/app/manifests/v1").status == 404
        assert ask(small, "GET", f"/v2/busybox/blobs/{other}").status == 404
        engine.cli("pull", f"{small.host}/busybox").check()
        engine.cli("tag", f"{small.host}/busybox", f"{small.host}/mine").check()
        refused = engine.cli("push", f"{small.host}/mine")
        assert refused.code == 1
        assert "this registry was not started with --allow-push" in refused.err
        assert ask(small, "DELETE", "/v2/busybox/manifests/latest").status == 403
    with pytest.raises(AssertionError, match="No such image: no-such:latest"):
        Hub(made, "no-such")
    made.cli("rmi", "hidden:v1").check()


@pytest.mark.parametrize("way", ["basic", "token"])
def test_users_show_who_they_are(made: Engine, engine: Engine, tmp_path: Path, way: str) -> None:
    hashed = subprocess.run(["openssl", "passwd", "-6", "secret"], capture_output=True, check=True, text=True).stdout
    (tmp_path / "users").write_text(f"me:{hashed}")
    with Hub(made, "--allow-push", "--htpasswd", str(tmp_path / "users"), "--auth", way) as guarded:
        name = f"{guarded.host}/team/app:v1"
        assert ask(guarded, "GET", "/v2/").status == 401
        assert engine.cli("pull", name).code == 1
        assert engine.cli("login", "-u", "me", "-p", "guess", guarded.host).code == 1
        engine.cli("login", "-u", "me", "-p", "secret", guarded.host).check()
        engine.cli("pull", name).check()
        engine.cli("tag", name, f"{guarded.host}/by/me:{way}").check()
        engine.cli("push", f"{guarded.host}/by/me:{way}").check()
        made.cli("rmi", f"{guarded.host}/by/me:{way}").check()
        run(["skopeo", "inspect", "--tls-verify=false", "--creds", "me:secret", f"docker://{name}"]).check()
        assert run(["skopeo", "inspect", "--tls-verify=false", "--creds", "me:guess", f"docker://{name}"]).code


def test_tls_with_a_certificate(made: Engine, engine: Engine, tmp_path: Path) -> None:
    if problem := openssl_problem():
        pytest.skip(problem)
    authority = Authority.make(tmp_path / "authority", "ours")
    own = authority.issue("registry", "serverAuth", names="IP:127.0.0.1")
    with Hub(made, "--cert", str(own / "cert.pem"), "--key", str(own / "key.pem")) as secure:
        assert secure.said.startswith("Serving on https://")
        context = ssl.create_default_context(cafile=authority.certificate)
        connection = http.client.HTTPSConnection(secure.host, context=context, timeout=30)
        try:
            connection.request("GET", "/v2/busybox/manifests/latest")
            layer = json.loads(connection.getresponse().read())["layers"][0]
            connection.request("GET", f"/v2/busybox/blobs/{urllib.parse.quote(layer['digest'])}")
            assert make.digest(connection.getresponse().read()) == layer["digest"]
        finally:
            connection.close()
        engine.cli("pull", f"{secure.host}/team/app:v1").check()
    with pytest.raises(AssertionError, match="a certificate and its key go together"):
        Hub(made, "--cert", str(own / "cert.pem"))


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...]]:
    """A directory as ``--cert-dir`` wants it, and a registry's options for TLS and users, of whom one is ``me``."""
    if problem := openssl_problem():
        pytest.skip(problem)
    where = tmp_path_factory.mktemp("certified")
    authority = Authority.make(where / "authority", "ours")
    own = authority.issue("registry", "serverAuth", names="IP:127.0.0.1")
    (where / "trusted").mkdir()
    shutil.copy(authority.certificate, where / "trusted/ca.crt")
    hashed = subprocess.run(["openssl", "passwd", "-6", "secret"], capture_output=True, check=True, text=True).stdout
    (where / "users").write_text(f"me:{hashed}")
    options = ("--cert", str(own / "cert.pem"), "--key", str(own / "key.pem"), "--htpasswd", str(where / "users"))
    return where / "trusted", ("--allow-push", *options)


@pytest.mark.parametrize("way", ["basic", "token"])
def test_podman_and_skopeo_show_who_they_are_over_tls(
    made: Engine, podman: Cli, certified: tuple[Path, tuple[str, ...]], tmp_path: Path, way: str
) -> None:
    trusted, options = str(certified[0]), certified[1]
    with Hub(made, *options, "--auth", way) as guarded:
        name, by_podman, by_skopeo = (f"{guarded.host}/{one}:v1" for one in ("team/app", "podman/tls", "skopeo/tls"))
        assert podman("pull", "--creds", "me:secret", name).code  # nobody vouches for it
        assert podman("pull", "--cert-dir", trusted, name).code
        assert podman("pull", "--cert-dir", trusted, "--creds", "me:guess", name).code
        podman("pull", "--cert-dir", trusted, "--creds", "me:secret", name).check()
        assert podman("run", *_BOUNDED, name).check().out == "new\n"
        podman("push", "--cert-dir", trusted, "--creds", "me:secret", name, by_podman).check()
        source, target, back = f"docker://{name}", f"dir:{tmp_path / 'copy'}", f"docker://{by_skopeo}"
        run(["skopeo", "copy", "--src-cert-dir", trusted, "--src-creds", "me:secret", source, target]).check()
        to = ("--dest-cert-dir", trusted, "--dest-creds", "me:secret")
        run(["skopeo", "copy", "--preserve-digests", *to, target, back]).check()
        assert digest_of(made, by_skopeo) == digest_of(made, "team/app:v1")
        for one in (by_podman, by_skopeo):
            assert made.cli("run", "--rm", one).check().out == "new\n"
            made.cli("rmi", one).check()
        podman("rmi", name).check()


@pytest.mark.dockerd
@pytest.mark.parametrize("way", ["basic", "token"])
def test_docker_shows_who_it_is_over_tls(
    made: Engine, dockerd: Dockerd, certified: tuple[Path, tuple[str, ...]], way: str
) -> None:
    within = ("nsenter", f"--net=/proc/{dockerd.pid}/ns/net", "--")
    with Hub(made, *certified[1], "--auth", way, within=within) as guarded:
        assert guarded.said.startswith("Serving on https://")
        name, back = f"{guarded.host}/team/app:v1", f"{guarded.host}/by/docker:v2"
        assert dockerd.docker("pull", name).code
        assert dockerd.docker("login", "-u", "me", "-p", "guess", guarded.host).code
        dockerd.docker("login", "-u", "me", "-p", "secret", guarded.host).check()
        dockerd.docker("pull", name).check()
        assert dockerd.docker("run", "--rm", "--network", "none", name).check().out == "new\n"
        dockerd.docker("tag", name, back).check()
        dockerd.docker("push", back).check()
        assert made.cli("run", "--rm", back).check().out == "new\n"
        dockerd.docker("rmi", back, name).check()
        dockerd.docker("logout", guarded.host).check()
        made.cli("rmi", back).check()


def test_an_engine_that_is_away_is_told_and_comes_back(engine: Engine, busybox: str) -> None:
    with Hub(engine) as lonely:
        assert ask(lonely, "GET", "/v2/busybox/manifests/latest").status == 200
        engine.kill()
        assert ask(lonely, "GET", "/v2/busybox/manifests/other").status == 503
        engine.start()
        assert ask(lonely, "GET", "/v2/busybox/manifests/other").status == 404
        assert ask(lonely, "GET", "/v2/busybox/manifests/latest").status == 200
