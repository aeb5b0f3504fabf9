"""Leaders on new seeds, and stopped trials that run on."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("trials") as batch_op:
        batch_op.add_column(sa.Column("stopped_at", sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column("replicate_of", sa.String(length=200), nullable=True))
        batch_op.create_foreign_key(
            op.f("fk_trials_replicate_of"), "trials", ["replicate_of"], ["id"], ondelete="CASCADE"
        )


def downgrade() -> None:
    with op.batch_alter_table("trials") as batch_op:
        batch_op.drop_constraint(op.f("fk_trials_replicate_of"), type_="foreignkey")
        batch_op.drop_column("replicate_of")
        batch_op.drop_column("stopped_at")
