"""When somebody is to be poised for the next start."""

from __future__ import annotations

from corten.engine.poise import Poise


def start(poise: Poise, kind: str, likeness: object = "asked", id: str = "id") -> bool:
    """A container is created and started."""
    poise.remember(id, likeness)
    return poise.learn(id, kind, f"all but the command of {kind}")


def test_it_takes_two_that_are_alike() -> None:
    poise = Poise()
    start(poise, "a")
    assert (poise.text, poise.knows("asked")) == ("", False)
    assert start(poise, "a")
    assert (poise.text, poise.knows("asked")) == ("all but the command of a", True)
    assert not start(poise, "a")


def test_a_stray_keeps_them_and_makes_no_more() -> None:
    poise = Poise()
    start(poise, "a")
    start(poise, "a")
    assert not start(poise, "b", "otherwise")
    assert poise.text == ""
    assert poise.knows("asked")
    assert not poise.knows("otherwise")
    assert not start(poise, "a")
    assert poise.text == ""
    start(poise, "a")
    assert poise.text == "all but the command of a"


def test_another_row_takes_their_place() -> None:
    poise = Poise()
    for kind, likeness in (("a", "asked"), ("a", "asked"), ("b", "otherwise")):
        start(poise, kind, likeness)
    assert start(poise, "b", "otherwise")
    assert poise.knows("otherwise")
    assert not poise.knows("asked")


def test_strays_in_a_row_end_it() -> None:
    poise = Poise()
    start(poise, "a")
    start(poise, "a")
    assert [start(poise, kind) for kind in ("b", "c", "d")] == [False, False, True]
    assert not poise.knows("asked")


def test_the_same_may_be_asked_for_in_other_words() -> None:
    poise = Poise()
    for likeness in ("asked", "asked", "by another client"):
        start(poise, "a", likeness)
    assert poise.knows("asked")
    assert poise.knows("by another client")


def test_what_was_not_asked_for_is_like_nothing() -> None:
    """A container that was created before this engine, and is started again and again."""
    poise = Poise()
    poise.learn("id", "a", "text")
    poise.learn("id", "a", "text")
    assert poise.text == "text"
    assert not poise.knows(None)


def test_what_was_given_up_begins_anew() -> None:
    poise = Poise()
    start(poise, "a")
    start(poise, "a")
    poise.give_up()
    assert poise.text == ""
    start(poise, "a")
    assert poise.text == ""


def test_few_are_remembered() -> None:
    poise = Poise()
    for number in range(1000):
        poise.remember(str(number), number)
    assert poise.learn("0", "a", "text") is False
    poise.learn("0", "a", "text")
    assert not poise.knows(0)
