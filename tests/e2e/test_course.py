"""A first Docker course, command by command: by Corten's command line, by Docker's, and beside dockerd.

A lesson is a list of command lines, each with the exit code it must end with in front when that is not 0; a
star means that dockerd 20.10, which may be the peer, ended it otherwise. They run in order on one engine;
``{dir}`` is a directory of the test's.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.support.command import Cli
from tests.support.dockerd import Dockerd
from tests.support.engine import Engine

pytestmark = pytest.mark.root

LESSONS = {
    "the first container": """
        run --rm busybox echo hello
        3   run --rm busybox sh -c 'exit 3'
        137 run --rm busybox sh -c 'sh -c "kill -9 \\$\\$"; exit $?'
        127 run --rm busybox no-such-command
        126 run --rm busybox /etc/passwd
        125 run --rm --no-such-flag busybox true
        125 run --rm --pull never no-such-image:none true
    """,
    "what a container is told": """
        run --rm -e A=1 -e B=two busybox sh -c 'echo $A $B'
        run --rm -w /tmp busybox pwd
        run --rm -u alice busybox id
        run --rm -u 1234:5678 busybox id -u
        run --rm --hostname box busybox hostname
        run --rm --entrypoint echo busybox one two
        run --rm --read-only busybox sh -c 'touch /x || echo read-only'
        run --rm --tmpfs /scratch:size=1m busybox sh -c 'grep /scratch /proc/mounts | cut -d" " -f1-3'
        run --rm --add-host zulu:10.1.2.3 busybox grep zulu /etc/hosts
        run --rm --init busybox sh -c 'cat /proc/1/comm | wc -l'
        run --rm busybox sh -c 'grep CapEff /proc/self/status'
        run --rm --cap-drop ALL --cap-add CHOWN busybox sh -c 'grep CapEff /proc/self/status'
        run --rm --network none busybox sh -c 'ls /sys/class/net'
        run --rm --ulimit nofile=64:128 busybox sh -c 'ulimit -n; ulimit -Hn'
        run --rm --shm-size 1m busybox sh -c 'df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2'
        run --rm --sysctl net.ipv4.ip_forward=0 busybox cat /proc/sys/net/ipv4/ip_forward
    """,
    "in the background": """
        run -d --name web busybox sleep 1000
        ps --format '{{.Names}} {{.Image}} {{.Command}} {{.State}}'
        ps -q --filter name=web
        ps
        125 run --name web busybox true
        exec web echo inside
        4   exec web sh -c 'exit 4'
        126* exec -w /no/such/place web pwd
        126* exec -w relative web pwd
        126* exec -u no-such-user web true
        exec web sh -c '[ ! -e /no ] && [ ! -e /relative ] && echo clean'
        127* exec web no-such-command
        exec -e A=1 -w /tmp -u alice web sh -c 'echo $A $PWD; id -un'
        pause web
        ps -a --filter name=web --format '{{.State}}'
        1   exec web true
        unpause web
        rename web site
        top site -o pid,comm
        1   rm site
        stop -t 0 site
        ps -a --filter name=site --format '{{.State}}'
        1   exec site true
        start site
        restart -t 0 site
        kill site
        wait site
        rm site
        1   rm site
        1   inspect site
    """,
    "output": """
        run --name talker busybox sh -c 'echo out; echo err >&2'
        logs talker
        0*  logs -n 1 talker
        logs --tail 0 talker
        start talker
        wait talker
        logs talker
        start -a talker
        1   logs no-such-container
        rm talker
        run --name silent --log-driver none busybox echo seen
        1   logs silent
        rm silent
    """,
    "looking closely": """
        create --name box --label a=b -e X=y -m 64m --memory-swap 64m busybox sh -c true
        inspect --format '{{.Name}} {{.State.Status}} {{.Config.Image}}' box
        inspect --format '{{json .Config.Labels}}' box
        inspect --format '{{json .Config.Cmd}} {{.Path}} {{json .Args}}' box
        0*  inspect --format '{{.HostConfig.Memory}} {{.HostConfig.NetworkMode}}' box
        inspect --format '{{.State.ExitCode}} {{.RestartCount}}' box
        inspect --format '{{range .Config.Env}}{{println .}}{{end}}' box
        ps -a --filter label=a=b --format '{{.Names}}'
        ps -a --filter status=created --format '{{.Names}}'
        inspect --format '{{.HostConfig.RestartPolicy}} {{.HostConfig.LogConfig}}' box
        1   port box 80
        rm box
        create --name box -p 127.0.0.1:8080:80 -v {dir}:/x:ro -v /data busybox sh -c 'echo two words'
        inspect --format '{{.HostConfig.PortBindings}} {{.Config.Volumes}} {{.Config.ExposedPorts}}' box
        inspect --format '{{range .Mounts}}{{if eq .Type "bind"}}{{.}}{{end}}{{end}}' box
        ps -a --no-trunc --filter name=box --format '{{.Command}}'
        rm -v box
        1   inspect box
        1   inspect --type image no-such-image
    """,
    "files": """
        run --name changer busybox sh -c 'echo new > /etc/new; rm /etc/group; mkdir /opt'
        0*  diff changer
        cp changer:/etc/new {dir}/copied
        cp {dir}/copied changer:/tmp/back
        1   cp changer:/no/such/file {dir}/none
        1   start -a changer
        rm -v changer
        run --rm -v {dir}:/host:ro busybox cat /host/copied
        run --rm -v {dir}:/host:ro busybox sh -c 'touch /host/x || echo refused'
        run --rm --mount type=bind,source={dir},target=/host busybox ls /host
        125 run --rm --mount type=bind,source=/no/such/source,target=/host busybox true
    """,
    "volumes": """
        volume create data
        volume ls -q
        volume ls
        volume inspect --format '{{.Name}} {{.Driver}} {{.Scope}}' data
        run --rm -v data:/data busybox sh -c 'echo kept > /data/file'
        run --rm -v data:/data:ro busybox cat /data/file
        run --rm -v filled:/etc busybox sh -c 'wc -l < /etc/passwd'
        create --name user -v data:/data busybox true
        1   volume rm data
        rm user
        volume rm data filled
        1   volume inspect data
        1   volume rm data
    """,
    "images": """
        images --format '{{.Repository}}:{{.Tag}}'
        images -q busybox
        tag busybox mine:v1
        tag mine:v1 mine:v2
        images mine --format '{{.Repository}}:{{.Tag}}'
        images --filter reference=mine:v1 -q
        image inspect --format '{{.Os}} {{json .Config.Cmd}} {{len .RootFS.Layers}}' mine:v1
        history --format '{{.CreatedBy}}' mine:v1
        rmi mine:v1
        1   rmi mine:v1
        run --rm mine:v2 true
        create --name holder mine:v2
        1   rmi mine:v1 mine:none
        rm holder
        rmi mine:v2
        1   run-nothing
        1   tag no-such-image x:y
        1   tag busybox UPPER:case
    """,
    "sharing namespaces": """
        run -d --name host --hostname shared busybox sleep 1000
        run --rm --network container:host busybox hostname
        run --rm --network container:host busybox sh -c 'grep -c shared /etc/hosts'
        run --rm --pid container:host busybox sh -c 'ps | grep -c "[s]leep 1000"'
        125 run --rm --network container:host --hostname own busybox hostname
        125 run --rm --network container:host -p 80:80 busybox true
        run --rm --network host --hostname own busybox hostname
        125 run --rm --uts host --hostname own busybox hostname
        rm -f host
    """,
    "many at once": """
        run -d --name one --label course=many busybox sleep 1000
        run -d --name two --label course=many busybox sleep 1000
        ps --filter label=course=many --format '{{.Names}}'
        ps -n 1 --format '{{.Names}}'
        ps -l --format '{{.Names}}'
        stop -t 0 one two
        ps --filter label=course=many -q
        ps -a --filter label=course=many --filter exited=137 --format '{{.Names}}'
        1   rm one no-such-container
        rm -f two
        container prune -f --filter label=course=many
    """,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One command of a lesson."""

    code: int
    disputed: bool
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """A command as it ended; ``out`` without what differs from run to run."""

    line: Line
    code: int
    out: str


