"""Progress bars on a terminal, by rich: imported only when there is something to show on one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn


def show_bars(documents: Iterable[dict[str, Any]], output: TextIO) -> None:
    """Show the API's progress messages: a bar for each layer, other messages as lines above."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=Console(file=output)) as progress:
        bars: dict[str, TaskID] = {}
        for document in documents:
            _show(progress, bars, document)


def _show(progress: Progress, bars: dict[str, TaskID], document: dict[str, Any]) -> None:
    name, status = document.get("id"), str(document.get("status", document.get("stream", ""))).rstrip("\n")
    detail = document.get("progressDetail") or {}
    if not name or ("progressDetail" not in document and name not in bars):
        progress.console.print(f"{name}: {status}" if name else status, markup=False, highlight=False)
        return
    if name not in bars:
        bars[name] = progress.add_task("", total=None)
    progress.update(
        bars[name],
        description=f"{name}: {status}",
        completed=detail.get("current"),
        total=detail.get("total"),
    )
