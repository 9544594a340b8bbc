"""The judge of the API's contract finds what is wrong, and the vendored specification is whole."""

from __future__ import annotations

import json
from typing import Any

import pytest

from corten.api.router import DEFAULT
from tests.support.contract import Exchange, Specification
from tests.support.proxy import Memory, exchanges

SPECIFICATION = Specification.load(DEFAULT)
_GOOD: dict[str, Any] = {
    "Name": "v", "Driver": "local", "Mountpoint": "/v", "Labels": {}, "Scope": "local", "Options": None,
}  # fmt: skip


def _findings(body: Any, status: int = 200, target: str = "/volumes/v", **headers: str) -> list[str]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"content-type": "application/json", **headers}
    return SPECIFICATION.findings(Exchange("GET", target, status, named, content))


def test_every_operation_of_the_specification_is_found_by_its_path() -> None:
    operations = list(SPECIFICATION.operations())
    assert len(operations) > 100
    for one in operations:
        found = SPECIFICATION.find(one.method, one.path.replace("{id}", "abc").replace("{name}", "abc"))
        assert found is not None, one.path


def test_a_true_answer_has_no_findings() -> None:
    assert _findings(_GOOD) == []


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({**_GOOD, "Surprise": 1}, 200, "Surprise"),
        ({**_GOOD, "Name": 1}, 200, "not of type 'string'"),
        ({name: value for name, value in _GOOD.items() if name != "Driver"}, 200, "'Driver' is a required"),
        ({**_GOOD, "Scope": "galactic"}, 200, "galactic"),
        ({**_GOOD, "CreatedAt": "yesterday"}, 200, "yesterday"),
        (b"{", 200, "not JSON"),
        (b"", 200, "no JSON document"),
        ({"error": "x"}, 404, "'message' is a required"),
        (_GOOD, 206, "the specification has"),
    ],
)
def test_what_is_wrong_is_found(body: Any, status: int, said: str) -> None:
    assert any(said in one for one in _findings(body, status)), _findings(body, status)


def test_an_unset_list_is_null_as_in_go_and_a_string_is_not() -> None:
    assert _findings({**_GOOD, "Labels": None}) == []
    assert _findings({**_GOOD, "Mountpoint": None}) != []


def test_what_was_removed_from_the_api_is_in_older_versions_only() -> None:
    image = [{"Id": "x", "ParentId": "", "RepoTags": [], "RepoDigests": [], "Created": 0, "Size": 1, "SharedSize": -1,
              "Labels": None, "Containers": -1, "VirtualSize": 1}]  # fmt: skip
    assert _findings(image, target="/v1.43/images/json") == []
    assert any("VirtualSize" in one for one in _findings(image, target="/v1.44/images/json"))


def test_an_operation_that_is_not_specified_is_a_finding() -> None:
    assert _findings({}, target="/containers/x/teleport") != []


def test_what_a_connection_said_is_read_off_it() -> None:
    asked, answered = Memory(), Memory()
    asked.add(b"HEAD /_ping HTTP/1.1\r\nHost: d\r\n\r\nGET /info HTTP/1.1\r\nHost: d\r\n\r\n")
    asked.add(b"POST /images/load HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n")
    answered.add(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    answered.add(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{}\n\r\n")
    told = [(one.method, one.target, one.body, one.whole) for one in exchanges(asked, answered)]
    assert told == [
        ("HEAD", "/_ping", b"", True), ("GET", "/info", b"{}", True), ("POST", "/images/load", b"{}\n", False),
    ]  # fmt: skip
