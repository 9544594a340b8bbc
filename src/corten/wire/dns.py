"""DNS messages: what a resolver for containers reads and writes, and no more; no I/O.

RFC 1035 section 4 for the form, RFC 6891 for EDNS. Names are bytes here, in lower case, their labels joined by dots
and without one at the end. Only questions are read into values: what another server answers is passed on as it
stands, once :func:`replies_to` has found it to be an answer to what was asked.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

A, PTR, AAAA, OPT, ANY = 1, 12, 28, 41, 255
INTERNET = 1
NO_ERROR, FORMAT_ERROR, SERVER_FAILURE, NAME_ERROR, NOT_IMPLEMENTED, REFUSED, BAD_VERSION = 0, 1, 2, 3, 4, 5, 16
SMALLEST, LARGEST = 512, 4096
"""Bytes of a datagram: what every client takes (RFC 1035 section 4.2.1), and what is sent at most to one that says
that it takes more."""
HEADER = 12
_RESPONSE, _OPCODE, _TRUNCATED, _DESIRED, _AVAILABLE = 0x8000, 0x7800, 0x0200, 0x0100, 0x0080
_POINTER_TO_QUESTION = b"\xc0\x0c"
_LONGEST_NAME = 255
_MOST_ADDITIONAL = 8
_COUNTS = struct.Struct("!6H")
_QUESTION_END = struct.Struct("!2H")
_RECORD = struct.Struct("!2HIH")
_IPV4, _IPV6 = b".in-addr.arpa", b".ip6.arpa"


class Malformed(ValueError):
    """Not a question that can be answered; ``code`` says so to who asked."""

    def __init__(self, text: str, code: int = FORMAT_ERROR) -> None:
        super().__init__(text)
        self.code = code


class Query(NamedTuple):
    """One question."""

    id: int
    flags: int
    name: bytes
    kind: int
    """The type of record: :data:`A` and its like."""
    space: int
    """The class: :data:`INTERNET`, or something that hardly anybody has."""
    question: bytes
    """As it came, for the answer."""
    size: int
    """Bytes that an answer by datagram may have."""
    edns: bool


def is_response(data: bytes) -> bool:
    """Whether it is an answer, or too short to be anything: what is not to be answered."""
    return len(data) < HEADER or bool(data[2] & 0x80)


def query(data: bytes) -> Query:
    """The question that a message asks. Raises Malformed."""
    if len(data) < HEADER:
        raise Malformed("no header")
    id, flags, questions, answers, authorities, additional = _COUNTS.unpack_from(data)
    if flags & _OPCODE:
        raise Malformed("not a question", NOT_IMPLEMENTED)
    if questions != 1 or answers or authorities or additional > _MOST_ADDITIONAL:
        raise Malformed("not one question")
    name, offset = _name(data, HEADER)
    if len(data) - offset < 4:
        raise Malformed("a question without an end")
    kind, space = _QUESTION_END.unpack_from(data, offset)
    end = offset + 4
    size, edns = SMALLEST, False
    if additional:
        size, edns = _options(data, end, additional)
    elif end != len(data):
        raise Malformed("something after the question")
    return Query(id, flags, name, kind, space, data[HEADER:end], size, edns)


def _name(data: bytes, offset: int) -> tuple[bytes, int]:
    """A name that is written out, and where it ends. A dot in a label is no dot between labels."""
    labels: list[bytes] = []
    start, length = offset, len(data)
    while offset < length:
        size = data[offset]
        offset += 1
        if not size:
            return b".".join(labels).lower(), offset
        label = data[offset : offset + size]
        offset += size
        if size > 63 or offset > length or offset - start >= _LONGEST_NAME:
            break
        labels.append(label.replace(b".", b"\\.") if b"." in label else label)
    raise Malformed("a name that does not end")


def _options(data: bytes, offset: int, records: int) -> tuple[int, bool]:
    """(size of an answer, whether there are options) of the records after the question."""
    size, edns = SMALLEST, False
    for _ in range(records):
        name, offset = _name(data, offset)
        if len(data) - offset < _RECORD.size:
            raise Malformed("a record that does not end")
        kind, payload, extended, length = _RECORD.unpack_from(data, offset)
        offset += _RECORD.size + length
        if kind != OPT:
            continue
        if edns or name:
            raise Malformed("options twice, or of a name")
        if extended >> 16 & 0xFF:
            raise Malformed("options of a version to come", BAD_VERSION)
        size, edns = min(max(payload, SMALLEST), LARGEST), True
    if offset != len(data):
        raise Malformed("records that do not end where the message does")
    return size, edns


def record(kind: int, data: bytes, ttl: int) -> bytes:
    """A record of the name that was asked for; ``ttl`` in seconds."""
    return _POINTER_TO_QUESTION + _RECORD.pack(kind, INTERNET, ttl, len(data)) + data


def answer(asked: Query, records: Sequence[bytes] = (), code: int = NO_ERROR, *, limit: int = 0xFFFF) -> bytes:
    """The answer to a question. Of records that do not fit in ``limit`` bytes those that do, marked as truncated."""
    options = _own_options(code) if asked.edns else b""
    room = limit - HEADER - len(asked.question) - len(options)
    kept, truncated = records, 0
    if sum(map(len, records)) > room:
        kept, truncated = _fitting(records, room), _TRUNCATED
    flags = _RESPONSE | asked.flags & _DESIRED | _AVAILABLE | truncated | code & 0xF
    head = _COUNTS.pack(asked.id, flags, 1, len(kept), 0, 1 if options else 0)
    return b"".join((head, asked.question, *kept, options))


def _fitting(records: Sequence[bytes], room: int) -> list[bytes]:
    kept = []
    for one in records:
        room -= len(one)
        if room < 0:
            break
        kept.append(one)
    return kept


def _own_options(code: int) -> bytes:
    """The root's name, and what this side takes; the upper bits of a code are here (RFC 6891 section 6.1.3)."""
    return b"\0" + _RECORD.pack(OPT, LARGEST, code >> 4 << 24, 0)


