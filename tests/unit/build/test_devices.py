"""``RUN --device``: which devices are meant, and who may have them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from corten.build.devices import AUTO_ALLOW, CLASS, Granted, granted
from corten.build.instructions import Device
from corten.errors import InvalidInput
from corten.spec import cdi

_ALL = (
    cdi.Device("v.com/d=a", "/f", annotations={CLASS: "big"}),
    cdi.Device("v.com/d=b", "/f", annotations={CLASS: "big"}),
    cdi.Device("v.com/d=c", "/f"),
    cdi.Device("v.com/open=x", "/g", annotations={AUTO_ALLOW: "true"}),
    cdi.Device("v.com/shut=x", "/g", annotations={AUTO_ALLOW: "yes"}),
)
KNOWN = {one.name: one for one in _ALL}


def names(*asked: str, allowed: Sequence[str] = ("device",)) -> tuple[str, ...]:
    found = granted([Device(one) for one in asked], KNOWN, allowed)
    assert found.missing == ()
    return found.names


def test_what_a_name_means() -> None:
    assert names("v.com/d=b") == ("v.com/d=b",)
    assert names("v.com/d") == names("v.com/d=") == ("v.com/d=a",)
    assert names("v.com/d=*") == ("v.com/d=a", "v.com/d=b", "v.com/d=c")
    assert names("v.com/d=big") == ("v.com/d=a", "v.com/d=b")
    assert names("v.com/d=c", "v.com/d=big", "v.com/d=b") == ("v.com/d=c", "v.com/d=a", "v.com/d=b")


def test_what_is_not_there() -> None:
    asked = [Device("v.com/d=z"), Device("v.com/none", required=False)]
    assert granted(asked, KNOWN, ()) == Granted((), ("v.com/d=z", "v.com/none"))
    with pytest.raises(InvalidInput, match=r'required device "v.com/d=z" is not registered'):
        granted([Device("v.com/d=z", required=True)], KNOWN, ("device",))
    for wrong in ("gpu", "", "/dev/x", "v.com/=a", "1/d=a"):
        with pytest.raises(InvalidInput, match="invalid device"):
            granted([Device(wrong)], KNOWN, ("device",))


def test_who_may_have_a_device() -> None:
    assert names("v.com/open=x", allowed=()) == ("v.com/open=x",)
    assert names("v.com/d=a", allowed=("network.host", "device=v.com/d=a")) == ("v.com/d=a",)
    assert names("v.com/d", allowed=("device=v.com/d=big",)) == ("v.com/d=a",)
    assert names("v.com/d=*", allowed=("device=v.com/d=*",)) == ("v.com/d=a", "v.com/d=b", "v.com/d=c")
    assert names("v.com/mine=x", allowed=("device=v.com/d=c,alias=v.com/mine=x",)) == ("v.com/d=c",)
    with pytest.raises(InvalidInput) as one:
        names("v.com/d=b", allowed=("device=v.com/d=a", "security.insecure"))
    assert one.value.message == "device v.com/d=b is requested by the build but not allowed"
    assert one.value.hint.startswith("build with --allow device=v.com/d=b, or ")
    with pytest.raises(InvalidInput) as several:
        names("v.com/d=*", "v.com/shut=x", allowed=("device=v.com/d=a",))
    told = "devices v.com/d=b, v.com/d=c, v.com/shut=x are requested by the build but not allowed"
    assert several.value.message == told


@pytest.mark.parametrize("right", ["device=v.com/d=a,b", "device=v.com/d=a,alias", "device=v.com/d=a,other=x"])
def test_rights_that_are_none(right: str) -> None:
    with pytest.raises(InvalidInput, match=r"is not alias=NAME"):
        granted([], KNOWN, (right,))
