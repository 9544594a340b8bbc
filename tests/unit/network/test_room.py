"""How much the helper carries at a time."""

from __future__ import annotations

import resource

import pytest

from corten.network.helper.room import Room


@pytest.mark.parametrize(("descriptors", "most"), [(1 << 20, 16384), (20000, 7952), (4096, 256), (1024, 256)])
def test_as_many_as_descriptors_allow(monkeypatch: pytest.MonkeyPatch, descriptors: int, most: int) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (descriptors, descriptors))
    assert Room().most == most


def test_the_more_there_are_the_less_each_holds() -> None:
    room = Room(16384)
    assert room.buffer == 65536
    for _ in range(16384):
        assert room.take()
    assert room.buffer == 4096


def test_a_refusal_is_said_once_until_there_is_room_again(capfd: pytest.CaptureFixture[str]) -> None:
    room = Room(4)
    assert [room.take() for _ in range(7)] == [True] * 4 + [False] * 3
    room.give()
    assert room.take()
    assert not room.take()
    assert capfd.readouterr().err.count("4 connections") == 1
    for _ in range(3):
        room.give()
    assert [room.take() for _ in range(4)] == [True] * 3 + [False]
    assert capfd.readouterr().err.count("4 connections") == 1
