"""What a token server's refusals are called."""

from __future__ import annotations

import pytest

from corten.registry.auth import _refusal


@pytest.mark.parametrize(
    ("status", "content", "said"),
    [
        (429, '{"errors": [{"code": "TOOMANYREQUESTS", "message": "no more"}]}', "toomanyrequests: no more"),
        (401, '{"errors": [{"Code": "UNAUTHORIZED", "message": "not you"}]}', "unauthorized: not you"),
        (401, '{"details": "incorrect username or password"}', "unauthorized: incorrect username or password"),
        (401, '{"error": "unauthorized"}', "unauthorized: authentication required"),
        (401, "no", "unauthorized: authentication required"),
        (503, "", "received unexpected HTTP status: 503"),
    ],
)
def test_refusals_in_dockerds_words(status: int, content: str, said: str) -> None:
    assert _refusal(status, content.encode()) == said


def test_what_cannot_be_understood_is_shown_in_part() -> None:
    said = _refusal(403, b"no way\x1b[2J" + b"x" * 10000)
    assert said.startswith("error parsing HTTP 403 response body: ")
    assert "'no way\\x1b[2J" in said
    assert len(said) < 700
