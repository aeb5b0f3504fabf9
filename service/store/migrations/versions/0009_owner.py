"""The owner of the store."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    owner = op.create_table(
        "owner",
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(length=200), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_owner")),
    )
    op.bulk_insert(owner, [{"epoch": 0, "holder": "nobody", "expires_at": 0.0}])


def downgrade() -> None:
    op.drop_table("owner")
