"""``run --explain``: the steps of a start, each with its reason and the equivalent shell command, before it is.

The engine computes the list once and executes that very list: the start names its digest, and an engine that
would do anything else refuses.
"""

from __future__ import annotations

import os
import sys
import textwrap

from .context import Context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def show(context: Context, path: str, form: str) -> str:
    """Print the plan of a container in one of the forms; its digest."""
    plan = context.client.get(f"/corten{path}/plan")
    if form == "json":
        import json

        context.out(json.dumps(plan, indent=4))
    else:
        context.out(as_text(plan["steps"]))
    digest: str = plan["digest"]
    sys.stdout.flush()  # what the container will say comes by another way, and after this
    return digest


def as_text(steps: list[dict[str, Any]]) -> str:
    """The steps under the headings of their groups, in the order of execution."""
    width = min(os.get_terminal_size(1).columns, 100) if os.isatty(1) else 80
    lines: list[str] = []
    group = ""
    for number, step in enumerate(steps, 1):
        if step["group"] != group:
            group = step["group"]
            lines += ["", f"# {group[:1].upper()}{group[1:]}"]
        lines += _step(number, step, width)
    return "\n".join(lines[1:]) + "\n"


def _step(number: int, step: dict[str, Any], width: int) -> list[str]:
    ready = "  (ready: done ahead)" if step["ready"] else ""
    title = f"{number:3}. {step['kind']} {step['what']}{ready}"
    reason = textwrap.wrap(step["why"], width, initial_indent="     ", subsequent_indent="     ")
    return [title.rstrip(), *reason, *(f"     $ {line}" for line in step["shell"].splitlines())]
