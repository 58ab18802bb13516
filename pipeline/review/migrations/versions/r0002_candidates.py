"""Posts that a candidate judged, too, and what is known of experiments."""

import sqlalchemy as sa
from alembic import op

revision = "candidates"
down_revision = "first"


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "comparisons",
        sa.Column("experiment", sa.String(length=64), nullable=False),
        sa.Column("post_key", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("incumbent", sa.String(length=16), nullable=False),
        sa.Column("candidate", sa.String(length=16), nullable=False),
        sa.Column("verdict_id", sa.String(length=256), nullable=False),
        sa.Column("probability", sa.Float(precision=53), nullable=False),
        sa.Column("came_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("experiment", "post_key"),
    )
    op.create_index("comparisons_by_content", "comparisons", ["post_key"])
    op.create_table(
        "experiments",
        sa.Column("experiment", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("came_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("experiment"),
    )
