"""An index by which a trial's replicates are found when it is deleted."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_trials_replicate_of"), "trials", ["replicate_of"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_trials_replicate_of"), table_name="trials")
