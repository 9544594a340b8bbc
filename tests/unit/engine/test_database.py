"""Rows of the database: what an earlier engine wrote is read, what cannot be understood is named."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from corten.engine.database import Database, Table
from corten.engine.model import HostConfig
from corten.errors import DataCorrupt


def _loaded(tmp_path: Path, row: bytes) -> HostConfig:
    database = Database(tmp_path / "db")
    table = Table(database, "things")
    table.put("one", msgspec.Raw(row))
    (value,) = table.load(HostConfig)
    return value


def test_members_that_once_held_whatever_a_client_sent(tmp_path: Path) -> None:
    row = (
        b'{"Memory": 7, "BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": "9"}], "Mounts": [{"Type": "volume", '
        b'"Target": "/v", "VolumeOptions": {"NoCopy": null, "DriverConfig": {"Name": null}}}]}'
    )
    value = _loaded(tmp_path, row)
    assert value.mounts is not None
    assert value.blkio_device_read_bps is not None
    assert (value.memory, value.blkio_device_read_bps[0].rate) == (7, 9)
    options = value.mounts[0].volume_options
    assert options is not None
    assert options.driver_config is not None
    assert (options.no_copy, options.driver_config.name) == (False, "")


@pytest.mark.parametrize("row", [b'{"Memory": []}', b'{"Memory": "many"}'])
def test_what_cannot_be_understood_is_named(tmp_path: Path, row: bytes) -> None:
    with pytest.raises(DataCorrupt, match="read things one"):
        _loaded(tmp_path, row)
