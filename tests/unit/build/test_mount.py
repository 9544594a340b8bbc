"""``RUN --mount`` and ``--device``: every option, every default, every refusal."""

from __future__ import annotations

import pytest

from corten.build.instructions import Device, Mount
from corten.build.mount import fields, parse, parse_device, source_of
from corten.errors import InvalidInput

MOUNTS = [
    ("target=/a", Mount("bind", target="/a")),
    ("type=bind,from=x,source=b,target=/a,rw", Mount("bind", "x", "b", "/a", read_only=False)),
    ("type=bind,src=b,dst=/a,readwrite=true", Mount("bind", "", "b", "/a", read_only=False)),
    ("type=bind,destination=/a,ro=false", Mount("bind", target="/a", read_only=False)),
    ("type=bind,target=/a,readwrite=0", Mount("bind", target="/a")),
    ("TYPE=BIND,target=/a,readonly", Mount("bind", target="/a")),
    ("type=cache,target=/a", Mount("cache", target="/a", read_only=False)),
    (
        "type=cache,id=i,target=/a,sharing=Locked,from=x,source=s,mode=0755,uid=1,gid=2,ro",
        Mount("cache", "x", "s", "/a", id="i", sharing="locked", mode=0o755, uid=1, gid=2),
    ),
    ("sharing=private,type=cache,target=/a", Mount("cache", target="/a", sharing="private", read_only=False)),
    ("type=tmpfs,target=/a", Mount("tmpfs", target="/a", read_only=False)),
    ("type=tmpfs,target=/a,size=100", Mount("tmpfs", target="/a", size=100, read_only=False)),
    ("type=tmpfs,target=/a,size=1.5g", Mount("tmpfs", target="/a", size=3 << 29, read_only=False)),
    ("type=tmpfs,target=/a,size=2MiB", Mount("tmpfs", target="/a", size=2 << 20, read_only=False)),
    ("type=secret,id=i", Mount("secret", id="i")),
    (
        "type=secret,id=i,target=/a,required,mode=400,uid=1,gid=1,env=E",
        Mount("secret", target="/a", id="i", required=True, mode=0o400, uid=1, gid=1, env="E"),
    ),
    ("type=secret,src=i,env=,required=false", Mount("secret", source="i", env="")),
    ("type=ssh", Mount("ssh")),
    ("type=ssh,id=i,target=/a,required=true,mode=600", Mount("ssh", target="/a", id="i", required=True, mode=0o600)),
    ('"target=/a,b",ro', Mount("bind", target="/a,b")),
    ("type=$kind,target=$dir/x", Mount("cache", target="/d/x", read_only=False)),
]


def expand(text: str) -> str:
    return text.replace("$kind", "cache").replace("$dir", "/d")


@pytest.mark.parametrize(("option", "expected"), MOUNTS)
def test_a_mount(option: str, expected: Mount) -> None:
    assert parse(option, expand) == expected


REFUSED = [
    ("", "failed to parse csv mounts: EOF"),
    ('tar"get', 'failed to parse csv mounts: bare " in non-quoted-field'),
    ('"target=/a', 'failed to parse csv mounts: extraneous or missing " in quoted-field'),
    ('"target=/a"b', 'failed to parse csv mounts: extraneous or missing " in quoted-field'),
    ("target", "invalid field 'target' must be a key=value pair"),
    ("type=volume", 'unsupported mount type "volume"'),
    ("type=cahce", 'unsupported mount type "cahce" (did you mean cache?)'),
    ("tagret=/a", "unexpected key 'tagret' in 'tagret=/a' (did you mean target?)"),
    ("other=/a", "unexpected key 'other' in 'other=/a'"),
    ("type=cache,sharing=none", 'unsupported sharing value "none"'),
    ("target=/a,sharing=shared", "invalid cache sharing set for bind mount"),
    ("target=/a,ro=maybe", "invalid value for ro: maybe"),
    ("target=/a,rw=2", "invalid value for rw: 2"),
    ("target=/a,required", "unexpected key 'required' for mount type 'bind'"),
    ("type=cache,required=true", "unexpected key 'required' for mount type 'cache'"),
    ("type=ssh,required=x", "invalid value for required: x"),
    ("type=cache,size=1", "unexpected key 'size' for mount type 'cache'"),
    ("type=tmpfs,size=1x", "invalid value for size: 1x"),
    ("type=tmpfs,size=-1", "invalid value for size: -1"),
    ("type=cache,mode=8", "invalid value 8 for mode"),
    ("type=cache,mode=", "invalid value  for mode"),
    ("type=cache,uid=x", "invalid value x for uid"),
    ("type=cache,gid=4294967296", "invalid value 4294967296 for gid"),
    ("target=/a,mode=1", 'mode not allowed for "bind" type mounts'),
    ("type=tmpfs,uid=1", 'uid not allowed for "tmpfs" type mounts'),
    ("target=/a,gid=1", 'gid not allowed for "bind" type mounts'),
    ("type=secret", "invalid secret mount. one of source, target required"),
    ("type=secret,id=a,from=b", "secret mount should not have a from"),
    ("type=secret,id=a,sharing=shared", "secret mount should not define sharing"),
    ("type=secret,id=a,source=b", "both source and id can't be set"),
]


@pytest.mark.parametrize(("option", "cause"), REFUSED)
def test_a_mount_that_is_refused(option: str, cause: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(option, expand)
    assert caught.value.message == cause


@pytest.mark.parametrize(("option", "expected"), [("target=/a", ""), ("from=a,From=b", "b"), ("ro,from=a$", "a$")])
def test_where_a_mount_is_from(option: str, expected: str) -> None:
    assert source_of(option) == expected


def test_where_a_mount_is_from_holds_no_variable() -> None:
    with pytest.raises(InvalidInput, match="'from' doesn't support variable expansion, define alias stage instead"):
        source_of("from=$a,target=/b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", ["a"]), ("a,", ["a", ""]), (",", ["", ""]), ('"a,b","c""d",e', ["a,b", 'c"d', "e"]), ("a\n", ["a"])],
)
def test_fields(text: str, expected: list[str]) -> None:
    assert fields(text, "mounts") == expected


DEVICES = [
    ("v.com/d=x", Device("v.com/d=x")),
    ("v.com/d", Device("v.com/d")),
    ("v.com/d=x,required", Device("v.com/d=x", True)),
    ("name=v.com/d=x,required=true", Device("v.com/d=x", True)),
    ("v.com/d,required=0", Device("v.com/d")),
]


@pytest.mark.parametrize(("option", "expected"), DEVICES)
def test_a_device(option: str, expected: Device) -> None:
    assert parse_device(option) == expected


@pytest.mark.parametrize(
    ("option", "cause"),
    [
        ("a,name=b", "device name already set to a"),
        ("a,b", "invalid field 'b' must be a key=value pair"),
        ("a,requierd=1", "unexpected key 'requierd' in 'requierd=1' (did you mean required?)"),
        ("a,required=x", "invalid value for required: x"),
    ],
)
def test_a_device_that_is_refused(option: str, cause: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_device(option)
    assert caught.value.message == cause
