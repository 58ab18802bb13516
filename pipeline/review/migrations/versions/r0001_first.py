"""The first shape of the store."""

import sqlalchemy as sa
from alembic import op

revision = "first"
down_revision = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "author_keys",
        sa.Column("author_ref", sa.String(length=64), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("erased_at", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("author_ref"),
    )
    op.create_table(
        "cases",
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("language", sa.String(length=35), nullable=False),
        sa.Column("category", sa.String(length=64), nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("near_key", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("copies", sa.Integer(), nullable=False),
        sa.Column("breaker", sa.Boolean(), nullable=False),
        sa.Column("policy", sa.String(length=128), nullable=False),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("double", sa.Boolean(), nullable=False),
        sa.Column("golden", sa.Boolean(), nullable=False),
        sa.Column("probability", sa.Float(precision=53), nullable=False),
        sa.Column("harm", sa.Float(precision=53), nullable=False),
        sa.Column("uncertainty", sa.Float(precision=53), nullable=False),
        sa.Column("reach", sa.Float(precision=53), nullable=False),
        sa.Column("due_at", sa.Float(precision=53), nullable=False),
        sa.Column("rank", sa.Float(precision=53), nullable=False),
        sa.Column("opened_at", sa.Float(precision=53), nullable=False),
        sa.Column("closed_at", sa.Float(precision=53), nullable=True),
        sa.Column("holder", sa.String(length=256), nullable=True),
        sa.Column("held_until", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("case_id"),
    )
    op.create_index("cases_by_flood", "cases", ["tenant", "breaker", "state", "policy"])
    op.create_index("cases_by_holder", "cases", ["holder"])
    op.create_index("cases_by_near_key", "cases", ["near_key"])
    op.create_index("cases_by_tenant", "cases", ["tenant", "state", "breaker", "rank"])
    op.create_index(
        "cases_golden",
        "cases",
        ["case_id"],
        sqlite_where=sa.text("golden = 1"),
        postgresql_where=sa.text("golden"),
    )
    op.create_index("cases_in_order", "cases", ["state", "breaker", "rank"])
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.String(length=36), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("reviewer", sa.String(length=256), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("authority", sa.String(length=16), nullable=False),
        sa.Column("basis", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("disposition", sa.String(length=64), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("categories", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("seconds", sa.Float(precision=53), nullable=False),
        sa.Column("decided_at", sa.Float(precision=53), nullable=False),
        sa.Column("settles", sa.Boolean(), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("language", sa.String(length=35), nullable=False),
        sa.Column("category", sa.String(length=64), nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=256), nullable=False),
        sa.Column("machine_action", sa.String(length=16), nullable=True),
        sa.Column("machine_severity", sa.String(length=16), nullable=True),
        sa.Column("author_ref", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("decision_id"),
    )
    op.create_index("decisions_by_author", "decisions", ["author_ref"])
    op.create_index("decisions_by_basis", "decisions", ["tenant", "cause", "basis", "decided_at"])
    op.create_index("decisions_by_case", "decisions", ["case_id"])
    op.create_index("decisions_by_reviewer", "decisions", ["reviewer", "decided_at"])
    op.create_index("decisions_by_time", "decisions", ["decided_at"])
    op.create_table(
        "events",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(precision=53), nullable=False),
        sa.Column("actor", sa.String(length=256), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("what", sa.String(length=64), nullable=False),
        sa.Column("object", sa.String(length=256), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("events_by_object", "events", ["object"])
    op.create_table(
        "logins",
        sa.Column("state_hash", sa.String(length=64), nullable=False),
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("verifier", sa.String(length=128), nullable=False),
        sa.Column("begun_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("state_hash"),
    )
    op.create_table(
        "offsets",
        sa.Column("topic", sa.String(length=249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition"),
    )
    op.create_table(
        "outbox",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("record_id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("author_ref", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=True),
        sa.Column("made_at", sa.Float(precision=53), nullable=False),
        sa.Column("sent_at", sa.Float(precision=53), nullable=True),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("record_id"),
    )
    op.create_index("outbox_unsent", "outbox", ["sent_at", "number"])
    op.create_table(
        "posts",
        sa.Column("post_key", sa.String(length=64), nullable=False),
        sa.Column("author_ref", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("near_key", sa.String(length=64), nullable=False),
        sa.Column("reach", sa.Float(precision=53), nullable=False),
        sa.Column("came_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("post_key"),
    )
    op.create_index("posts_by_age", "posts", ["came_at"])
    op.create_index("posts_by_author", "posts", ["author_ref"])
    op.create_table(
        "resolutions",
        sa.Column("resolution_id", sa.String(length=256), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("post_id", sa.String(length=256), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("resolution_id"),
    )
    op.create_index("resolutions_by_post", "resolutions", ["tenant", "post_id"])
    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("reviewer", sa.String(length=256), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("tenants", sa.Text(), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("preferences", sa.Text(), nullable=False),
        sa.Column("begun_at", sa.Float(precision=53), nullable=False),
        sa.Column("ends_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("token_hash"),
    )
    op.create_table(
        "skips",
        sa.Column("case_id", sa.String(length=36), nullable=False),
        sa.Column("reviewer", sa.String(length=256), nullable=False),
        sa.Column("skipped_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("case_id", "reviewer"),
    )
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
    op.create_table(
        "verdicts",
        sa.Column("verdict_id", sa.String(length=256), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("post_id", sa.String(length=256), nullable=False),
        sa.Column("post_key", sa.String(length=64), nullable=False),
        sa.Column("author_ref", sa.String(length=64), nullable=False),
        sa.Column("case_id", sa.String(length=36), nullable=True),
        sa.Column("counts", sa.Boolean(), nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("came_at", sa.Float(precision=53), nullable=False),
        sa.PrimaryKeyConstraint("verdict_id"),
    )
    op.create_index("verdicts_by_author", "verdicts", ["author_ref"])
    op.create_index("verdicts_by_case", "verdicts", ["case_id", "counts", "came_at", "verdict_id"])
    op.create_index("verdicts_by_content", "verdicts", ["post_key"])
    op.create_index("verdicts_by_post", "verdicts", ["tenant", "post_id"])
    op.create_index(
        "verdicts_unused",
        "verdicts",
        ["came_at"],
        sqlite_where=sa.text("(NOT counts OR (cause = '' AND case_id IS NULL))"),
        postgresql_where=sa.text("(NOT counts OR (cause = '' AND case_id IS NULL))"),
    )
