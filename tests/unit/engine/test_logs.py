"""The log's readers: rotation, tail, bytes that are not UTF-8."""

import asyncio
import gc
import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corten.engine.clock import format_time
from corten.engine.log_formats import JSON_FILE, LOCAL, Entry, decode_entry
from corten.engine.logs import LogFeed, LogOptions, read_log, render
from corten.wire import locallog


def line(text: str, second: int = 0, stream: str = "stdout") -> bytes:
    entry = {"log": text, "stream": stream, "time": format_time(second * 10**9)}
    return json.dumps(entry).encode() + b"\n"


def lines(feed: LogFeed, **options: object) -> list[bytes]:
    async def collect() -> list[bytes]:
        return [entry.data async for entry in read_log(feed, LogOptions(**options))]

    return asyncio.run(collect())


def opened() -> set[str]:
    gc.collect()  # what other tests left to be closed is not to be closed in the midst of one of these
    return set(os.listdir("/proc/self/fd"))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "x-json.log"


def test_bytes_that_are_not_utf8_come_back() -> None:
    entry = decode_entry(b'{"log":"a\\udcffb\\n","stream":"stderr","time":"2026-01-01T00:00:00.000000001Z"}')
    assert entry == Entry(2, b"a\xffb\n", "2026-01-01T00:00:00.000000001Z")


def test_times_compare_as_text() -> None:
    assert format_time(1) == "1970-01-01T00:00:00.000000001Z"
    assert format_time(10**9 - 1) < format_time(10**9)


def test_details_and_timestamps_stand_in_front() -> None:
    entry = Entry(1, b"x\n", format_time(0))
    assert render(entry, LogOptions(timestamps=True, details=True)) == b"1970-01-01T00:00:00.000000000Z  x\n"


def test_a_log_that_is_not_there_is_empty(log: Path) -> None:
    assert lines(LogFeed(str(log))) == []


def test_rotated_files_come_first_and_all_are_closed(log: Path) -> None:
    for name, number in (("x-json.log.2", 0), ("x-json.log.1", 1), ("x-json.log", 2)):
        (log.parent / name).write_bytes(line(f"{number}\n", number))
    before = opened()
    assert lines(LogFeed(str(log))) == [b"0\n", b"1\n", b"2\n"]
    assert opened() == before


@pytest.mark.parametrize("tail", range(7))
def test_tail_counts_over_files(log: Path, tail: int) -> None:
    (log.parent / "x-json.log.1").write_bytes(b"".join(line(f"{n}\n") for n in range(3)))
    log.write_bytes(b"".join(line(f"{n}\n") for n in range(3, 5)))
    before = opened()
    expected = [b"%d\n" % n for n in range(5)]
    assert lines(LogFeed(str(log)), tail=tail) == (expected[-tail:] if tail else [])
    assert opened() == before


def test_tail_of_lines_longer_than_a_block(log: Path) -> None:
    texts = [letter * 200_000 + "\n" for letter in "abc"]
    log.write_bytes(b"".join(map(line, texts)))
    assert lines(LogFeed(str(log)), tail=2) == [text.encode() for text in texts[1:]]


@pytest.mark.parametrize("form", ["json-file", "local"])
@pytest.mark.parametrize("tail", range(7))
def test_tail_counts_lines_not_the_parts_that_they_were_written_in(log: Path, form: str, tail: int) -> None:
    written = ["a\n", "b", "b", "b\n", '\\n","stream":"', "\n", "\\n", "\n", "e"]
    (log.parent / "x-json.log.1").write_bytes(b"".join(entry(form, text) for text in written[:2]))
    log.write_bytes(b"".join(entry(form, text) for text in written[2:]))
    whole = [b"a\n", b"bbb\n", b'\\n","stream":"\n', b"\\n\n", b"e"]
    found = lines(LogFeed(str(log), JSON_FILE if form == "json-file" else LOCAL), tail=tail)
    expected = b"".join(whole[-tail:]) if tail else b""
    # A line that began in an older file is cut there.
    assert b"".join(found) == (b"bb\n" + b"".join(whole[2:]) if tail == 4 else expected)


def entry(form: str, text: str) -> bytes:
    return line(text) if form == "json-file" else locallog.encode(text.encode(), "stdout", 1)


