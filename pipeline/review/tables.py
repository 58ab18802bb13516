"""The tables of the review desk's store. Alembic brings a store to this shape.

Moments are Unix seconds. Three groups differ in what may happen to them:

- The read model can be thrown away, and topics make it again: ``offsets``, and the ``cases`` that nobody touched with their
  ``verdicts`` and ``posts``.
- What people did exists nowhere else: ``decisions``, ``skips``, ``resolutions``, ``spreads``, ``outbox``, ``events``, and every case that
  was decided, read once, disputed, skipped or opened again, with its round and its verdicts. ``comparisons`` and ``experiments`` stay with
  them: they say what those decisions were about.
- ``author_keys``: without an author's key nobody reads what is left of the author's texts.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

METADATA = MetaData()
_NUMBER = BigInteger().with_variant(Integer, "sqlite")  # only an INTEGER key counts up by itself in SQLite
_SECONDS = Float(53)

# Databases read a partial index only for the very words that it was made with.
UNUSED = text("(NOT counts OR (cause = '' AND case_id IS NULL))")
"""Verdicts that no case is about: kept as long as texts."""

offsets = Table(
    "offsets",
    METADATA,
    Column("topic", String(249), primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next", BigInteger, nullable=False),
)

posts = Table(
    "posts",
    METADATA,
    Column("post_key", String(64), primary_key=True),
    Column("author_ref", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("near_key", String(64), nullable=False),
    Column("reach", _SECONDS, nullable=False),
    Column("came_at", _SECONDS, nullable=False),
    Index("posts_by_age", "came_at"),
    Index("posts_by_author", "author_ref"),
)
"""Encrypted posts: those of cases, and those whose verdict has not come yet."""

author_keys = Table(
    "author_keys",
    METADATA,
    Column("author_ref", String(64), primary_key=True),
    Column("secret", LargeBinary, nullable=True),
    Column("erased_at", _SECONDS, nullable=True),
)
"""A key for each author. An erased one stays as a mark: no text of that author is kept again."""

verdicts = Table(
    "verdicts",
    METADATA,
    Column("verdict_id", String(256), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("post_id", String(256), nullable=False),
    Column("post_key", String(64), nullable=False),
    Column("author_ref", String(64), nullable=False),
    Column("case_id", String(36), nullable=True),
    Column("counts", Boolean, nullable=False),
    Column("cause", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("came_at", _SECONDS, nullable=False),
    Index("verdicts_by_post", "tenant", "post_id"),
    Index("verdicts_by_case", "case_id", "counts", "came_at", "verdict_id"),
    Index("verdicts_by_content", "post_key"),
    Index("verdicts_by_author", "author_ref"),
    Index("verdicts_unused", "came_at", sqlite_where=UNUSED, postgresql_where=UNUSED),
)
"""Verdicts of posts that a person looks at, or did. ``counts`` is false once another record on the post counts more."""

cases = Table(
    "cases",
    METADATA,
    Column("case_id", String(36), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("language", String(35), nullable=False),
    Column("category", String(64), nullable=False),
    Column("cause", String(64), nullable=False),
    Column("near_key", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("round", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("copies", Integer, nullable=False),
    Column("breaker", Boolean, nullable=False),
    Column("policy", String(128), nullable=False),
    Column("blind", Boolean, nullable=False),
    Column("double", Boolean, nullable=False),
    Column("golden", Boolean, nullable=False),
    Column("probability", _SECONDS, nullable=False),
    Column("harm", _SECONDS, nullable=False),
    Column("uncertainty", _SECONDS, nullable=False),
    Column("reach", _SECONDS, nullable=False),
    Column("due_at", _SECONDS, nullable=False),
    Column("rank", _SECONDS, nullable=False),
    Column("opened_at", _SECONDS, nullable=False),
    Column("closed_at", _SECONDS, nullable=True),
    Column("holder", String(256), nullable=True),
    Column("held_until", _SECONDS, nullable=True),
    Index("cases_in_order", "state", "breaker", "rank"),
    Index("cases_by_tenant", "tenant", "state", "breaker", "rank"),
    Index("cases_by_flood", "tenant", "breaker", "state", "policy"),
    Index("cases_by_near_key", "near_key"),
    Index("cases_by_holder", "holder"),
    Index("cases_golden", "case_id", sqlite_where=text("golden = 1"), postgresql_where=text("golden")),
)

decisions = Table(
    "decisions",
    METADATA,
    Column("decision_id", String(36), primary_key=True),
    Column("case_id", String(36), nullable=False),
    Column("round", Integer, nullable=False),
    Column("reviewer", String(256), nullable=False),
    Column("role", String(64), nullable=False),
    Column("authority", String(16), nullable=False),
    Column("basis", String(64), nullable=False),
    Column("action", String(16), nullable=False),
    Column("disposition", String(64), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("categories", Text, nullable=False),
    Column("reason", Text, nullable=True),
    Column("blind", Boolean, nullable=False),
    Column("seconds", _SECONDS, nullable=False),
    Column("decided_at", _SECONDS, nullable=False),
    Column("settles", Boolean, nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("language", String(35), nullable=False),
    Column("category", String(64), nullable=False),
    Column("cause", String(64), nullable=False),
    Column("rule", String(256), nullable=False),
    Column("machine_action", String(16), nullable=True),
    Column("machine_severity", String(16), nullable=True),
    Column("author_ref", String(64), nullable=False),
    Index("decisions_by_case", "case_id"),
    Index("decisions_by_reviewer", "reviewer", "decided_at"),
    Index("decisions_by_time", "decided_at"),
    Index("decisions_by_author", "author_ref"),
    Index("decisions_by_basis", "tenant", "cause", "basis", "decided_at"),
)
"""Answers, each with what it is about and what the machine had said: the verdict itself is not kept for ever."""

skips = Table(
    "skips",
    METADATA,
    Column("case_id", String(36), primary_key=True),
    Column("reviewer", String(256), primary_key=True),
    Column("skipped_at", _SECONDS, nullable=False),
)

resolutions = Table(
    "resolutions",
    METADATA,
    Column("resolution_id", String(256), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("post_id", String(256), nullable=False),
    Column("body", Text, nullable=False),
    Index("resolutions_by_post", "tenant", "post_id"),
)

spreads = Table(
    "spreads",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("case_id", String(36), nullable=False),
    Column("decision_id", String(36), nullable=False),
    Column("template", Text, nullable=False),
    Column("after_at", _SECONDS, nullable=False),
    Column("after_id", String(256), nullable=False),
    Column("until_at", _SECONDS, nullable=False),
)
"""Decisions that not all verdicts of their case were told of yet: those after one, until another moment."""

outbox = Table(
    "outbox",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("record_id", String(36), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("author_ref", String(64), nullable=False),
    Column("key", String(256), nullable=False),
    Column("value", LargeBinary, nullable=True),
    Column("made_at", _SECONDS, nullable=False),
    Column("sent_at", _SECONDS, nullable=True),
    Index("outbox_unsent", "sent_at", "number"),
)
"""Records on their way to Kafka. Once sent, the value is gone: feedback holds a text."""

events = Table(
    "events",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("at", _SECONDS, nullable=False),
    Column("actor", String(256), nullable=False),
    Column("role", String(64), nullable=False),
    Column("what", String(64), nullable=False),
    Column("object", String(256), nullable=False),
    Column("details", Text, nullable=False),
    Index("events_by_object", "object"),
)
"""What anybody did. Rows are added, and never changed."""

comparisons = Table(
    "comparisons",
    METADATA,
    Column("experiment", String(64), primary_key=True),
    Column("post_key", String(64), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("incumbent", String(16), nullable=False),
    Column("candidate", String(16), nullable=False),
    Column("verdict_id", String(256), nullable=False),
    Column("probability", _SECONDS, nullable=False),
    Column("came_at", _SECONDS, nullable=False),
    Index("comparisons_by_content", "post_key"),
)
"""Posts that people judge blindly, since a candidate judged them, too, and what both said."""

experiments = Table(
    "experiments",
    METADATA,
    Column("experiment", String(64), primary_key=True),
    Column("document", Text, nullable=False),
    Column("came_at", _SECONDS, nullable=False),
)
"""What the comparator last said of an experiment."""

sessions = Table(
    "sessions",
    METADATA,
    Column("token_hash", String(64), primary_key=True),
    Column("reviewer", String(256), nullable=False),
    Column("role", String(64), nullable=False),
    Column("tenants", Text, nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("preferences", Text, nullable=False),
    Column("begun_at", _SECONDS, nullable=False),
    Column("ends_at", _SECONDS, nullable=False),
)

logins = Table(
    "logins",
    METADATA,
    Column("state_hash", String(64), primary_key=True),
    Column("nonce", String(64), nullable=False),
    Column("verifier", String(128), nullable=False),
    Column("begun_at", _SECONDS, nullable=False),
)
"""Logins that went to the issuer and have not come back."""
