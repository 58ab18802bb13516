"""Cases know the policy of their verdict: a lift is for the flood of one."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the policy. That of older cases is not known: they are one flood."""
    with op.batch_alter_table("cases") as table:
        table.add_column(sa.Column("policy", sa.String(length=128), nullable=False, server_default=""))
    op.create_index(
        "cases_golden",
        "cases",
        ["case_id"],
        unique=False,
        sqlite_where=sa.text("golden = 1"),
        postgresql_where=sa.text("golden"),
    )
    op.create_index("cases_by_flood", "cases", ["tenant", "breaker", "state", "policy"], unique=False)
    op.create_index(
        "decisions_by_basis", "decisions", ["tenant", "cause", "basis", "decided_at"], unique=False
    )