def test_a_local_log_has_all_that_was_given_to_it(log: Path) -> None:
    told = locallog.encode_attributes({"b": "2", "a": "\u00e9"})
    log.write_bytes(locallog.encode(b"x\xff\n\nno end", "stderr", 5 * 10**9 + 7, told))
    feed = LogFeed(str(log), LOCAL)
    assert lines(feed) == [b"x\xff\n", b"\n", b"no end"]
    cursor = feed.at_start()
    first = LOCAL.decode(cursor.read()[0])
    cursor.close()
    assert first == Entry(2, b"x\xff\n", "1970-01-01T00:00:05.000000007Z", {"a": "\u00e9", "b": "2"})


@given(st.binary(max_size=200))
def test_a_damaged_local_entry_is_an_error_and_nothing_else(data: bytes) -> None:
    try:
        LOCAL.decode(data)
    except ValueError:
        return


def test_since_until_and_streams(log: Path) -> None:
    log.write_bytes(b"".join(line(f"{n}", n, "stderr" if n == 3 else "stdout") for n in range(6)))
    assert lines(LogFeed(str(log)), since=2 * 10**9, until=4 * 10**9, stderr=False) == [b"2", b"4"]


def test_a_line_that_is_not_ended_waits(log: Path) -> None:
    log.write_bytes(line("a") + line("b")[:-5])
    cursor = LogFeed(str(log)).at_start()
    assert cursor.read() == [line("a")[:-1]]
    assert cursor.read() == []
    with log.open("ab") as file:
        file.write(line("b")[-5:])
    assert cursor.read() == [line("b")[:-1]]
    cursor.close()


def test_a_follower_reads_through_rotations_and_to_the_end(log: Path) -> None:
    async def run() -> list[bytes]:
        feed = LogFeed(str(log))
        log.write_bytes(line("0"))
        feed.begin()
        feed.grown(os.open(log, os.O_RDONLY))
        stream = read_log(feed, LogOptions(follow=True))
        found = [(await anext(stream)).data]
        for number in (1, 2):
            log.rename(f"{log}.1")
            log.write_bytes(line(str(number)))
            feed.grown(os.open(log, os.O_RDONLY))
        feed.end()
        return found + [entry.data async for entry in stream]

    before = opened()
    assert asyncio.run(run()) == [b"0", b"1", b"2"]
    assert opened() == before


def test_rotations_that_were_not_told_yet_are_not_read_twice(log: Path) -> None:
    async def run() -> list[bytes]:
        feed = LogFeed(str(log))
        log.write_bytes(line("0"))
        feed.begin()
        feed.grown(os.open(log, os.O_RDONLY))
        news = []
        for number in (1, 2):
            for old, new in ((f"{log}.1", f"{log}.2"), (str(log), f"{log}.1")):
                if os.path.exists(old):
                    os.rename(old, new)
            log.write_bytes(line(str(number)))
            news.append(os.open(log, os.O_RDONLY))
        cursor = feed.at_start()
        for descriptor in news:
            feed.grown(descriptor)
        feed.end()
        found = []
        while read := cursor.read():
            found += [decode_entry(one).data for one in read]
        cursor.close()
        return found

    before = opened()
    assert asyncio.run(run()) == [b"0", b"1", b"2"]
    assert opened() == before


def test_what_is_being_read_stays_when_its_container_is_removed(log: Path) -> None:
    """A container may end, and be removed, while what is compressed is being unpacked for a reader."""

    async def run() -> list[bytes]:
        feed = LogFeed(str(log))
        log.write_bytes(line("said"))
        (log.parent / "x-json.log.1.gz").write_bytes(gzip.compress(line("before")))
        feed.begin()
        stream = read_log(feed, LogOptions(follow=True))
        first = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        feed.end()
        log.unlink()
        return [(await first).data] + [entry.data async for entry in stream]

    before = opened()
    assert asyncio.run(run())[-1] == b"said"
    assert opened() == before


@pytest.mark.parametrize("speaks", [True, False])
def test_a_run_that_began_just_now_has_a_moment_for_its_first_word(log: Path, speaks: bool) -> None:
    async def run() -> list[bytes]:
        feed = LogFeed(str(log))
        feed.begin()
        found: list[bytes] = []

        async def read() -> None:
            found.extend([entry.data async for entry in read_log(feed, LogOptions())])

        reading = asyncio.ensure_future(read())
        await asyncio.sleep(0)
        if speaks:
            log.write_bytes(line("word"))
            feed.grown()
        await reading
        return found

    assert asyncio.run(run()) == ([b"word"] if speaks else [])


def test_a_run_that_began_long_ago_is_not_waited_for(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[bytes]:
        feed = LogFeed(str(log))
        feed.begin()
        monkeypatch.setattr("corten.engine.logs._NEW", 0.0)
        return [entry.data async for entry in read_log(feed, LogOptions())]

    assert asyncio.run(run()) == []
