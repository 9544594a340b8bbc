"""Git repositories: as contexts, and as sources of ADD."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import contexts
from tests.support.command import Result
from tests.support.engine import Engine
from tests.support.git import BACKEND, commit, git, repository, served
from tests.support.process import command_line, descendants, wait_until

pytestmark = [
    pytest.mark.root, pytest.mark.network,
    pytest.mark.skipif(not BACKEND.exists(), reason="git is not installed"),
]  # fmt: skip
TOKEN = "token-of-nobody"


class Site:
    """A server with a repository that has branches, tags, a subdirectory, links, and submodules."""

    def __init__(self, root: Path, url: str) -> None:
        self.url = url
        inner = repository(root / "inner.git", {"in": "inner"})
        files = {
            "Dockerfile": "FROM busybox\nCOPY . /c\n", "f": "one", "d/Dockerfile": "FROM busybox\nCOPY . /d\n",
            "d/g": "below", "l": "-> d/g", "out": "-> /etc/passwd", "d/.dockerignore": "ignored\n", "d/ignored": "",
            ".gitattributes": "f export-ignore\n*.t export-subst\n", "v.t": "$Format:%H$",
        }  # fmt: skip
        self.made = repository(root / "made.git", files)
        self.first = git(self.made, "rev-parse", "HEAD")
        git(self.made, "tag", "-a", "-m", "t", "v1")
        git(self.made, "checkout", "-q", "-b", "other")
        self.other = commit(self.made, {"f": "other"})
        git(self.made, "checkout", "-q", "main")
        module = '[submodule "x"]\n\tpath = mods/inner\n\turl = ../inner.git\n\tupdate = !touch /pwned\n'
        (self.made / ".gitmodules").write_text(module)
        head = git(inner, "rev-parse", "HEAD")
        git(self.made, "update-index", "--add", "--cacheinfo", f"160000,{head},mods/inner")
        git(self.made, "add", ".gitmodules")
        git(self.made, "commit", "-q", "-m", "two")
        self.second = git(self.made, "rev-parse", "HEAD")
        repository(root / "private/p.git", {"Dockerfile": "FROM busybox\nCOPY f /f\n", "f": "private"})


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("git")
    with served(root, f"x-access-token:{TOKEN}") as url:
        yield Site(root, url)


def shown(engine: Engine, script: str) -> str:
    return engine.docker("run", "--rm", "--entrypoint", "sh", "made", "-c", script).check().out


def add(engine: Engine, where: Path, lines: str, *options: str) -> Result:
    where = contexts.directory(where, f"FROM busybox\n{lines}\n")
    return engine.cli("build", "-t", "made", *options, str(where), timeout=110)


def test_a_context(shared_engine: Engine, site: Site) -> None:
    shared_engine.cli("build", "-t", "made", f"{site.url}/made.git", timeout=110).check()
    look = "cat /c/f /c/l /c/v.t /c/mods/inner/in; readlink /c/out; ls -A /c; stat -c %a:%u /c/f /c/d"
    assert shown(shared_engine, look).split() == [
        "onebelow$Format:%H$inner/etc/passwd", ".gitattributes", ".gitmodules", "Dockerfile", "d", "f", "l", "mods",
        "out", "v.t", "644:0", "755:0",
    ]  # fmt: skip
    again = shared_engine.cli("build", f"{site.url}/made.git", timeout=110).check()
    assert "Using cache" in again.err


@pytest.mark.parametrize(("ref", "content"), [("other", "other"), ("v1", "one"), ("refs/heads/other", "other")])
def test_refs(shared_engine: Engine, site: Site, ref: str, content: str) -> None:
    shared_engine.cli("build", "-t", "made", f"{site.url}/made.git#{ref}", timeout=110).check()
    assert shown(shared_engine, "cat /c/f; ls -d /c/mods 2>/dev/null || true") == content


def test_commits_and_subdirectories(shared_engine: Engine, site: Site) -> None:
    for commit_ in (site.first, site.first[:12]):
        shared_engine.cli("build", "-t", "made", f"{site.url}/made.git#{commit_}:d", timeout=110).check()
        assert shown(shared_engine, "ls -A /d").split() == [".dockerignore", "Dockerfile", "g"]
    query = f"{site.url}/made.git?branch=other&subdir=d&checksum={site.other}"
    shared_engine.cli("build", "-t", "made", "-f", "Dockerfile", query, timeout=110).check()
    assert shown(shared_engine, "cat /d/g") == "below"


@pytest.mark.parametrize(
    ("tail", "cause"),
    [
        ("made.git#nowhere", "couldn't find remote ref nowhere"),
        ("made.git#main:nowhere", "subdir nowhere is not in the repository"),
        ("made.git?branch=main&checksum=0000000", "expected checksum to match 0000000"),
        ("none.git", "git http://127.0.0.1"),
        ("made.git#-x", "begins with a dash"),
    ],
)
def test_what_is_not_there(shared_engine: Engine, site: Site, tail: str, cause: str) -> None:
    refused = shared_engine.cli("build", f"{site.url}/{tail}", timeout=110)
    assert refused.code == 1
    assert cause in refused.err


def test_the_api_and_its_clients(shared_engine: Engine, site: Site) -> None:
    answer = shared_engine.api("POST", f"/build?t=made&remote={site.url}/made.git%23v1:d").check()
    assert b"Successfully tagged made:latest" in answer.body
    assert shown(shared_engine, "cat /d/g") == "below"
    url = f"{site.url}/made.git#other:d"  # which docker's command clones itself
    shared_engine.docker("build", "-t", "made", "--no-cache", url, env={"DOCKER_BUILDKIT": "0"}, timeout=110).check()
    assert shown(shared_engine, "ls -A /d").split() == [".dockerignore", "Dockerfile", "g"]


def test_a_repository_that_wants_a_token(shared_engine: Engine, site: Site, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    url = f"{site.url}/private/p.git"
    refused = shared_engine.cli("build", url, timeout=110)
    assert (refused.code, "ERROR: git " in refused.err) == (1, True)
    secret = ("--secret", f"id=GIT_AUTH_TOKEN,src={tmp_path / 'token'}")
    said = shared_engine.cli("build", "-t", "made", *secret, url, timeout=110).check()
    assert shown(shared_engine, "cat /f") == "private"
    with_password = url.replace("://", f"://x-access-token:{TOKEN}@")
    direct = shared_engine.cli("build", "-t", "made", "--no-cache", with_password, timeout=110).check()
    wrong = shared_engine.cli("build", with_password.replace("p.git", "q.git"), timeout=110)
    assert wrong.code == 1
    assert TOKEN not in said.err + direct.err + wrong.err + shared_engine.said()


def test_add(shared_engine: Engine, site: Site, tmp_path: Path) -> None:
    url = f"{site.url}/made.git"
    add(
        shared_engine, tmp_path,
        f"ADD {url} /whole\nADD --keep-git-dir=true {url}#v1 /kept\nADD {url}#other:d /below/\n"
        f"ADD --checksum={site.second[:10]} --chown=7:8 {url}#main /checked\n"
        f"ADD {url}?submodules=false /without\nADD --exclude=d --exclude=.git* {url}#v1 /some\n",
    ).check()  # fmt: skip
    look = (
        "cat /whole/f /whole/mods/inner/in /below/g; ls -A /below /some; cat /kept/.git/HEAD;"
        " ls -d /whole/.git /checked/.git; stat -c %u:%g /checked/f; ls -A /without/mods /without/mods/inner; true"
    )
    assert shown(shared_engine, look).split() == [
        "oneinnerbelow/below:", ".dockerignore", "Dockerfile", "g", "ignored", "/some:", "Dockerfile", "f", "l", "out",
        "v.t", site.first, "7:8", "/without/mods:", "inner", "/without/mods/inner:",
    ]  # fmt: skip
    assert not Path("/pwned").exists()
    kept = tmp_path / "kept"
    shared_engine.docker("create", "--name", "kept", "made").check()
    try:
        shared_engine.docker("cp", "kept:/kept", str(kept)).check()
    finally:
        shared_engine.docker("rm", "kept").check()
    settings = ("-c", "safe.directory=*")
    assert git(kept, *settings, "rev-parse", "HEAD") == site.first
    assert git(kept, *settings, "status", "--porcelain") == ""
    assert git(kept, *settings, "remote", "get-url", "origin") == url


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        ("ADD --checksum=0000000 {url}#main /x", "expected checksum to match 0000000"),
        ("ADD --checksum=sha256:00 {url} /x", "expected the hash of a commit"),
        ("ADD --keep-git-dir=true {url}?keep-git-dir=false /x", "inconsistent keep-git-dir configuration"),
        ("COPY {url} /x", "source can't be a git ref for COPY"),
    ],
)
def test_add_refuses(shared_engine: Engine, site: Site, tmp_path: Path, line: str, cause: str) -> None:
    refused = add(shared_engine, tmp_path, line.format(url=f"{site.url}/made.git"))
    assert refused.code == 1
    assert cause in refused.err


def test_a_submodule_that_is_no_repository_elsewhere(shared_engine: Engine, site: Site, tmp_path: Path) -> None:
    root = site.made.parent
    urls = ("file:///etc", "ext::sh -c touch% /pwned", "--upload-pack=touch /pwned", "/etc/.git")
    for number, url in enumerate(urls):
        where = repository(root / f"hostile{number}.git", {"f": ""})
        (where / ".gitmodules").write_text(f'[submodule "x"]\n\tpath = m\n\turl = {url}\n')
        git(where, "update-index", "--add", "--cacheinfo", f"160000,{site.first},m")
        git(where, "add", ".gitmodules")
        git(where, "commit", "-q", "-m", "two")
        refused = add(shared_engine, tmp_path, f"ADD {site.url}/hostile{number}.git /x")
        assert (refused.code, "which is not fetched" in refused.err) == (1, True)
    assert not Path("/pwned").exists()


def test_a_named_context(shared_engine: Engine, site: Site, tmp_path: Path) -> None:
    named = ("--build-context", f"repo={site.url}/made.git#other:d")
    add(shared_engine, tmp_path, "COPY --from=repo g /g", *named).check()
    assert shown(shared_engine, "cat /g") == "below"


@contextmanager
def sshd(where: Path, key: Path) -> Iterator[int]:
    """A server of ssh that lets one key in; its port."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(where / "host")], check=True)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where Debian's wants to leave its privileges
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (where / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {where}/host\nAuthorizedKeysFile {key}.pub\nStrictModes no\n"
        "UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nPidFile none\n"
    )
    command = ("/usr/sbin/sshd", "-D", "-e", "-f", str(where / "config"))
    with subprocess.Popen(command, stderr=subprocess.PIPE) as server:
        try:
            assert server.stderr is not None
            assert b"listening" in server.stderr.readline()
            yield port
        finally:
            server.terminate()


