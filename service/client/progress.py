"""Shows the progress of a search: live on a terminal; in a file or a pipe, as single lines."""

import sys
import time
from collections.abc import Iterable
from typing import TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from search_space.search import metric_in
from service.schemas.labels import duration_text, trial_name, value_text
from service.schemas.searches import SearchAnswer, has_stopped
from service.schemas.states import SearchState

_SECONDS_BETWEEN_LINES = 3.0
_BAR_WIDTH = 40
AnySearch = TypeVar("AnySearch", bound=SearchAnswer)

_PREPARING = "waiting for a worker to find the sites of the network"


def is_interactive() -> bool:
    """Whether somebody watches the output: on a terminal, or in a notebook."""
    return sys.stdout.isatty() or "ipykernel" in sys.modules


def progress_console() -> Console:
    """Return the console for progress; a notebook gets lines, which need no widgets installed."""
    return Console(highlight=False, force_jupyter=False)


def watch(updates: Iterable[AnySearch], console: Console) -> AnySearch:
    """Show each update of a search, and return the last one.

    Args:
        updates: The search as it changes, as `Client.updates` yields it; at least one.
    """
    return (_watch_live if console.is_terminal else _watch_in_lines)(updates, console)


def _watch_live(updates: Iterable[AnySearch], console: Console) -> AnySearch:
    view = _View()
    with Live(view, console=console, refresh_per_second=4):
        for search in updates:
            view.show(search)
    return search


def _watch_in_lines(updates: Iterable[AnySearch], console: Console) -> AnySearch:
    last_line, printed_at = "", float("-inf")
    for search in updates:
        line, now = f"{search.name}: {_line(search)}", time.monotonic()
        is_due = now - printed_at >= _SECONDS_BETWEEN_LINES or has_stopped(search)
        if line != last_line and is_due:
            # The time left changes with every update, and alone is no reason for a new line.
            eta = _eta(search.progress.eta_seconds)
            console.print(f"{line}{eta}", soft_wrap=True, markup=False)
            last_line, printed_at = line, now
    return search


class _View:
    """The live view: the state, the bar and a countdown of the time left."""

    def __init__(self) -> None:
        self._search: SearchAnswer | None = None
        self._read_at = 0.0
        self._spinner = Spinner("dots")

    def show(self, search: SearchAnswer) -> None:
        self._read_at = time.monotonic()
        self._search = search

    def __rich__(self) -> RenderableType:
        search = self._search
        if search is None:
            return Text("")
        return Group(self._head(search), self._bar(search), Text(_findings(search) or " "))

    def _head(self, search: SearchAnswer) -> RenderableType:
        head = Text.assemble((search.name, "bold"), "  ", (search.state.value, _colour(search)))
        if search.state == SearchState.PREPARING:
            head.append(f"  {_PREPARING}", style="dim")
        if has_stopped(search):
            return head
        row = Table.grid(padding=(0, 1))
        row.add_row(self._spinner, head)
        return row

    def _bar(self, search: SearchAnswer) -> RenderableType:
        progress, eta = search.progress, search.progress.eta_seconds
        if eta is not None:
            eta = max(0.0, eta - (time.monotonic() - self._read_at))
        row = Table.grid(padding=(0, 1))
        row.add_row(
            ProgressBar(max(progress.total, 1), progress.finished, width=_BAR_WIDTH),
            Text(f"{_counts(search)}{_eta(eta)}"),
        )
        return row


def _line(search: SearchAnswer) -> str:
    parts = [search.state.value, _counts(search), _findings(search)]
    if search.state == SearchState.PREPARING:
        parts[1] = _PREPARING
    return " · ".join(part for part in parts if part)


def _counts(search: SearchAnswer) -> str:
    progress = search.progress
    text = f"{progress.finished}/{progress.total} trials"
    return f"{text}, {progress.running} running" if progress.running else text


def _findings(search: SearchAnswer) -> str:
    """Name the best so far, and the luck line: what the best would be by luck alone."""
    metric, best, parts = metric_in(search.document), search.best, []
    if best is not None:
        name = trial_name(best.number, best.label)
        parts.append(f"best so far {value_text(metric, best.value)} ({name})")
    if search.luck is not None:
        parts.append(f"luck line {value_text(metric, search.luck)}")
    return " · ".join(parts)


def _eta(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f" · about {duration_text(seconds)} left"


def _colour(search: SearchAnswer) -> str:
    return {
        SearchState.RUNNING: "cyan",
        SearchState.COMPLETED: "green",
        SearchState.PAUSED: "yellow",
        SearchState.FAILED: "red",
    }.get(search.state, "default")
