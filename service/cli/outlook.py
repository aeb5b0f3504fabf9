"""Commands that look ahead: what a search would be, and what waits for what."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from search_space.search import metric_in
from service.cli.common import Json, Token, Url, console, print_json, say
from service.cli.tables import activations_text
from service.client.client import Client
from service.schemas.labels import difference_text, duration_text
from service.schemas.searches import PreviewAnswer, QueuedAnswer


def preview(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The search in YAML or JSON; - : stdin.")
    ],
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Say what a search would cost and could find, without submitting it."""
    with Client(url, token) as client:
        found = client.preview(sys.stdin.read() if file == "-" else Path(file))
    if as_json:
        print_json(found)
        return
    for line in _preview_lines(found):
        say(line)


def queue(url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """List what waits, in the order in which it is served, and why."""
    with Client(url, token) as client:
        found = list(client.queue())
    if as_json:
        print_json(found)
    elif found:
        console().print(_queue_table(found))
    else:
        say("nothing waits")


def _preview_lines(found: PreviewAnswer) -> Iterator[str]:
    if found.sites is not None and found.groups is not None:
        size = "infinitely many" if found.size is None else f"{found.size:,}"
        yield f"{len(found.sites)} sites in {len(found.groups)} groups, {size} candidates, such as:"
        for candidate in found.candidates or []:
            yield f"  {activations_text(candidate, found.sites)}"
    trainings = found.trainings
    yield (
        f"at most {trainings.total} trainings: {trainings.baselines} baselines, "
        f"{trainings.proposed} proposed, {trainings.confirmation} to confirm"
    )
    if found.duration is not None:
        yield f"about {duration_text(found.duration.seconds)}: {found.duration.basis}"
    smallest = found.smallest_gain
    if smallest is not None:
        size = f"{smallest.spreads:.2f} standard deviations over seeds"
        if smallest.gain is not None:
            size = difference_text(metric_in(found.document), smallest.gain)
        yield f"smallest gain that the confirmation finds: {size} ({smallest.basis})"
    for warning in found.warnings:
        yield f"note: {warning}"


def _queue_table(found: Sequence[QueuedAnswer]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("", "search", "name", "priority", "running", "waiting", "why"):
        table.add_column(column)
    for item in found:
        table.add_row(
            str(item.place + 1),
            item.search,
            Text(item.name),
            str(item.priority),
            f"{item.running}/{item.parallel}",
            str(item.waiting + item.to_propose),
            Text(f"{item.reason}: {item.explanation}"),
        )
    return table


COMMANDS = (preview, queue)