def refusal(data: bytes, code: int) -> bytes:
    """The answer to a message whose question cannot be read: its header, and what is wrong."""
    id, flags = struct.unpack_from("!2H", data)
    flags = _RESPONSE | flags & (_OPCODE | _DESIRED) | _AVAILABLE | code & 0xF
    options = _own_options(code) if code > 0xF else b""
    return _COUNTS.pack(id, flags, 0, 0, 0, 1 if options else 0) + options


def truncated(reply: bytes, question: bytes) -> bytes:
    """Another server's answer without its records: who asked has to ask again by TCP."""
    id, flags = struct.unpack_from("!2H", reply)
    return _COUNTS.pack(id, flags | _TRUNCATED, 1, 0, 0, 0) + question


def with_id(data: bytes, id: int) -> bytes:
    """A message under another number."""
    return id.to_bytes(2, "big") + data[2:]


def replies_to(data: bytes, id: int, question: bytes) -> bool:
    """Whether a message is an answer to a question that was sent as ``id``: a number alone is soon guessed, and a
    server may answer in its own case (RFC 5452 section 9.1)."""
    if len(data) < HEADER or data[:2] != id.to_bytes(2, "big") or not data[2] & 0x80:
        return False
    if data[4:6] != b"\0\1":
        return False
    end = HEADER + len(question)
    return data[HEADER : end - 4].lower() == question[:-4].lower() and data[end - 4 : end] == question[-4:]


def code_of(reply: bytes) -> int:
    """The response code of an answer."""
    return reply[3] & 0xF


def encode_name(name: bytes) -> bytes:
    """A name of dotted labels, written out. Raises Malformed for a label of more than 63 bytes, and a name of more
    than 255."""
    labels = [label for label in name.split(b".") if label]
    written = b"".join(bytes((len(label),)) + label for label in labels if len(label) < 64) + b"\0"
    if len(written) > _LONGEST_NAME or any(len(label) > 63 for label in labels):
        raise Malformed("a name that is too long")
    return written


def address_of_pointer(name: bytes) -> bytes:
    """The address that a name of in-addr.arpa or ip6.arpa stands for, 4 or 16 bytes; b"" for any other name."""
    try:
        if name.endswith(_IPV4):
            parts = name[: -len(_IPV4)].split(b".")
            text = b".".join(reversed(parts)).decode("ascii")
            return socket.inet_pton(socket.AF_INET, text)
        if name.endswith(_IPV6):
            digits = name[: -len(_IPV6)].split(b".")
            plain = len(digits) == 32 and all(len(digit) == 1 for digit in digits)
            return bytes.fromhex(b"".join(reversed(digits)).decode("ascii")) if plain else b""
    except (OSError, ValueError):
        return b""
    return b""
