"""What forbids user namespaces is named, with what lifts it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from corten.launcher.refusal import refusal


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("user/max_user_namespaces", "0", "sudo sysctl -w user.max_user_namespaces=15000"),
        ("kernel/unprivileged_userns_clone", "0", "sudo sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            "kernel/apparmor_restrict_unprivileged_userns", "1",
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ("user/max_user_namespaces", "1000", "run Corten as root"),
    ],
)  # fmt: skip
def test_the_setting_is_named_with_its_remedy(tmp_path: Path, setting: str, value: str, remedy: str) -> None:
    path = tmp_path / setting
    path.parent.mkdir()
    path.write_text(f"{value}\n")
    assert remedy in refusal(PermissionError(errno.EPERM, ""), str(tmp_path)).hint


def test_a_limit_that_is_reached(tmp_path: Path) -> None:
    error = refusal(OSError(errno.ENOSPC, ""), str(tmp_path))
    assert "limit is reached" in error.message
    assert "user.max_user_namespaces" in error.hint
