"""What changes while a search runs: its budget, what it has spent, where it came from."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Added one by one, never by copying a table: dropping the old one would delete the rows that
# refer to it. The defaults are for the rows that are there.
COLUMNS: tuple[tuple[str, sa.Column[Any]], ...] = (
    ("searches", sa.Column("budget_hours", sa.Double(), nullable=True)),
    ("searches", sa.Column("budget_gpu_hours", sa.Double(), nullable=True)),
    ("searches", sa.Column("budget_failures", sa.Integer(), nullable=False, server_default="5")),
    ("searches", sa.Column("ran_seconds", sa.Double(), nullable=False, server_default="0")),
    ("searches", sa.Column("running_since", sa.Double(), nullable=True)),
    ("searches", sa.Column("confirm_from", sa.Integer(), nullable=False, server_default="0")),
    ("searches", sa.Column("forked_from", sa.String(length=200), nullable=True)),
    ("attempts", sa.Column("gpus", sa.Double(), nullable=False, server_default="0")),
)
INDEXES = (("trials", "repeat_of"), ("benches", "trial_id"))


def upgrade() -> None:
    for table, column in COLUMNS:
        op.add_column(table, column)
    for table, name in INDEXES:
        op.create_index(op.f(f"ix_{table}_{name}"), table, [name], unique=False)
    connection = op.get_bind()
    searches = sa.table(
        "searches",
        *(sa.column(name) for name in ("id", "state", "started_at", "running_since")),
        sa.column("document", sa.JSON()),
        sa.column("budget_failures", sa.Integer()),
    )
    for id, document in connection.execute(sa.select(searches.c.id, searches.c.document)).all():
        failures = document.get("budget", {}).get("failures", 5)
        connection.execute(
            searches.update().where(searches.c.id == id).values(budget_failures=failures)
        )
    connection.execute(
        searches.update()
        .where(searches.c.state == "running")
        .values(running_since=searches.c.started_at)
    )


def downgrade() -> None:
    for table, name in INDEXES:
        op.drop_index(op.f(f"ix_{table}_{name}"), table_name=table)
    for table, column in reversed(COLUMNS):
        op.drop_column(table, column.name)
