"""The options of ``corten build``, one after the other: what each does."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support import contexts
from tests.support.command import Result
from tests.support.engine import Engine
from tests.support.process import command_line, processes, wait_until
from tests.support.registry import Registry
from tests.support.terminal import Terminal

pytestmark = [pytest.mark.root, pytest.mark.network]


def build(
    engine: Engine, where: Path, dockerfile: str, *options: str, files: Mapping[str, str | bytes] | None = None
) -> Result:
    return engine.cli("build", *options, str(contexts.directory(where, dockerfile, files)), timeout=110)


def image(engine: Engine, name: str) -> dict[str, Any]:
    found: dict[str, Any] = engine.api("GET", f"/images/{name}/json").check().json
    return found


def test_what_is_told_of_the_result(shared_engine: Engine, tmp_path: Path) -> None:
    options = ("-t", "told", "-t", "nobody.invalid/told:2", "--metadata-file", str(tmp_path / "m"), "--iidfile",
               str(tmp_path / "id"), "--label", "a=b", "--label", "c")  # fmt: skip
    build(shared_engine, tmp_path / "c", "FROM busybox\n", *options).check()
    found, told = image(shared_engine, "told"), json.loads((tmp_path / "m").read_text())
    assert (tmp_path / "id").read_text() == found["Id"]
    assert told == {
        "containerimage.config.digest": found["Id"],
        "containerimage.descriptor": found["Descriptor"],
        "containerimage.digest": found["Descriptor"]["digest"],
        "image.name": "docker.io/library/told:latest,nobody.invalid/told:2",
    }
    assert sorted(found["RepoTags"]) == ["nobody.invalid/told:2", "told:latest"]
    assert found["Config"]["Labels"] == {"a": "b", "c": ""}
    refused = build(shared_engine, tmp_path / "c", "FROM busybox\n", "--iidfile", str(tmp_path / "no/id"))
    assert (refused.code, "no such file" in refused.err) == (1, True)


def test_stages_that_are_not_taken_from_the_cache(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = (
        "FROM busybox AS one\nRUN echo filter-one > /f\nFROM busybox AS Two\nRUN echo filter-two > /f\n"
        "FROM busybox\nCOPY --from=one /f /1\nCOPY --from=two /f /2\n"
    )
    build(shared_engine, tmp_path, dockerfile).check()

    def missed(*options: str) -> int:
        said = build(shared_engine, tmp_path, dockerfile, "--why", *options).check().err
        return said.count("the cache is not to be used")

    assert missed() == 0
    assert missed("--no-cache-filter", "one") == 1
    assert missed("--no-cache-filter", "TWO,one") == 2
    assert missed("--no-cache") == 4


def test_networks_hosts_and_what_they_are_in_the_key(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nRUN ls /sys/class/net | tr '\\n' ' '; grep -e far -e six /etc/hosts; :\n"
    assert "eth0 lo" in build(shared_engine, tmp_path, dockerfile).check().err
    none = build(shared_engine, tmp_path, dockerfile, "--network", "none").check().err
    assert ("Using cache" in none, "eth0" in none, "lo " in none) == (False, False, True)
    hosts = ("--add-host", "far=10.1.2.3", "--add-host", "six:[::1]")
    far = build(shared_engine, tmp_path, dockerfile, *hosts).check().err
    assert "Using cache" not in far
    assert "10.1.2.3\tfar\n" in far
    assert "::1\tsix\n" in far
    own = dockerfile.replace("RUN ls", "RUN --network=none ls")
    assert "eth0" not in build(shared_engine, tmp_path, own).check().err
    machine = dockerfile.replace("RUN ls", "RUN --network=host ls")
    refused = build(shared_engine, tmp_path, machine)
    assert refused.code == 1
    assert "RUN --network=host: network.host is not allowed\nbuild with --allow network.host" in refused.err
    assert shared_engine.names.bridge in build(shared_engine, tmp_path, machine, "--allow", "network.host").check().err
    unknown = build(shared_engine, tmp_path, machine, "--allow", "devices")
    assert unknown.code != 0
    assert "--allow devices: a build can be given network.host, security.insecure, device or device=" in unknown.err


def test_the_name_of_the_machine_is_not_by_chance(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nRUN hostname\n"
    assert "\nbuildkitsandbox\n" in build(shared_engine, tmp_path, dockerfile).check().err
    own = ("--build-arg", "BUILDKIT_SANDBOX_HOSTNAME=own")
    assert "\nown\n" in build(shared_engine, tmp_path, dockerfile, *own).check().err
    assert "Using cache" in build(shared_engine, tmp_path, dockerfile, *own).check().err


def test_another_platform(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = (
        "FROM --platform=$BUILDPLATFORM busybox AS made\nARG TARGETPLATFORM TARGETARCH TARGETVARIANT BUILDARCH\n"
        "RUN echo $TARGETPLATFORM $TARGETARCH $TARGETVARIANT $BUILDARCH > /p\nFROM scratch\nCOPY --from=made /p /p\n"
    )
    options = ("-t", "arm", "--platform", "linux/arm/v7", "-o", str(tmp_path / "o"))
    build(shared_engine, tmp_path, dockerfile, *options).check()
    found = image(shared_engine, "arm")
    assert (found["Os"], found["Architecture"], found["Variant"]) == ("linux", "arm", "v7")
    assert (tmp_path / "o/p").read_text() == "linux/arm/v7 arm v7 amd64\n"
    refused = build(shared_engine, tmp_path, dockerfile, "--platform", "a/b/c/d")
    assert (refused.code, "a/b/c/d" in refused.err) == (1, True)


@pytest.mark.parametrize("options", [("linux/amd64,linux/arm64",), ("linux/amd64", "--platform", "linux/arm64")])
def test_several_platforms_are_several_builds(shared_engine: Engine, tmp_path: Path, options: tuple[str, ...]) -> None:
    refused = build(shared_engine, tmp_path, "FROM busybox\n", "--platform", *options)
    assert refused.code == 1
    assert "--platform linux/amd64,linux/arm64: a build makes an image of one platform\nbuild each" in refused.err


def test_arguments_of_the_environment(shared_engine: Engine, tmp_path: Path) -> None:
    dockerfile = "FROM busybox\nARG THERE=default ABSENT=default EMPTY=default\nRUN echo \"<$THERE|$ABSENT|$EMPTY>\"\n"
    where = str(contexts.directory(tmp_path, dockerfile))
    options = [word for name in ("THERE", "ABSENT", "EMPTY=", "STRAY") for word in ("--build-arg", name)]
    said = shared_engine.cli("build", *options, where, env={"THERE": "outside"}).check().err
    assert "<outside|default|>\n" in said
    assert "[Warning] One or more build-args [STRAY] were not consumed" in said


def test_limits_of_commands(shared_engine: Engine, tmp_path: Path) -> None:
    """On either kind of control groups: the files of the other are not there."""
    v1 = "memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.shares cpu/cpu.cfs_period_us "
    v1 += "cpu/cpu.cfs_quota_us cpuset/cpuset.cpus cpuset/cpuset.mems"
    v2 = "memory.max memory.swap.max cpu.weight cpu.max cpuset.cpus cpuset.mems"
    dockerfile = (
        f"FROM busybox\nRUN cd /sys/fs/cgroup; cat {v1} {v2} 2> /dev/null | tr '\\n' ' '; echo; ulimit -n; ulimit -Hn; "
        "df -m /dev/shm | tail -n 1 | awk '{print $2}'; cat /proc/self/cgroup\n"
    )
    options = (
        "-m", "64m", "--memory-swap", "96m", "-c", "512", "--cpu-period", "50000", "--cpu-quota", "25000",
        "--cpuset-cpus", "0", "--cpuset-mems", "0", "--shm-size", "8m", "--ulimit", "nofile=100:200",
    )  # fmt: skip
    said = build(shared_engine, tmp_path, dockerfile, *options).check().err.splitlines()
    at = said.index("100")
    assert said[at - 1].split() in (
        ["67108864", "100663296", "512", "50000", "25000", "0", "0"],
        ["67108864", "33554432", "20", "25000", "50000", "0", "0"],
    )
    assert said[at + 1 : at + 3] == ["200", "8"]
    unlimited = build(shared_engine, tmp_path, dockerfile, "-m", "64m", "--memory-swap", "-1", "--no-cache").check().err
    assert "67108864" in unlimited
    assert "100663296" not in unlimited


def _sleepers(parent: str) -> list[int]:
    """Who sleeps in a control group below that one."""
    found = [pid for pid in processes() if command_line(pid).startswith("sleep 1000")]
    return [pid for pid in found if f"{parent}/" in _group(pid)]


def _group(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has left meanwhile
        return ""


def test_a_parent_of_control_groups(shared_engine: Engine, tmp_path: Path) -> None:
    parent = f"/{shared_engine.names.cgroup}/below"
    dockerfile = "FROM busybox\nRUN echo begun; sleep 1000\n"
    where = contexts.directory(tmp_path, dockerfile)
    command = shared_engine.cli.command("build", "--cgroup-parent", parent, str(where))
    with subprocess.Popen(command, env=shared_engine.cli.environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            while process.stderr.readline() != "begun\n":
                pass
            wait_until(lambda: bool(_sleepers(parent)), "the command's sleep, which the shell begins after its word")
            sleeping = _sleepers(parent)
        finally:
            process.kill()
    wait_until(lambda: not any(command_line(pid).startswith("sleep 1000") for pid in sleeping), "the command's end")


@pytest.mark.registry
def test_a_base_is_pulled_again_where_asked(shared_engine: Engine, registry: Registry, tmp_path: Path) -> None:
    base = registry.reference("pulled", "1")
    for content in ("first", "second"):
        build(shared_engine, tmp_path / content, f"FROM busybox\nRUN echo {content} > /f\n", "-t", base).check()
        shared_engine.docker("push", base).check()
    shared_engine.cli("tag", "busybox", base).check()
    dockerfile = f"FROM {base}\nRUN cat /f || echo none\n"
    assert "none\n" in build(shared_engine, tmp_path / "c", dockerfile).check().err
    assert "second\n" in build(shared_engine, tmp_path / "c", dockerfile, "--pull").check().err
    absent = build(shared_engine, tmp_path / "c", "FROM busybox-of-nobody\n", "--pull")
    assert absent.code == 1


@pytest.mark.registry
def test_outputs_with_names(shared_engine: Engine, registry: Registry, tmp_path: Path) -> None:
    where = contexts.directory(tmp_path / "c", "FROM scratch\nCOPY f /f\n", {"f": "content"})
    name, other = registry.reference("built", "1"), registry.reference("second", "2")
    oci, plain = tmp_path / "layout.tar", tmp_path / "layout"
    options = (
        "-o", f'type=image,"name={name},{other}",push=true', "-o", f"type=oci,dest={oci},name=named:3",
        "-o", f"type=oci,dest={plain},tar=false,name=named:3", "--metadata-file", str(tmp_path / "m"),
    )  # fmt: skip
    shared_engine.cli("build", *options, str(where)).check()
    names = json.loads((tmp_path / "m").read_text())["image.name"].split(",")
    assert names == [name, other, "docker.io/library/named:3", "docker.io/library/named:3"]
    for pushed in (name, other):
        shared_engine.docker("rmi", pushed).check()
        shared_engine.docker("pull", pushed).check()
    for source in (f"oci-archive:{oci}", f"oci:{plain}"):
        told = subprocess.run(["skopeo", "inspect", "--config", source], check=True, capture_output=True, text=True)
        assert json.loads(told.stdout)["history"][-1]["created_by"].startswith("COPY f /f")
    layout = "oci-layout"
    for output, member in (("-", "f"), ("type=tar", "f"), ("type=oci", layout), ("type=docker,dest=-", layout)):
        command = shared_engine.cli.command("build", "-o", output, str(where))
        made = subprocess.run(command, check=True, capture_output=True, env=shared_engine.cli.environment)
        with tarfile.open(fileobj=io.BytesIO(made.stdout)) as archive:
            assert member in archive.getnames()
    command = shared_engine.cli.command("build", "-o", "-", str(where))
    with Terminal(command, env=shared_engine.cli.environment) as shown:
        shown.expect("refusing to write to a terminal")
        assert shown.wait() == 1


@pytest.mark.registry
def test_push_is_an_output(shared_engine: Engine, registry: Registry, tmp_path: Path) -> None:
    name = registry.reference("pushed", "1")
    dockerfile = "FROM scratch\nLABEL pushed=yes\n"
    options = ("-t", name, "--push", "--provenance=false", "--sbom=false", "--compress", "--load")
    build(shared_engine, tmp_path, dockerfile, *options).check()
    shared_engine.docker("rmi", name).check()
    shared_engine.docker("pull", name).check()
    assert image(shared_engine, name)["Config"]["Labels"] == {"pushed": "yes"}
    refused = build(shared_engine, tmp_path, dockerfile, "--push")
    assert (refused.code, "the image needs a name, with --tag or name=" in refused.err) == (1, True)
    attested = build(shared_engine, tmp_path, dockerfile, "--provenance", "mode=max")
    assert (attested.code, "--provenance mode=max: a build is not attested" in attested.err) == (1, True)


@pytest.mark.parametrize(
    ("option", "cause"),
    [
        ("type=registry", "needs a name"),
        ("type=oci,tar=false", "dest is required for oci exporter"),
        ("type=local", "dest is required for local exporter"),
        ("type=local,dest=-", "files in a directory cannot go to standard output"),
        ("type=docker,dest=-,tar=false", "files in a directory cannot go to standard output"),
        ("type=local,dest=x,name=y", "files have no name"),
        ("type=image,push=maybe", "maybe is neither true nor false"),
        ("type=image,dest=x", "an image has no destination"),
        ("type=docker,compression=zstd,dest=x", "it takes type="),
    ],
)
def test_outputs_that_are_refused(shared_engine: Engine, tmp_path: Path, option: str, cause: str) -> None:
    refused = build(shared_engine, tmp_path, "FROM scratch\nLABEL a=b\n", "-o", option)
    assert (refused.code, cause in refused.err) == (1, True)


def test_squash_is_refused(shared_engine: Engine) -> None:
    packed = contexts.archive({"Dockerfile": "FROM busybox\n"})
    answer = shared_engine.api("POST", "/build?squash=1", packed, headers={"Content-Type": "application/x-tar"})
    assert (answer.status, answer.json["message"]) == (
        501, "build --squash: the layers of an image stay as they are",
    )  # fmt: skip
