"""What a candidate costs, measured before its first epoch."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("trials", sa.Column("measurements", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("trials", "measurements")
