"""Specifications of devices as files: what is wrong with one is told, and is nobody else's trouble."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from corten.engine.cdi import Cdi, requested
from corten.engine.model import Container, ContainerConfig, DeviceRequest, HostConfig
from corten.errors import InvalidInput, Unsupported
from corten.spec.runtime import Device, DeviceRule, Hook, Hooks, Mount
from corten.sys.standing import MACHINE, Standing

USER = Standing(initial=False, uids=((0, 0, 1),), gids=((0, 0, 1), (44, 44, 1)))


def written(path: Path, *devices: str, kind: str = "v.com/x", edits: Any = None, version: str = "1.1.0") -> None:
    listed = [{"name": name, "containerEdits": edits or {"env": [f"FROM={path.name}"]}} for name in devices]
    path.write_text(json.dumps({"cdiVersion": version, "kind": kind, "devices": listed}))


def asking(*names: str, user: str = "") -> Container:
    host = HostConfig(device_requests=[DeviceRequest(driver="cdi", device_ids=list(names))])
    config = ContainerConfig(user=user)
    return Container(id="", name="", created="", image="", config=config, host=host, path="", args=[], layers=[])


def test_files_that_cannot_be_read_are_warnings(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(tmp_path / "good.json", "a", "b")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "text.json").write_bytes(b"\xff\xfe")
    (tmp_path / "number.json").write_text("9" * 5000)
    (tmp_path / "large.json").touch()
    os.truncate(tmp_path / "large.json", 1 << 30)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "directory.yaml").mkdir()
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    (tmp_path / "tab.yaml").write_text("a:\n\t- b")
    (tmp_path / "python.yaml").write_text("!!python/object/apply:os.system ['true']")
    bomb = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    bomb += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 20)]
    (tmp_path / "bomb.yaml").write_text("\n".join(bomb))
    (tmp_path / "within.yml").write_text("&a [*a]")
    (tmp_path / "README").write_text("not looked at")
    cdi = Cdi([str(tmp_path), str(tmp_path / "none")])
    assert list(cdi.devices()) == ["v.com/x=a", "v.com/x=b"]
    warned = [one.split(": ")[1].rpartition("/")[2] for one in cdi.listed()[1]]
    others = {path.name for path in tmp_path.iterdir()} - {"good.json", "README"}
    assert sorted(warned) == sorted(others)
    assert len(caplog.records) == len(others)  # each once, however often they are asked for


def test_yaml_is_read_as_json_is(tmp_path: Path) -> None:
    text = "cdiVersion: 0.5.0\nkind: v.com/x\ndevices:\n- name: '0'\n  containerEdits:\n    deviceNodes:\n"
    (tmp_path / "a.yaml").write_text(f"{text}    - path: /dev/y\n      hostPath: /dev/null\n      fileMode: 0640\n")
    (node,) = Cdi([str(tmp_path)]).edits(["v.com/x=0"]).device_nodes
    assert (node.path, node.host_path, node.file_mode) == ("/dev/y", "/dev/null", 0o640)


def test_the_later_directory_counts_and_two_of_one_are_none(tmp_path: Path) -> None:
    for name in ("low", "high"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / f"{name}.json", "a")
    cdi = Cdi([str(tmp_path / "low"), str(tmp_path / "high")])
    assert cdi.edits(["v.com/x=a"]).env == ("FROM=high.json",)
    written(tmp_path / "high/other.json", "a", "b")
    assert list(cdi.devices()) == ["v.com/x=b"]  # nor is the lower one's meant by whoever put them there
    assert 'conflicting device "v.com/x=a"' in cdi.listed()[1][0]
    (tmp_path / "high/other.json").unlink()
    assert cdi.listed()[1] == []


def test_what_is_asked_for() -> None:
    asked = asking("v.com/x=a", "v.com/x=b", "v.com/x=a").host
    assert requested(asked) == ["v.com/x=a", "v.com/x=b"]
    assert requested(HostConfig(device_requests=[DeviceRequest(driver="other", device_ids=["a"])])) == []
    for member in ({"count": 1}, {"options": {"a": "b"}}):
        wrong = msgspec.structs.replace(asked.device_requests[0], **member)  # type: ignore[index]
        with pytest.raises(InvalidInput, match=f"unexpected {next(iter(member))} in CDI device request"):
            requested(HostConfig(device_requests=[wrong]))


def test_what_a_container_is_given(tmp_path: Path) -> None:
    edits = {
        "env": ["A=1"], "additionalGids": [44],
        "deviceNodes": [
            {"path": "/dev/a", "hostPath": "/dev/null", "permissions": "r"},
            {"path": "/dev/b", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 3},
            {"path": "/dev/p", "type": "p"},
        ],
        "mounts": [
            {"hostPath": "/a", "containerPath": "/x/../b", "options": ["ro", "nosuid"]},
            {"hostPath": "/a", "containerPath": "/c", "options": ["bind", "rslave"], "type": "none"},
            {"hostPath": "tmpfs", "containerPath": "/d", "type": "tmpfs", "options": ["size=1m"]},
        ],
        "hooks": [{"hookName": "createContainer", "path": "/h", "args": ["h"], "env": ["B=1"], "timeout": 3}],
    }  # fmt: skip
    written(tmp_path / "a.json", "a", edits=edits)
    given = Cdi([str(tmp_path)]).injected(asking("v.com/x=a", user="9:8"), MACHINE)
    assert (given.env, given.groups) == (("A=1",), (44,))
    assert given.nodes == (
        Device("c", "/dev/a", 1, 3, 0o666, 9, 8), Device("c", "/dev/b", 1, 5, 0o600, 3, 8),
        Device("p", "/dev/p", 0, 0, 0o666, 9, 8),
    )  # fmt: skip
    assert given.rules == (DeviceRule(True, "c", 1, 3, "r"), DeviceRule(True, "c", 1, 5, "rwm"))
    assert given.mounts == (
        Mount("/b", "bind", "/a", ("rbind", "ro", "nosuid", "rprivate")),
        Mount("/c", "bind", "/a", ("bind", "rslave")),
        Mount("/d", "tmpfs", "tmpfs", ("size=1m",)),
    )
    assert given.hooks == Hooks(create_container=(Hook("/h", ("h",), ("B=1",), 3),))


def test_what_an_ordinary_user_is_shown(tmp_path: Path) -> None:
    edits = {"deviceNodes": [{"path": "/dev/a", "hostPath": "/dev/null"}], "additionalGids": [44]}
    written(tmp_path / "a.json", "a", edits=edits)
    given = Cdi([str(tmp_path)]).injected(asking("v.com/x=a"), USER)
    assert (given.nodes, given.rules, given.groups) == ((), (), (44,))
    assert given.mounts == (Mount("/dev/a", "bind", "/dev/null", ("bind", "rprivate")),)


@pytest.mark.parametrize(
    ("edits", "standing", "told"),
    [
        ({"deviceNodes": [{"path": "/dev/a", "hostPath": "/none"}]}, MACHINE, '"/none": no such file or directory'),
        ({"deviceNodes": [{"path": "/dev/a", "hostPath": "/etc"}]}, MACHINE, '"/etc": not a device node'),
        ({"deviceNodes": [{"path": "/dev/null", "type": "b"}]}, MACHINE, "host type mismatch (b, c)"),
        ({"deviceNodes": [{"path": "/dev/null", "type": "c", "major": 1, "minor": 5}]}, USER, "is not the device 1:5"),
        ({"additionalGids": [45]}, USER, "group 45 is not among those"),
    ],
)
def test_what_cannot_be_given(tmp_path: Path, edits: dict[str, Any], standing: Standing, told: str) -> None:
    written(tmp_path / "a.json", "a", edits=edits)
    with pytest.raises(InvalidInput) as caught:
        Cdi([str(tmp_path)]).injected(asking("v.com/x=a"), standing)
    assert caught.value.message.startswith("CDI device injection failed: ")
    assert told in caught.value.message


@pytest.mark.parametrize(
    ("edits", "what"),
    [
        ({"hooks": [{"hookName": "poststop", "path": "/x"}]}, "poststop hooks"),
        ({"netDevices": [{"hostInterfaceName": "a", "name": "b"}]}, "netDevices"),
        ({"intelRdt": {}}, "intelRdt"),
    ],
)
def test_what_is_not_done_here(tmp_path: Path, edits: dict[str, Any], what: str) -> None:
    written(tmp_path / "a.json", "a", edits=edits)
    with pytest.raises(Unsupported, match=f"v.com/x=a: {what} of a specification are not supported here"):
        Cdi([str(tmp_path)]).edits(["v.com/x=a"])
