"""``RUN --mount=type=ssh``: an agent that answers for as long as the step runs, and is kept nowhere."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from corten.wire import sshagent
from tests.support import contexts
from tests.support.command import Result
from tests.support.engine import Engine
from tests.support.process import wait_until
from tests.support.user import User

pytestmark = [
    pytest.mark.root, pytest.mark.network,
    pytest.mark.skipif(not shutil.which("ssh-agent"), reason="openssh-client is not installed"),
    pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed"),
]  # fmt: skip
LISTS_KEYS = b"\0\0\0\1\x0b"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Path]:
    """A real agent with one key; its socket."""
    path = tmp_path / "agent.sock"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL) as process:
        try:
            wait_until(path.exists, "the agent's socket")
            key = str(tmp_path / "key")
            making = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "of-a-test", "-f", key)
            subprocess.run(making, check=True)
            subprocess.run(["ssh-add", "-q", key], check=True, env={**os.environ, "SSH_AUTH_SOCK": str(path)})
            yield path
        finally:
            process.terminate()


def build(engine: Engine, where: Path, dockerfile: str, *options: str, env: Mapping[str, str] | None = None) -> Result:
    where = contexts.directory(where, dockerfile)
    return engine.cli("build", "-t", "made", *options, str(where), timeout=110, env=env)


def shown(engine: Engine, script: str) -> str:
    return engine.docker("run", "--rm", "--entrypoint", "sh", "made", "-c", script).check().out


def keys(path: Path) -> bytes:
    """What an agent answers to who asks for its keys."""
    reader = sshagent.MessageReader()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(LISTS_KEYS)
        while not (found := reader.receive(connection.recv(65536))):
            continue
    return found[0]


_ASK_C = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sockaddr_un a = {AF_UNIX};
    unsigned char m[5] = {0, 0, 0, 1, atoi(argv[1])}, b[65536];
    strncpy(a.sun_path, argc > 2 ? argv[2] : getenv("SSH_AUTH_SOCK"), sizeof a.sun_path - 1);
    int s = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(s, (void *)&a, sizeof a)) { perror("connect"); return 1; }
    if (write(s, m, 5) != 5) return 1;
    size_t have = 0, want = 4;
    while (have < want) {
        ssize_t n = read(s, b + have, sizeof b - have);
        if (n <= 0) return 2;
        have += n;
        if (have >= 4) want = 4 + (b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3]);
    }
    for (size_t i = 0; i < have; i++) printf("%02x", b[i]);
    puts("");
    return 0;
}
"""


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a static program ``ask TYPE [SOCKET]``, which shows an agent's answer in hex."""
    where = tmp_path_factory.mktemp("tools")
    (where / "ask.c").write_text(_ASK_C)
    subprocess.run(["gcc", "-static", "-O1", "-o", str(where / "ask"), str(where / "ask.c")], check=True)
    return where


def test_a_command_asks_the_agent(shared_engine: Engine, agent: Path, tools: Path, tmp_path: Path) -> None:
    dockerfile = (
        "FROM busybox\nCOPY --from=tools ask /\n"
        "RUN --mount=type=ssh /ask 11 > /keys; /ask 19 > /removed; echo $SSH_AUTH_SOCK > /name;"
        " stat -c %a:%u $SSH_AUTH_SOCK > /mode\n"
        "RUN --mount=type=ssh,id=other,target=/run/o.sock,mode=666,uid=7 /ask 11 /run/o.sock > /others;"
        " stat -c %a:%u $SSH_AUTH_SOCK >> /mode; echo $SSH_AUTH_SOCK >> /name\n"
        "RUN --mount=type=ssh,id=nobody echo ${SSH_AUTH_SOCK:-none} >> /name\n"
        "RUN ls -A /run /run/buildkit 2>/dev/null; echo ${SSH_AUTH_SOCK:-none} >> /name\n"
    )
    options = ("--build-context", f"tools={tools}", "--ssh", "default", "--ssh", f"other={agent}")
    said = build(shared_engine, tmp_path / "c", dockerfile, *options, env={"SSH_AUTH_SOCK": str(agent)}).check()
    answer = keys(agent).hex()
    assert b"of-a-test".hex() in answer
    assert shown(shared_engine, "cat /keys /others").split() == [answer, answer]
    assert shown(shared_engine, "cat /removed").strip() == sshagent.FAILURE.hex()  # not asked of the agent at all
    assert keys(agent).hex() == answer
    assert shown(shared_engine, "cat /name /mode").split() == [
        "/run/buildkit/ssh_agent.0", "/run/o.sock", "none", "none", "600:0", "666:7",
    ]  # fmt: skip
    assert shown(shared_engine, "ls -d /run || true") == ""
    told = shared_engine.api("GET", "/images/made/history").check().body.decode() + shared_engine.said() + said.err
    assert str(agent) not in told
    assert [path for path in shared_engine.names.run.rglob("agent*") if path.exists()] == []
    again = build(shared_engine, tmp_path / "c", dockerfile, *options[:2]).check()
    assert again.err.count("Using cache") == 5  # what an agent answers is in no key


def test_a_key_has_an_agent_of_its_own(shared_engine: Engine, agent: Path, tools: Path, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nCOPY --from=tools ask /\nRUN --mount=type=ssh,id=k,required=true /ask 11 > /keys\n"
    options = ("--no-cache", "--build-context", f"tools={tools}")
    build(shared_engine, tmp_path / "c", dockerfile, *options, "--ssh", f"k={tmp_path / 'key'}").check()
    assert shown(shared_engine, "cat /keys").strip() == keys(agent).hex()
    refused = build(shared_engine, tmp_path / "c", dockerfile, *options)
    assert refused.code == 1
    assert "ERROR: ssh k: no agent was given" in refused.err


def test_an_ordinary_users_engine(ordinary_user: User, tools: Path) -> None:
    key, shared = ordinary_user.home / "key", ordinary_user.home / "tools"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "of-a-user", "-f", str(key)], check=True)
    shared.mkdir()
    shutil.copy(tools / "ask", shared)
    shutil.chown(key, ordinary_user.name)
    dockerfile = "FROM busybox\nCOPY --from=tools ask /\nRUN --mount=type=ssh,required=true /ask 11 > /keys\n"
    options = ("--network", "none", "-t", "made", "--build-context", f"tools={shared}", "--ssh", f"default={key}")
    ordinary_user.cli("build", *options, "-", stdin=dockerfile.encode()).check()
    told = ordinary_user.cli("run", "--rm", "--network", "none", "made", "cat", "/keys").check().out
    assert b"of-a-user".hex() in told


def test_what_is_no_agent(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\n"
    for option, cause in (("default", "invalid empty ssh agent socket"), (f"a={tmp_path / 'none'}", "no such file"),
                          ("=x", "it needs ID"), (f"a={__file__}", "ssh-add does not take it")):  # fmt: skip
        refused = build(shared_engine, tmp_path / "c", dockerfile, "--ssh", option, env={"SSH_AUTH_SOCK": ""})
        assert refused.code != 0
        assert cause in refused.err


def test_an_agent_that_dies_is_a_closed_connection(
    shared_engine: Engine, agent: Path, tools: Path, tmp_path: Path
) -> None:
    dockerfile = "FROM busybox\nCOPY --from=tools ask /\nRUN --mount=type=ssh /ask 11; echo code $?\n"
    dead = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(dead))
    options = ("--no-cache", "--build-context", f"tools={tools}", "--ssh", f"default={dead}")
    said = build(shared_engine, tmp_path / "c", dockerfile, *options).check()
    assert "\ncode 2\n" in said.err
