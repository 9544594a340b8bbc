"""The HTTP/1.1 client core: the same events however the bytes were split, and no sense made of nonsense."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.errors import CortenError, DataCorrupt, InvalidInput, Unavailable
from corten.wire.http1 import LAST_CHUNK, chunk, request
from corten.wire.responses import END, Head, ResponseReader

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: 1\r\nx: 2\r\n\r\n"
    b"5;note=1\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: t\r\n\r\n"
)
SIZED = b"HTTP/1.1 404 Not Found\r\nContent-Length: 11\r\n\r\nhello world"
UNSIZED = b"HTTP/1.1 200 OK\nServer: old\n\nhello world"


def read(data: bytes, cuts: list[int], reader: ResponseReader) -> tuple[list[Head], bytes, bool]:
    """Feed ``data`` cut at ``cuts``, then the close of the peer; heads, body, and whether it ended."""
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges) if a < b]
    events = [event for piece in [*pieces, b""] for event in reader.receive(piece)]
    body = b"".join(event for event in events if isinstance(event, bytes))
    return [event for event in events if isinstance(event, Head)], body, END in events


cuts = st.lists(st.integers(0, 300), max_size=40)


@given(cuts, st.sampled_from([CHUNKED, SIZED, UNSIZED]))
def test_the_split_does_not_matter(cuts: list[int], data: bytes) -> None:
    heads, body, ended = read(data, cuts, ResponseReader())
    assert ([head.status for head in heads], body, ended) == (
        [404 if data is SIZED else 200],
        b"hello world",
        True,
    )


@given(cuts)
def test_repeated_fields_are_joined(cuts: list[int]) -> None:
    [head], _, _ = read(CHUNKED, cuts, ResponseReader())
    assert head.headers["x"] == "1, 2"


@given(cuts, st.binary(max_size=40), st.booleans())
def test_a_tunnel_keeps_every_byte_that_follows(cuts: list[int], payload: bytes, upgraded: bool) -> None:
    status = b"101 UPGRADED" if upgraded else b"200 OK"
    data = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n" + payload
    reader = ResponseReader("POST", hijack=True)
    heads, body, ended = read(data, cuts, reader)
    assert (len(heads), body, ended, reader.unread, reader.reusable) == (1, b"", False, payload, False)


@given(st.binary(max_size=200))
def test_noise_is_an_error_of_ours_or_nothing(noise: bytes) -> None:
    reader = ResponseReader()
    try:
        read(noise, [], reader)
    except CortenError:
        return
    assert noise.startswith(b"HTTP/1.")


@given(st.integers(0, len(CHUNKED) - 1), st.integers(0, 255))
def test_a_damaged_response_is_read_or_refused(at: int, byte: int) -> None:
    damaged = bytearray(CHUNKED)
    damaged[at] = byte
    try:
        read(bytes(damaged), [7, 60], ResponseReader())
    except CortenError:
        return


def test_interim_responses_are_skipped() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\n" * 5000 + SIZED
    [head], body, _ = read(data, [3], ResponseReader())
    assert (head.status, body) == (404, b"hello world")


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("POST", 304)])
def test_these_have_no_body(method: str, status: int) -> None:
    reader = ResponseReader(method)
    events = reader.receive(f"HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n".encode())
    assert events[1:] == [END]
    assert reader.reusable


def test_transfer_encoding_beats_content_length() -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    assert read(data, [], ResponseReader())[1:] == (b"x", True)


def test_a_second_response_stays_unread() -> None:
    reader = ResponseReader()
    assert reader.receive(SIZED + SIZED)[-1] is END
    assert reader.unread == SIZED


def test_a_body_that_ends_with_the_connection_leaves_none_to_reuse() -> None:
    reader = ResponseReader()
    read(UNSIZED, [], reader)
    assert not reader.reusable


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nname : value\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1, 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 20000,
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 60000,
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(DataCorrupt):
        ResponseReader().receive(data)


@pytest.mark.parametrize("data", [SIZED[:-1], CHUNKED[:-1], SIZED[:20]])
def test_a_close_in_the_middle_is_an_error(data: bytes) -> None:
    with pytest.raises(DataCorrupt, match="in the middle"):
        read(data, [], ResponseReader())


def test_a_close_before_the_head_is_a_peer_that_does_not_answer() -> None:
    with pytest.raises(Unavailable):
        ResponseReader().receive(b"")


def test_a_request() -> None:
    sent = request("POST", "/a?b=c", {"Host": "corten"}, b"{}")
    assert sent == b"POST /a?b=c HTTP/1.1\r\nHost: corten\r\nContent-Length: 2\r\n\r\n{}"
    assert chunk(b"x" * 26) + LAST_CHUNK == b"1a\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n"
    assert chunk(b"") == b""


@pytest.mark.parametrize(
    ("target", "value"), [("/a b", "x"), ("/a\r\nX: y", "x"), ("/a", "x\r\nInjected: y"), ("/a", "x\0")]
)
def test_a_value_cannot_start_another_line(target: str, value: str) -> None:
    with pytest.raises(InvalidInput):
        request("GET", target, {"X": value})
