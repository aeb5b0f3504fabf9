"""Seed blocks of trials, and what a model estimates of their candidates."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

ESTIMATES = ("estimate", "estimate_low", "estimate_high", "beats_uniform")


def upgrade() -> None:
    with op.batch_alter_table("trials") as table:
        table.add_column(sa.Column("seed_block", sa.Integer(), nullable=True))
        for name in ESTIMATES:
            table.add_column(sa.Column(name, sa.Double(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("trials") as table:
        for name in (*reversed(ESTIMATES), "seed_block"):
            table.drop_column(name)
