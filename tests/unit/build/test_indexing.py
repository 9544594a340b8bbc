"""Indexing an archive: what it holds is written down, and no name of it means anything."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import tempfile

import pytest

from corten.build.indexing import Indexer, carried, uncarried
from corten.errors import DataCorrupt, InvalidInput
from corten.wire import tar


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname, made.size = kind, link, size
    return made


def indexed(*entries: tuple[tarfile.TarInfo, bytes]) -> tuple[dict[str, list[object]], bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for one, content in entries:
            one.size = len(content)
            archive.addfile(one, io.BytesIO(content))
    with tempfile.TemporaryFile() as spool:
        indexer, reader = Indexer(spool.fileno(), 0), tar.Reader()
        for event in reader.receive(buffer.getvalue()):
            indexer.receive(event)
        indexer.finish()
        return dict(indexer.rows), os.pread(spool.fileno(), 1 << 20, 0)


def test_content_goes_into_the_spool() -> None:
    rows, spool = indexed((entry("./a"), b"one"), (entry("d/", tarfile.DIRTYPE), b""), (entry("d/b"), b"three"))
    assert spool == b"onethree"
    assert [(path, row[0], row[5], row[6]) for path, row in rows.items()] == [
        ("a", "file", 3, 0), ("d", "directory", 0, 0), ("d/b", "file", 5, 3),
    ]  # fmt: skip
    assert rows["a"][7] == hashlib.sha256(b"one").hexdigest()


def test_a_later_entry_wins_and_a_hard_link_is_the_same_file() -> None:
    rows, _ = indexed((entry("a"), b"1"), (entry("a"), b"22"), (entry("l", tarfile.LNKTYPE, "a"), b""))
    assert rows["a"][5] == 2
    assert rows["l"] == rows["a"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x", "a/.."])
def test_a_name_that_climbs_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="leads out of it"):
        indexed((entry(name), b""))


def test_a_hard_link_out_of_it_is_refused() -> None:
    with pytest.raises(InvalidInput, match="leads out of it"):
        indexed((entry("l", tarfile.LNKTYPE, "../../etc/shadow"), b""))
    with pytest.raises(DataCorrupt, match="is not in it"):
        indexed((entry("l", tarfile.LNKTYPE, "etc/shadow"), b""))


@pytest.mark.parametrize("text", ["plain", "é", "\udcff", "日本\udc80"])
def test_names_of_any_bytes_are_carried(text: str) -> None:
    assert uncarried(carried(text)) == text
    carried(text).encode("latin-1")


@pytest.mark.parametrize(("cut", "whole"), [(1536, True), (1024 - 47, True), (700, True), (517, False), (400, False)])
def test_the_last_members_padding_may_be_missing(cut: int, whole: bool) -> None:
    """The docker command line writes none after the Dockerfile that it had from its standard input."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        one = entry("a", size=10)
        archive.addfile(one, io.BytesIO(b"0123456789"))
    reader = tar.Reader()
    content = b"".join(e.data for e in reader.receive(buffer.getvalue()[:cut]) if isinstance(e, tar.Chunk))
    if whole:
        reader.close()
        assert content == b"0123456789"
    else:
        with pytest.raises(DataCorrupt, match="in the middle of a member"):
            reader.close()
