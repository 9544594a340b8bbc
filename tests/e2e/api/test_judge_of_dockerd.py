"""The judge of the contract takes dockerd's own answers: what it adds to the specification is what dockerd does."""

from __future__ import annotations

import pytest

from tests.support import http
from tests.support.contract import Exchange, Specification
from tests.support.dockerd import Dockerd

pytestmark = [pytest.mark.root, pytest.mark.dockerd]

_ASKED = (
    "/info", "/version", "/containers/json", "/containers/judged/json", "/containers/judged/top", "/images/json",
    "/images/busybox/json", "/images/busybox/history", "/networks/bridge", "/volumes", "/system/df", "/nodes",
    "/containers/judged/stats?stream=0&one-shot=1", "/containers/nobody/json", "/plugins", "/events?since=1&until=2",
)  # fmt: skip


def test_dockerd_keeps_the_contract_by_this_judge(dockerd: Dockerd) -> None:
    version = http.request(dockerd.socket, "GET", "/version").check().json["ApiVersion"]
    major, minor = (int(part) for part in version.split("."))
    specification = Specification.load((major, minor))
    dockerd.docker("run", "-d", "--name", "judged", "busybox", "sleep", "600").check()
    try:
        found = []
        for target in _ASKED:
            answer = http.request(dockerd.socket, "GET", f"/v{version}{target}")
            exchange = Exchange("GET", f"/v{version}{target}", answer.status, answer.headers, answer.body)
            found += specification.findings(exchange)
        assert found == []
    finally:
        dockerd.docker("rm", "-f", "judged").check()
