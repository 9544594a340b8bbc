"""The exit record: there whole, or not at all; and the values that travel."""

from __future__ import annotations

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


def test_members_of_a_newer_monitor_are_passed_over() -> None:
    assert ExitRecord.decode({**END.encode(), "novelty": 1}) == END


def test_a_specification_survives_the_socket() -> None:
    log = LogSpec(path="/l", max_file=2)
    spec = MonitorSpec("id", directory="/d", socket="/s", terminal=True, cgroup="a/b", log=log)
    assert MonitorSpec.decode(json.loads(json.dumps(spec.encode()))) == spec
