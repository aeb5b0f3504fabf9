"""Commands on tokens: `actsearch token create|list|revoke`."""

from datetime import UTC, datetime
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from service.cli.common import Json, Token, Url, console, print_json, print_line
from service.client.client import Client
from service.schemas.scopes import Scope
from service.schemas.tokens import TokenAnswer

_DAY = 86400.0


def make_app() -> typer.Typer:
    """Return the commands under `actsearch token`."""
    app = typer.Typer(help="Make, list and revoke tokens.", no_args_is_help=True)
    app.command()(create)
    app.command("list")(list_tokens)
    app.command()(revoke)
    return app


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of its user or its purpose.")],
    scope: Annotated[
        list[Scope],
        typer.Option(help="What it allows. Repeatable. submit includes read; admin includes all."),
    ],
    days: Annotated[
        float | None, typer.Option(min=0, help="Days until it expires. Default: never.")
    ] = None,
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it. It cannot be shown again."""
    with Client(url, token) as client:
        made = client.create_token(name, scope, None if days is None else days * _DAY)
    if as_json:
        print_json(made)
    else:
        print_line(made.token)


def list_tokens(url: Url = None, token: Token = None, as_json: Json = False) -> None:
    """List tokens, newest first."""
    with Client(url, token) as client:
        found = list(client.tokens())
    if as_json:
        print_json(found)
    elif found:
        console().print(_table(found))
    else:
        print_line("no token yet; make one: actsearch token create NAME --scope work")


def revoke(
    id: Annotated[str, typer.Argument(metavar="ID", help="Id of a token.")],
    url: Url = None,
    token: Token = None,
    as_json: Json = False,
) -> None:
    """Revoke a token at once."""
    with Client(url, token) as client:
        client.revoke_token(id)
    if as_json:
        print_json({"revoked": id})
    else:
        print_line(f"revoked {id}")


def _table(found: list[TokenAnswer]) -> Table:
    table = Table("id", "name", "scopes", "made", "expires", box=box.SIMPLE_HEAD)
    for token in found:
        table.add_row(
            token.id,
            token.name,
            " ".join(token.scopes),
            f"{token.created_at:%Y-%m-%d}",
            _expiry(token.expires_at),
        )
    return table


def _expiry(time: datetime | None) -> str:
    if time is None:
        return "never"
    text = f"{time:%Y-%m-%d %H:%M} UTC"
    return f"{text} (expired)" if time < datetime.now(UTC) else text
