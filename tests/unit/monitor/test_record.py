"""The exit record: there whole, or not at all; and the values that travel."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest

from corten.monitor import record
from corten.spec.monitor import ExitRecord, LogSpec, MonitorSpec

END = ExitRecord(137, 9, True, 12345, boot_id="b", init_pid=7, init_start_time=8)


@pytest.mark.parametrize("durable", [True, False])
def test_it_is_written_by_rename(tmp_path: Path, durable: bool) -> None:
    (tmp_path / record.NAME).write_text("an older one")
    record.write(str(tmp_path), END, durable=durable)
    assert os.listdir(tmp_path) == [record.NAME]
    assert ExitRecord.decode(json.loads((tmp_path / record.NAME).read_text())) == END


@pytest.mark.parametrize("durable", [True, False])
def test_it_fills_what_was_reserved(tmp_path: Path, durable: bool) -> None:
    record.reserve(str(tmp_path))
    place = tmp_path / record.NAME
    assert not place.read_text().strip()
    before = place.stat()
    record.write(str(tmp_path), END, durable=durable)
    assert ExitRecord.decode(json.loads(place.read_text())) == END
    assert (place.stat().st_ino, place.stat().st_size) == (before.st_ino, before.st_size)
    assert os.listdir(tmp_path) == [record.NAME]


def test_one_that_is_too_long_is_written_all_the_same(tmp_path: Path) -> None:
    record.reserve(str(tmp_path))
    long = dataclasses.replace(END, boot_id="b" * 600)
    record.write(str(tmp_path), long, durable=True)
    assert ExitRecord.decode(json.loads((tmp_path / record.NAME).read_text())) == long


def test_members_of_a_newer_monitor_are_passed_over() -> None:
    assert ExitRecord.decode({**END.encode(), "novelty": 1}) == END


def test_a_specification_survives_the_socket() -> None:
    log = LogSpec(path="/l", max_file=2)
    spec = MonitorSpec("id", directory="/d", socket="/s", terminal=True, cgroup="a/b", log=log)
    assert MonitorSpec.decode(json.loads(json.dumps(spec.encode()))) == spec
