"""What the engine says of itself."""

from __future__ import annotations

import pytest

from corten.engine.system import proxies


def test_proxies_without_their_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128/x@y")
    monkeypatch.setenv("NO_PROXY", "localhost,.example")
    told = {"HttpProxy": "", "HttpsProxy": "http://xxxxx:xxxxx@proxy:3128/x@y", "NoProxy": "localhost,.example"}
    assert proxies() == told
