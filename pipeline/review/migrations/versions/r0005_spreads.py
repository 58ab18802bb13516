"""Decisions that not all copies were told of yet."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table, and an index that reads the verdicts of a case in order."""
    op.create_table(
        "spreads",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("decision_id", sa.String(length=36), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("after_at", sa.Float(precision=53), nullable=False),
        sa.Column("after_id", sa.String(length=256), nullable=False),
        sa.Column("until_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.drop_index("verdicts_by_case", "verdicts")
    op.create_index("verdicts_by_case", "verdicts", ["case_id", "counts", "came_at", "verdict_id"])
