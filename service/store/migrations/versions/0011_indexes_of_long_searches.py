"""Indexes by which words on one trial of a long search do not read the others."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

NEW = (
    ["search_id", "key", "number"],
    ["search_id", "kind", "number", "repeat_of"],
    ["search_id", "label", "number"],
)
OLD = ["search_id", "key"]


def upgrade() -> None:
    op.drop_index(_name(OLD), table_name="trials")
    for columns in NEW:
        op.create_index(_name(columns), "trials", columns, unique=False)


def downgrade() -> None:
    for columns in NEW:
        op.drop_index(_name(columns), table_name="trials")
    op.create_index(_name(OLD), "trials", OLD, unique=False)


def _name(columns: list[str]) -> str:
    return op.f(f"ix_trials_{'_'.join(columns)}")