@pytest.mark.skipif(not Path("/usr/sbin/sshd").exists(), reason="openssh-server is not installed")
def test_through_ssh_with_an_agent(shared_engine: Engine, site: Site, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    (tmp_path / "server").mkdir()
    with sshd(tmp_path / "server", key) as port:
        url = f"ssh://root@127.0.0.1:{port}{site.made}"
        given = ("--ssh", f"default={key}")
        add(shared_engine, tmp_path / "c", f"ADD {url}#v1 /repo", *given).check()
        assert shown(shared_engine, "cat /repo/f") == "one"
        shared_engine.cli("build", "-t", "made", *given, f"{url}#other:d", timeout=110).check()
        assert shown(shared_engine, "cat /d/g") == "below"
        refused = add(shared_engine, tmp_path / "c", f"ADD {url}#v1 /repo", "--no-cache")
        assert (refused.code, f"git {url}: " in refused.err) == (1, True)
        (tmp_path / "server/host").unlink()
    known = (shared_engine.root / "known_hosts").read_text()
    assert f"[127.0.0.1]:{port} ssh-ed25519 " in known


def _gits(engine: Engine) -> list[int]:
    return [pid for pid in descendants(engine.pid) if "ls-remote" in command_line(pid)]


def test_a_client_that_goes_ends_what_fetches_for_it(shared_engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = shared_engine.cli.command("build", f"http://127.0.0.1:{silent.getsockname()[1]}/never.git")
        with subprocess.Popen(command, env=shared_engine.cli.environment, stderr=subprocess.DEVNULL) as client:
            connection, _ = silent.accept()
            with connection:
                assert _gits(shared_engine) != []
                client.kill()
                wait_until(lambda: not _gits(shared_engine), "the end of git")


def test_nothing_is_left(shared_engine: Engine, site: Site) -> None:
    staging = shared_engine.root / "staging"
    wait_until(lambda: not list(staging.glob("git-*")), "the end of what was fetched")
