"""Specifications of devices: what is read, what is refused, and what several devices come to."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import InvalidInput
from corten.spec.cdi import Device, Edits, Mount, Node, decode, is_qualified, merged

_MEMBERS = (
    "cdiVersion", "kind", "devices", "containerEdits", "annotations", "name", "env", "deviceNodes", "mounts", "path",
    "hostPath", "containerPath", "options", "type", "hooks", "additionalGids", "major", "fileMode", "x",
)  # fmt: skip
BASE = {"cdiVersion": "0.6.0", "kind": "vendor.com/gpu"}


def spec(edits: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    """A file with one device, with such edits."""
    device = {"name": "one", "containerEdits": {"env": ["A=1"]} if edits is None else edits}
    return {**BASE, "devices": [device], **members}


def node(**members: Any) -> dict[str, Any]:
    return {"deviceNodes": [{"path": "/dev/x", **members}]}


def test_all_that_a_file_can_say() -> None:
    edits = {
        "env": ["A=1", "B=x=y"],
        "deviceNodes": [
            {"path": "/dev/x", "hostPath": "/dev/y", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640,
             "permissions": "rw", "uid": 7, "gid": 8},
            {"path": "/dev/z", "hostPath": None},
        ],
        "mounts": [{"hostPath": "/a", "containerPath": "/b", "options": ["ro"], "type": "none"}],
        "additionalGids": [44],
    }  # fmt: skip
    (device,) = decode(spec(edits, cdiVersion="v0.7.0", annotations={"a": "1", "b": "2"}), "/f")
    assert (device.name, device.kind, device.origin) == ("vendor.com/gpu=one", "vendor.com/gpu", "/f")
    assert device.annotations == {"a": "1", "b": "2"}
    assert device.edits == Edits(
        env=("A=1", "B=x=y"),
        device_nodes=(Node("/dev/x", "/dev/y", "c", 1, 5, 0o640, "rw", 7, 8), Node("/dev/z")),
        mounts=(Mount("/a", "/b", ("ro",), "none"),),
        additional_gids=(44,),
    )


def test_annotations_of_a_device_go_before_those_of_its_file() -> None:
    own = {"name": "one", "containerEdits": {}, "annotations": {"a": "own"}}
    (device,) = decode({**BASE, "devices": [own], "annotations": {"a": "file", "b": "file"}}, "/f")
    assert device.annotations == {"a": "own", "b": "file"}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ([], "got `array`"),
        ({**BASE, "devices": []}, "length >= 1"),
        ({**BASE}, "required field `devices`"),
        (spec(cdiVersion="2.0.0"), "cdiVersion '2.0.0' is none of"),
        (spec(cdiVersion="0.6"), "cdiVersion '0.6' is none of"),
        (spec(kind="vendor.com"), "is not a vendor/class"),
        (spec(kind="vendor.com/a/b"), "is not a vendor/class"),
        (spec(kind="-/gpu"), "is not a vendor/class"),
        (spec(kind=f"vendor.com/{'x' * 64}"), "is not a vendor/class"),
        (spec(other=1), "unknown field `other`"),
        (spec({"devices": []}), "unknown field `devices`"),
        (spec({"env": ["A"]}), "matching regex"),
        (spec({"env": ["=1"]}), "matching regex"),
        (spec({"env": ["A=\0"]}), "a NUL"),
        (spec({"env": "A=1"}), "Expected `array`"),
        (spec(node(path="dev/x")), "'dev/x' is not an absolute path"),
        (spec(node(path="/dev/..")), "is not an absolute path"),
        (spec(node(type="d")), "Invalid enum value"),
        (spec(node(permissions="rwx")), "matching regex"),
        (spec(node(permissions="rw\n")), "matching regex"),
        (spec(node(major=-1)), ">= 0"),
        (spec(node(minor=1 << 20)), "<= 1048575"),
        (spec(node(uid=2**32 - 1)), "<= 4294967294"),
        (spec({"mounts": [{"hostPath": "/a", "containerPath": "/"}]}), "'/' is not an absolute path"),
        (spec({"mounts": [{"hostPath": "", "containerPath": "/b"}]}), "length >= 1"),
        (spec({"hooks": [{"hookName": "later", "path": "/x"}]}), "Invalid enum value"),
        (spec({"hooks": [{"hookName": "prestart", "path": "x"}]}), "the path of a hook, 'x', is not absolute"),
        (spec({"hooks": [{"hookName": "prestart", "path": "/x", "timeout": 0}]}), ">= 1"),
        (spec({"additionalGids": [1]}), "cdiVersion 0.6.0 has not what is asked for: that is of 0.7.0"),
        (spec({"netDevices": [{"hostInterfaceName": "a", "name": "b"}]}, cdiVersion="1.0.0"), "that is of 1.1.0"),
        (spec(node(hostPath="/dev/y"), cdiVersion="0.4.0"), "that is of 0.5.0"),
        (spec(annotations={"a": "b"}, cdiVersion="0.5.0"), "that is of 0.6.0"),
        ({**BASE, "devices": [{"name": "a b", "containerEdits": {}}]}, "'a b' is no name of a device"),
        ({**BASE, "devices": [{"name": "a", "containerEdits": {}}] * 2}, "device a is there twice"),
        (spec({"env": ["A=1"] * 100_000}), "more than 100000 values"),
    ],
)
def test_what_is_refused(value: Any, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode(value, "/f")
    assert told in caught.value.message


def test_a_file_that_is_within_itself_is_refused() -> None:
    within: dict[str, Any] = spec()
    within["annotations"] = within
    with pytest.raises(InvalidInput):
        decode(within, "/f")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["0.6.0", "a/b", "/dev/x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_MEMBERS), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON, _JSON)
def test_nothing_else_is_raised(file: Any, edits: Any) -> None:
    for value in (file, spec(edits), spec({"deviceNodes": [file], "mounts": [edits], "hooks": [file]})):
        with contextlib.suppress(InvalidInput):
            decode(value, "/f")


def test_names() -> None:
    good = ("vendor.com/gpu=0", "v/c=a:b", "v-1.x/c_2.d=all", "V/C=A.b-c_d")
    bad = (
        "", "/dev/x", "/dev/x=y", "vendor.com/gpu", "vendor.com/gpu=", "gpu=0", "1v/c=x", "v/c=-x", "v/c=x:", "v/c/d=x",
        "v/c=ü", "v /c=x", "v/c=x\n",
    )  # fmt: skip
    assert [one for one in good if not is_qualified(one)] == []
    assert [one for one in bad if is_qualified(one)] == []


def test_the_edits_of_a_file_are_made_once() -> None:
    common = Edits(env=("C=1",))
    first = Device("v/c=a", "/f", Edits(env=("A=1",)), common)
    second = Device("v/c=b", "/f", Edits(env=("B=1",), additional_gids=(1,)), common)
    other = Device("v/d=a", "/g", Edits(env=("D=1",)))
    assert merged([first, second, other]) == Edits(env=("C=1", "A=1", "B=1", "D=1"), additional_gids=(1,))
