"""``--chmod``: an octal mode, or the symbolic ones of chmod(1) as BSD's setmode(3) reads them, with a mask of 0.

A clause is ``[ugoa…]`` and actions ``+``, ``-`` or ``=`` with letters of ``rwxXst`` and, for the bits of another class,
``u``, ``g`` and ``o``: ``u=rwX,go=u-w``.
"""

from __future__ import annotations

import dataclasses
import re

from corten.errors import InvalidInput

_SET_ID, _STICKY, _EXECUTE = 0o6000, 0o1000, 0o111
_CLASSES = {"u": 0o4700, "g": 0o2070, "o": 0o0007, "a": 0o6777}
_LETTERS = {"r": 0o444, "w": 0o222, "x": 0o111, "X": 0o111}
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_EVERYONE = 0o6777
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=][rwxXstugo]*)+)", re.ASCII)
_ACTION = re.compile(r"([-+=])([rwxXstugo]*)", re.ASCII)


@dataclasses.dataclass(frozen=True, slots=True)
class _Step:
    """One change: ``clear`` and ``set`` bits, ``execute`` those that are set where something is executable already,
    or copy a class's bits (``source``) into those of ``classes``."""

    clear: int = 0
    set: int = 0
    execute: int = 0
    source: str = ""
    action: str = ""
    classes: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Mode:
    """What ``--chmod`` makes of modes: of any the same, or of each its own."""

    octal: int | None
    steps: tuple[_Step, ...] = ()

    def apply(self, mode: int, *, is_directory: bool) -> int:
        """The twelve bits that a file's twelve become."""
        if self.octal is not None:
            return self.octal
        executable = is_directory or bool(mode & _EXECUTE)
        new = mode
        for step in self.steps:
            new = _copied(new, step) if step.source else new & ~step.clear | step.set
            new |= step.execute if executable else 0
        return new


def parse(notation: str) -> Mode:
    """Read a mode. Raises InvalidInput in BuildKit's words."""
    if notation[:1].isdigit():
        if not re.fullmatch("0*[0-7]{1,4}", notation, re.ASCII):
            raise InvalidInput(
                f"invalid chmod parameter: '{notation}'. it should be octal string and between 0 and 07777"
            )
        return Mode(int(notation[-4:], 8))
    steps: list[_Step] = []
    for clause in notation.split(","):
        found = _CLAUSE.fullmatch(clause)
        if not found:
            raise InvalidInput(f"invalid chmod parameter: '{notation}'. it should be as chmod(1) takes it")
        for action in _ACTION.finditer(found[2]):
            steps += _steps(found[1], action[1], action[2])
    return Mode(None, tuple(steps))


def _steps(who: str, action: str, letters: str) -> list[_Step]:
    """The steps of one action. Letters before that of a class are a step of their own.

    As setmode(3) has it, ``t`` counts as somebody who was named: of ``+tr`` there is only the ``t``.
    """
    mask = 0
    for one in who:
        mask |= _CLASSES[one]
    others_alone = mask == _CLASSES["o"]
    classes = "ugo" if "a" in who else who
    steps: list[_Step] = []
    plain = execute = 0
    copied = False
    for letter in letters:
        if letter in _SHIFTS:
            steps += [_plain(action, mask, plain)] if plain else []
            steps += [_Step(execute=execute & (mask or execute))] if execute else []
            steps.append(_Step(source=letter, action=action, classes=classes if mask else "ugo"))
            plain = execute = 0
            copied = True
        elif letter == "X" and action != "-":
            execute = _EXECUTE
        elif letter in _LETTERS:
            plain |= _LETTERS[letter]
        elif not others_alone:
            plain |= _SET_ID if letter == "s" else _STICKY
            mask |= _STICKY if letter == "t" else 0
    if plain or (action == "=" and not copied):
        steps.append(_plain(action, mask, plain))
    return steps + ([_Step(execute=execute & (mask or execute))] if execute else [])


def _plain(action: str, mask: int, bits: int) -> _Step:
    bits &= mask or bits
    if action == "-":
        return _Step(clear=bits)
    return _Step(clear=(mask or _EVERYONE) if action == "=" else 0, set=bits)


def _copied(mode: int, step: _Step) -> int:
    value = mode >> _SHIFTS[step.source] & 0o7
    for one in set(step.classes):
        shift = _SHIFTS[one]
        if step.action in "-=":
            mode &= ~((0o7 if step.action == "=" else value) << shift)
        if step.action in "+=":
            mode |= value << shift
    return mode
