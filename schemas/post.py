"""Post: one text to judge, as a producer publishes it."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from sluicegate.schemas._fields import (
    REFUSED,
    Event,
    Identifier,
    Instant,
    LanguageTag,
    Metadata,
    RegionCode,
    TenantName,
    bounded,
)

Kind = Literal["post", "prompt", "response"]
"""``post`` is published by a user; ``prompt`` goes to an LLM; ``response`` is an LLM's answer."""

NonEmptyText = Annotated[str, StringConstraints(min_length=1)]


class Turn(Event):
    """One earlier turn of a conversation."""

    role: Literal["user", "assistant"]
    text: NonEmptyText


Turns = Annotated[tuple[Turn, ...], Field(min_length=1, max_length=64, strict=False), bounded(64)]


class Post(Event):
    """One text to judge. Only ``id`` and ``text`` are required.

    As the value of a record it has at most 262,144 bytes, unless the worker's settings say otherwise.

    ``tenant``, ``kind``, ``region`` and ``language`` are set by the producer, who is
    trusted; the author of the text must have no influence on them.
    """

    id: Identifier = Field(
        description=f"The producer's id. With tenant and revision it names this text. {REFUSED}"
    )
    text: NonEmptyText = Field(
        description="The text to judge, as the author wrote it. Never normalised here."
    )
    kind: Kind = Field(
        default="post", description="What the text is; decides the prompt and the fields judged."
    )
    context: NonEmptyText | Turns | None = Field(
        default=None,
        description="For a response: the prompt it answers, as text or as earlier turns, oldest first.",
    )
    tenant: TenantName = Field(default="default", description="Whose policy decides.")
    author_id: Identifier | None = Field(
        default=None, description=f"The author, in the producer's terms. {REFUSED}"
    )
    language: LanguageTag | None = Field(default=None, description="Language hint; part of the prompt.")
    region: RegionCode | None = Field(default=None, description="Region hint; part of the prompt.")
    created_at: Instant | None = Field(
        default=None, description="When the author wrote it; RFC 3339 with an offset."
    )
    revision: int = Field(default=0, ge=0, le=2**53 - 1, description="Grows with every edit of the same id.")
    metadata: Metadata = Field(
        default_factory=dict,
        description="Up to 32 flat entries of the producer's own: never judged, not repeated on the verdict. "
        "Names follow the rule of ids.",
    )

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The context as turns, oldest first; plain text is one user turn."""
        if self.context is None:
            return ()
        if isinstance(self.context, str):
            return (Turn(role="user", text=self.context),)
        return self.context