def _lines(lesson: str) -> list[Line]:
    pattern = re.compile(r"(?:(\d+)(\*?) +)?(.*)")
    found = [pattern.fullmatch(line.strip()) for line in LESSONS[lesson].strip().splitlines()]
    return [Line(int(match[1] or 0), match[2] == "*", match[3]) for match in found if match]


def perform(cli: Cli, lesson: str, directory: Path) -> list[Step]:
    """Run a lesson's commands in order; nothing of it stays, also after a failure."""
    directory.mkdir()
    done = []
    try:
        for line in _lines(lesson):
            result = cli(*shlex.split(line.text.replace("{dir}", str(directory))))
            done.append(Step(line, result.code, normal(result.out, directory)))
    finally:
        _tidy(cli)
    return done


def _tidy(cli: Cli) -> None:
    for list_them, remove in (
        (("ps", "-aq"), ("rm", "-fv")),
        (("volume", "ls", "-q"), ("volume", "rm", "-f")),
        (("images", "mine", "--format", "{{.Repository}}:{{.Tag}}"), ("rmi", "-f")),
    ):
        if names := cli(*list_them).lines:
            cli(*remove, *names)


_VARYING = (
    (r"sha256:[0-9a-f]{64}|\b[0-9a-f]{64}\b", "<long id>"),
    (r"\b[0-9a-f]{12}\b", "<short id>"),
    (
        r"\b(?:(?:Less than|About) )?(?:an?|\d+) (seconds?|minutes?|hours?|days?|weeks?|months?|years?)( ago)?",
        "<time>",
    ),
    (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "<moment>"),
    (r"(?m)^\d+ +(?=sleep$)", "<pid> "),
    (r" {2,}", "  "),
)


def normal(text: str, directory: Path) -> str:
    """A command's output without ids, times, process ids and the width of columns."""
    text = text.replace(str(directory), "<dir>")
    for pattern, word in _VARYING:
        text = re.sub(pattern, word, text)
    return text


@pytest.fixture(params=["corten", "docker"])
def client(request: pytest.FixtureRequest, shared_engine: Engine) -> Cli:
    """Both command lines, bound to Corten's engine."""
    if request.param == "docker" and not shutil.which("docker"):
        pytest.skip("the docker command line is not installed")
    return shared_engine.cli if request.param == "corten" else shared_engine.docker


@pytest.mark.parametrize("lesson", LESSONS)
def test_each_command_ends_as_the_course_says(client: Cli, lesson: str, tmp_path: Path) -> None:
    steps = perform(client, lesson, tmp_path / "own")
    assert [(step.line.text, step.code) for step in steps] == [
        (line.text, line.code) for line in _lines(lesson)
    ]


@pytest.mark.dockerd
@pytest.mark.parametrize("lesson", LESSONS)
def test_each_command_says_what_dockers_says(
    client: Cli, dockerd: Dockerd, lesson: str, tmp_path: Path
) -> None:
    ours = perform(client, lesson, tmp_path / "ours")
    theirs = perform(dockerd.docker, lesson, tmp_path / "theirs")
    agreed = [(one, other) for one, other in zip(ours, theirs, strict=True) if not one.line.disputed]
    assert [one for one, _ in agreed] == [other for _, other in agreed]
