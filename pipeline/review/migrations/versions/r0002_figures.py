"""Decisions know what they are about, and what the machine had said."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_OF_CASE = {"tenant": 64, "language": 35, "category": 64, "cause": 64}


def upgrade() -> None:
    """Add what figures are grouped by. Of older decisions the case says it; what the machine had said is not known."""
    with op.batch_alter_table("decisions") as table:
        for name, size in {**_OF_CASE, "rule": 256}.items():
            table.add_column(sa.Column(name, sa.String(length=size), nullable=False, server_default=""))
        table.add_column(sa.Column("machine_action", sa.String(length=16), nullable=True))
        table.add_column(sa.Column("machine_severity", sa.String(length=16), nullable=True))
    names = ("case_id", *_OF_CASE)
    decisions = sa.table("decisions", *(sa.Column(name, sa.String()) for name in names))
    cases = sa.table("cases", *(sa.Column(name, sa.String()) for name in names))
    for name in _OF_CASE:
        of_case = sa.select(cases.c[name]).where(cases.c.case_id == decisions.c.case_id).scalar_subquery()
        op.execute(sa.update(decisions).values({name: sa.func.coalesce(of_case, "")}))
    op.create_index("decisions_by_time", "decisions", ["decided_at"], unique=False)
