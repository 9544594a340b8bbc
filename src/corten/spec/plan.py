"""A plan: the list of operations that starts a container, or one more command in it.

It is computed once, printed by ``--explain``, sent to a starter as JSON, and executed there as it stands. Its digest
names it, so that what was shown and what is executed can be compared.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from corten.spec.operation import Operation, decode, describe, encode


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """The operations of a start, in the order of their execution."""

    steps: tuple[Operation, ...]

    def encode(self) -> list[dict[str, Any]]:
        """The JSON form."""
        return [encode(step) for step in self.steps]

    @classmethod
    def decode(cls, value: Sequence[dict[str, Any]]) -> Plan:
        """The plan of its JSON form. Raises KeyError for an unknown kind."""
        return cls(tuple(decode(step) for step in value))

    def digest(self) -> str:
        """``sha256:…`` of the canonical JSON form."""
        import hashlib  # of no use to who executes a plan

        content = json.dumps(self.encode(), sort_keys=True, separators=(",", ":")).encode()
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def stage(self, name: str) -> tuple[Operation, ...]:
        """The operations of one stage."""
        return tuple(step for step in self.steps if step.stage == name)

    def describe(self) -> list[dict[str, Any]]:
        """What ``--explain`` prints, a dictionary an operation."""
        return [describe(step) for step in self.steps]
