"""A study's own notes on itself, and values of several objectives."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "searches", sa.Column("study_attributes", sa.JSON(), nullable=False, server_default="{}")
    )
    op.add_column("trials", sa.Column("values", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("trials", "values")
    op.drop_column("searches", "study_attributes")
