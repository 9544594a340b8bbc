"""What confines a container: the profile that is chosen, and the one by default."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from corten.engine import apparmor
from corten.engine.model import HostConfig
from corten.errors import Unavailable

Kernel = Callable[..., None]


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """Makes what an engine sees of a kernel and its tools."""

    def make(*, enabled: str = "Y\n", parser: str | None = "exit 0", profiles: str = "", revision: str = "7\n") -> None:
        (tmp_path / "enabled").write_text(enabled)
        (tmp_path / "profiles").write_text(profiles)
        (tmp_path / "revision").write_text(revision)
        if parser is not None:
            (tmp_path / "parser").write_text(f"#!/bin/sh\n{parser}\n")
            (tmp_path / "parser").chmod(0o755)

    monkeypatch.setattr(apparmor, "_ENABLED", tmp_path / "enabled")
    monkeypatch.setattr(apparmor, "_POLICY", tmp_path)
    monkeypatch.setattr(apparmor, "_PARSER", tmp_path / "parser")
    monkeypatch.setattr(apparmor, "_default", apparmor._Default())
    _forget()
    yield make
    _forget()


def _forget() -> None:
    apparmor.is_enabled.cache_clear()
    apparmor.lacking.cache_clear()


@pytest.mark.root
@pytest.mark.parametrize(
    ("host", "profile", "shown"),
    [
        (HostConfig(), "corten-default", "corten-default"),
        (HostConfig(security_opt=("apparmor=unconfined",)), "", "unconfined"),
        (HostConfig(security_opt=("apparmor:other",)), "other", "other"),
        (HostConfig(privileged=True), "", "unconfined"),
        (HostConfig(privileged=True, security_opt=("apparmor=other",)), "other", "other"),
    ],
)
def test_where_the_default_can_be_had(kernel: Kernel, host: HostConfig, profile: str, shown: str) -> None:
    kernel()
    assert (apparmor.profile_of(host), apparmor.shown(host)) == (profile, shown)


def test_a_kernel_without_it_looks_at_no_profile(kernel: Kernel) -> None:
    kernel(enabled="N\n")
    assert apparmor.profile_of(HostConfig(security_opt=("apparmor=other",))) == ""
    assert (apparmor.shown(HostConfig()), apparmor.lacking()) == ("", "")


@pytest.mark.root
def test_without_the_parser_only_a_named_profile_confines_and_it_is_told(kernel: Kernel) -> None:
    kernel(parser=None)
    assert "install the package apparmor" in apparmor.lacking()
    assert (apparmor.profile_of(HostConfig()), apparmor.shown(HostConfig())) == ("", "")
    assert apparmor.profile_of(HostConfig(security_opt=("apparmor=other",))) == "other"


@pytest.mark.root
def test_it_is_loaded_once_and_again_where_the_policy_has_changed(kernel: Kernel, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    kernel(parser=f"cat >> {seen}; echo 'corten-default (enforce)' > {tmp_path}/profiles")
    for _ in range(3):
        assert apparmor.confinement(HostConfig()) == "corten-default"
    assert seen.read_text().count("profile corten-default ") == 1
    kernel(parser=None, profiles="corten-default-not (enforce)\n", revision="8\n")
    apparmor.confinement(HostConfig())
    assert seen.read_text().count("profile corten-default ") == 2


@pytest.mark.root
def test_what_the_parser_refuses_stops_a_start(kernel: Kernel) -> None:
    kernel(parser="cat > /dev/null; echo no such feature >&2; exit 3")
    with pytest.raises(Unavailable, match="load AppArmor profile corten-default: no such feature") as caught:
        apparmor.confinement(HostConfig())
    assert "apparmor=unconfined" in caught.value.hint
