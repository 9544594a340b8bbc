"""The log writer: exact bytes, Docker's form, rotation, a full disk."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from corten.engine.log_formats import decode_entry
from corten.monitor.log import LogWriter
from corten.spec.monitor import LogSpec

NANOSECOND = 1_800_000_000_123_456_789


def writer(path: Path, **options: int) -> LogWriter:
    return LogWriter(LogSpec(path=str(path), **options), now=lambda: NANOSECOND)


def content(path: Path) -> bytes:
    return b"".join(decode_entry(line).data for line in path.read_bytes().splitlines())


@pytest.mark.parametrize("data", [
    b"a line\n", b"no end", b"two\nlines\n", b"\r\n\x0b\x0c\x1c", "é\u2028\n".encode(), bytes(range(256)),
    b"\xed\xb2\x80\n", b"x" * 100_000,
])  # fmt: skip
def test_every_byte_comes_back(tmp_path: Path, data: bytes) -> None:
    log = writer(tmp_path / "log")
    log.write(data, "stdout")
    log.close()
    assert content(tmp_path / "log") == data


def test_an_entry_has_dockers_form(tmp_path: Path) -> None:
    log = writer(tmp_path / "log")
    log.write(b"out\n", "stdout")
    log.write(b"err", "stderr")
    log.close()
    first, second = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert first == {"log": "out\n", "stream": "stdout", "time": "2027-01-15T08:00:00.123456789Z"}
    assert second["stream"] == "stderr"


def test_rotation_keeps_so_many_files_newest_first(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = writer(path, max_size=1, max_file=3)
    rotated = [log.write(b"%d\n" % number, "stdout") for number in range(5)]
    log.close()
    assert rotated == [False, True, True, True, True]
    assert log.generation == 4
    names = sorted(os.listdir(tmp_path))
    assert [content(tmp_path / name) for name in names] == [b"4\n", b"3\n", b"2\n"]
    assert names == ["log", "log.1", "log.2"]


def write_all(log: LogWriter, data: bytes, stream: str = "stdout") -> list[bool]:
    """As a monitor does; whether each part began a new file."""
    rotated = []
    while data:
        end = log.until_rotation(data, stream)
        rotated.append(log.write(data[:end], stream))
        data = data[end:]
    return rotated


def test_no_file_begins_with_the_end_of_a_line(tmp_path: Path) -> None:
    log = writer(tmp_path / "log", max_size=200, max_file=3)
    write_all(log, b"a" * 90 + b"\nbe")
    assert write_all(log, b"gun\nnext\n") == [False, True]
    log.close()
    assert content(tmp_path / "log.1") == b"a" * 90 + b"\nbegun\n"
    assert content(tmp_path / "log") == b"next\n"


def test_a_line_without_end_is_rotated_all_the_same(tmp_path: Path) -> None:
    log = writer(tmp_path / "log", max_size=100, max_file=3)
    assert any(rotated for _ in range(6) for rotated in write_all(log, b"x" * 50))
    log.close()


def test_one_file_only_is_begun_anew(tmp_path: Path) -> None:
    log = writer(tmp_path / "log", max_size=1, max_file=1)
    log.write(b"old\n", "stdout")
    log.write(b"new\n", "stdout")
    log.close()
    assert os.listdir(tmp_path) == ["log"]
    assert content(tmp_path / "log") == b"new\n"


def test_an_existing_log_is_continued(tmp_path: Path) -> None:
    for data in (b"first\n", b"second\n"):
        log = writer(tmp_path / "log")
        log.write(data, "stdout")
        log.close()
    assert content(tmp_path / "log") == b"first\nsecond\n"


def test_a_full_disk_leaves_no_half_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = writer(tmp_path / "log")
    log.write(b"kept\n", "stdout")
    real, calls = os.write, []

    def half(descriptor: int, data: memoryview) -> int:
        calls.append(1)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[:5])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="No space"):
        log.write(b"not yet\n", "stdout")
    monkeypatch.setattr(os, "write", real)
    assert content(tmp_path / "log") == b"kept\n"
    log.write(b"now\n", "stdout")
    log.close()
    assert content(tmp_path / "log") == b"kept\nnow\n"
