"""Decisions know whose text their reason is about, and resolutions name no author."""

import orjson
import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the author of a decision's text, and take authors out of resolutions."""
    with op.batch_alter_table("decisions") as table:
        table.add_column(sa.Column("author_ref", sa.String(length=64), nullable=False, server_default=""))
    op.create_index("decisions_by_author", "decisions", ["author_ref"], unique=False)
    resolutions = sa.table(
        "resolutions", sa.Column("resolution_id", sa.String()), sa.Column("body", sa.Text())
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(resolutions)).all():
        body = orjson.loads(row.body) | {"author_id": None}
        connection.execute(
            sa.update(resolutions)
            .where(resolutions.c.resolution_id == row.resolution_id)
            .values(body=orjson.dumps(body).decode())
        )
