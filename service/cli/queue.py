"""The command that lists the searches that wait, and why."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from service.cli.common import Json, Token, Url, console, print_json, print_line
from service.client.client import Client
from service.schemas.searches import QueuedAnswer


def queue(url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """List the searches that wait for workers, and why.

    The first in the list is served first.
    """
    with Client(url, token) as client:
        found = list(client.queue())
    if as_json:
        print_json(found)
    elif found:
        console().print(_queue_table(found))
    else:
        print_line("nothing waits")


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
