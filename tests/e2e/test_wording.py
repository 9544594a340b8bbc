"""What is refused, is refused in the same words and with the same exit code by Corten's command line and Docker's."""

from __future__ import annotations

import re
import shlex
import shutil

import pytest

from tests.support.command import Cli, Result
from tests.support.engine import Engine

pytestmark = [pytest.mark.root, pytest.mark.network]
REFUSED_FLAGS = """
--env-file /no/such/file
--env-file {bad}
--ulimit nofile=64:32
--ulimit bogus=1
--ulimit nofile
--device /dev/null:/dev/foo:xyz
--sysctl kernel.panic=1
--sysctl bogus
--security-opt seccomp=/no/such/file
--security-opt bogus
--restart on-failure:x
--restart bogus
--restart always:3
--restart always --rm
--log-driver bogus
--log-opt max-size=abc
--cpuset-cpus 77
--cpus -1
--cpus abc
-m abc
-m 4m
-m 64m --memory-swap 32m
--shm-size abc
--add-host bad
--add-host foo:999.1.1.1
--dns bad
-p 99999:80
-p 80:abc
-p 1:2:3:4
--stop-signal BOGUS
--name 'bad name'
--pull bogus
--pull never no-such-image:none
--platform bogus
--cap-add BOGUS
--tmpfs relative
--network no-such
--network container:no-such
--uts bogus
--pid bogus
--userns bogus
--cgroupns bogus
--uts host --hostname own
--mac-address zz
--ip 1.2.3.4
--storage-opt size=1g
--link no-such
--mount type=bind,target=/x
--mount type=bind,source=/tmp,target=/x,bogus=1
--mount type=tmpfs,source=/tmp,target=/x
--mount type=bogus,target=/x
--mount type=bind,source=/tmp,target=/x,bind-recursive=writable
-v /tmp:/
-v /tmp:/x:bogus
-v a:b:c:d
-w relative
-a stdout -d
--no-such-flag
""".strip().splitlines()
REFUSED = """
rename no-such other
update no-such
update -m abc no-such
inspect --format '{{.Id' busybox
inspect --format '{{.Nothing}}' busybox
inspect no-such
cp x y
cp a:/x b:/y
cp no-such:/x /tmp
volume create -d bogus name
volume rm no-such
ps --filter bogus=1
ps --filter exited=abc
ps --filter status=bogus
logs no-such
stop -t abc no-such
start no-such
tag no-such x:y
rmi no-such
history no-such
load -i /no/such/file
image inspect no-such
container inspect no-such
exec no-such true
port no-such
commit no-such
commit busybox NAME
commit no-such x@sha256:0000000000000000000000000000000000000000000000000000000000000000
commit no-such name --pause=perhaps
push NAME
push no-such:tag
push -a no-such:tag
push x@sha256:0000000000000000000000000000000000000000000000000000000000000000
push --platform linux/riscv64 busybox
search --limit 1000 busybox
search --filter bogus=1 busybox
search --filter bogus busybox
search 127.0.0.1:1/x
image inspect --platform linux/riscv64 busybox
history --platform linux/riscv64 busybox
history --platform a/b/c/d busybox
image inspect --platform a/b/c/d busybox
ps --filter bogus
""".strip().splitlines()


def said(result: Result) -> tuple[int, str]:
    """Exit code and standard error, with one name for both programs."""
    text = re.sub(r"\bcorten(?=:| [a-z])", "docker", result.err)
    return result.code, re.sub(r"\b[0-9a-f]{64}\b", "<id>", text)


@pytest.fixture(scope="module")
def both(shared_engine: Engine) -> tuple[Cli, Cli]:
    """Corten's command line and Docker's, on one engine."""
    if not shutil.which("docker"):
        pytest.skip("the docker command line is not installed")
    return shared_engine.cli, shared_engine.docker


@pytest.mark.parametrize("flags", REFUSED_FLAGS)
def test_flags_of_run(both: tuple[Cli, Cli], flags: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    bad = tmp_path_factory.getbasetemp() / "bad.env"
    bad.write_text("A=1\n=no name\n")
    image = [] if "no-such-image" in flags else ["busybox"]
    words = ["run", *shlex.split(flags.replace("{bad}", str(bad))), *image, "true"]
    ours, theirs = (cli(*words) for cli in both)
    assert ours.code != 0
    assert said(ours) == said(theirs)


@pytest.mark.parametrize("line", REFUSED)
def test_commands(both: tuple[Cli, Cli], line: str) -> None:
    ours, theirs = (cli(*shlex.split(line)) for cli in both)
    assert ours.code != 0
    assert said(ours) == said(theirs)
