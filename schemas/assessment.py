"""Assessment: what a model found, before any policy."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from sluicegate.schemas._fields import LEFT_TO_RIGHT, Code, Event, Probability, open_set

Severity = Literal["safe", "controversial", "unsafe"]

CATEGORIES: tuple[str, ...] = (
    "Violent",
    "Non-violent Illegal Acts",
    "Sexual Content or Sexual Acts",
    "PII",
    "Suicide & Self-Harm",
    "Unethical Acts",
    "Politically Sensitive Topics",
    "Copyright Violation",
    "Jailbreak",
)
"""Qwen3Guard's category names in the order of its template. ``Jailbreak`` is for prompts only.
An adapted model may bring more: consumers must accept names they do not know."""

NO_CATEGORY = "None"
"""What the model writes where no category applies."""

EXPLAINED_AS = (
    "The severity that the explanation was made to begin with: `severity`, or the likelier of the other two where "
    "that is safe and a category could change what follows. Absent where there is no explanation."
)
"""Of a field that two events have."""

ExplainedBy = Literal["text", "category"]
EXPLAINED_BY = (
    "`text` where the model wrote the explanation. `category` where its likeliest category was read from the "
    "probabilities of the first token: there is no second category, no reason and no refusal then. Absent where there "
    "is no explanation, and on older events, whose explanations are all texts."
)
"""Of a field that two events have."""

REASON_CHARACTERS = 400
"""A reason is model text about hostile content: one line, bounded (settled in ``engines.parsing``)."""

Category = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Categories = Annotated[tuple[Category, ...], Field(max_length=16, strict=False)]
CategoryScores = Annotated[dict[Category, Probability], Field(max_length=64)]
Reason = Annotated[str, StringConstraints(max_length=REASON_CHARACTERS)]


class AssessedBy(StrEnum):
    """Who found it."""

    ENGINE = "engine"
    """The engine scored this very post."""
    CACHE = "cache"
    """The same prompt tokens had been scored by the same engine and adapter before."""
    NEAR_DUPLICATE = "near_duplicate"
    """A confidently judged, nearly equal text stood in."""
    SCREEN = "screen"
    """The light CPU model answered within its calibrated error."""
    NONE = "none"
    """No model: the post could not be scored, and the tenant's failure mode decided."""


class FailureCode(StrEnum):
    """Why a post has no usable score, or a score has no explanation."""

    TOO_LONG = "too_long"
    """More tokens than the tenant or the engine takes. Sent to no engine."""
    TIMED_OUT = "timed_out"
    """The engine did not answer within the deadline of the call."""
    UNPARSABLE = "unparsable"
    """The engine answered, but not in the agreed shape."""
    EMPTY_COMPLETION = "empty_completion"
    """The engine answered with nothing, twice."""
    LABELS_MISSING = "labels_missing"
    """None of the three label tokens was among the engine's candidates, or together they had too little probability."""
    ENGINE_ERROR = "engine_error"
    """The engine refused this item, or failed on it, twice."""
    ENGINE_CRASH = "engine_crash"
    """The engine went away each time it was asked about this text, with nothing else in work."""
    ENGINE_UNAVAILABLE = "engine_unavailable"
    """The engine stayed away for longer than the tenant waits."""
    OVERLOAD = "overload"
    """The engine was at work, but the post's turn did not come for as long as the tenant waits."""
    INTERNAL = "internal"
    """A fault of ours. The log line with the same post id has the trace."""


OpenFailureCode = Annotated[
    Annotated[FailureCode, Field(strict=False)] | Code, LEFT_TO_RIGHT, open_set(FailureCode)
]
"""A :class:`FailureCode`, or the code of a newer version as plain text."""


class Scores(Event):
    """Probabilities of the three severities; they sum to 1 (within 1e-6)."""

    safe: Probability
    controversial: Probability
    unsafe: Probability

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if not abs(self.safe + self.controversial + self.unsafe - 1) <= 1e-6:  # written so that NaN fails
            raise ValueError("the three scores must sum to 1")
        return self

    @property
    def severity(self) -> Severity:
        """The likeliest severity; a tie goes to the more severe."""
        best = max(self.safe, self.controversial, self.unsafe)
        if self.unsafe == best:
            return "unsafe"
        return "controversial" if self.controversial == best else "safe"

    @property
    def harm(self) -> Severity:
        """The likelier of the two severities that are not safe; a tie goes to the more severe."""
        return "unsafe" if self.unsafe >= self.controversial else "controversial"


class Assessment(Event):
    """The model's finding about one text."""

    scores: Scores
    severity: Severity
    assessed_by: Annotated[AssessedBy, Field(strict=False)]
    explained_as: Severity | None = Field(default=None, description=EXPLAINED_AS)
    explained_by: ExplainedBy | None = Field(default=None, description=EXPLAINED_BY)
    categories: Categories = ()
    category_scores: CategoryScores = Field(
        default_factory=dict,
        description="Distribution over the first token of the category, where explained.",
    )
    reason: Reason | None = None
    refusal: bool | None = Field(default=None, description="Responses only: did the LLM refuse?")
    explanation_failure: OpenFailureCode | None = Field(
        default=None, description="Why an explanation that was asked for is absent. The scores stand."
    )
