"""Shows a search on a terminal while it runs; into a file or a pipe, a line now and then."""

import sys
import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from search_space.contract import is_fraction
from search_space.search import metric_in
from service.client.client import Client, Search
from service.schemas.searches import SearchAnswer, has_stopped
from service.schemas.states import SearchState

_SECONDS_BETWEEN_LINES = 3.0
_BAR_WIDTH = 40
_PREPARING = "waiting until a worker has looked for the sites of the network"


def is_seen() -> bool:
    """Whether somebody looks: at a terminal, or at a notebook."""
    return sys.stdout.isatty() or _in_notebook()


def screen() -> Console:
    """Return where to show progress; in a notebook lines, which need nothing installed."""
    return Console(highlight=False, force_jupyter=False)


def _in_notebook() -> bool:
    return "ipykernel" in sys.modules


def watch(client: Client, id: str, console: Console) -> Search:
    """Show a search until it ends or pauses, and return what it came to."""
    if console.is_terminal:
        return _watch_live(client, id, console)
    return _watch_in_lines(client, id, console)


def value_text(metric: str, value: float) -> str:
    """Write a value of the metric: fractions in percent."""
    return f"{100 * value:.2f} %" if is_fraction(metric) else f"{value:.4g}"


def difference_text(metric: str, value: float) -> str:
    """Write a difference of two values of the metric: of fractions in points."""
    return f"{100 * value:+.2f} points" if is_fraction(metric) else f"{value:+.4g}"


def trial_name(number: int, label: str | None) -> str:
    return f"trial {number}" if label is None else f"{label}, trial {number}"


def _watch_live(client: Client, id: str, console: Console) -> Search:
    view = _View()
    with Live(view, console=console, refresh_per_second=4):
        for search in client.updates(id):
            view.show(search)
    return search


def _watch_in_lines(client: Client, id: str, console: Console) -> Search:
    shown, said_at = "", float("-inf")
    for search in client.updates(id):
        line, now = f"{search.name}: {_line(search)}", time.monotonic()
        is_due = now - said_at >= _SECONDS_BETWEEN_LINES or has_stopped(search)
        if line != shown and is_due:
            eta = _eta(search.progress.eta_seconds)
            console.print(f"{line}{eta}", soft_wrap=True, markup=False)
            shown, said_at = line, now
    return search


class _View:
    """What is drawn again and again: the bar, and the time left running down."""

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
    """Say what is best so far, beside what luck alone would show."""
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


def duration_text(seconds: float) -> str:
    """Write a duration as on a clock, from minutes on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _colour(search: SearchAnswer) -> str:
    return {
        SearchState.RUNNING: "cyan",
        SearchState.COMPLETED: "green",
        SearchState.PAUSED: "yellow",
        SearchState.FAILED: "red",
    }.get(search.state, "default")
