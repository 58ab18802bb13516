"""Rules: what decides for one post, once every layer of the policy has spoken."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from sluicegate.schemas import Action, ExplainedBy, Kind, Scores, Severity

Share = Annotated[float, Field(ge=0, le=1, strict=True)]
DispositionName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
ParameterName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
# Larger whole numbers are no JSON that every reader takes; they become floats.
ParameterWhole = Annotated[int, Field(ge=1 - 2**53, le=2**53 - 1)]
ParameterValue = Annotated[str, StringConstraints(max_length=256)] | bool | ParameterWhole | float
# As for a producer's names: no control characters, nothing that reorders or hides what stands beside it.
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2064\u2066-\u206f\ufeff]+$"
AdapterName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""As in the settings, where it says where the adapter is served."""
CategoryName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=PRINTABLE)]


ExplainText = Literal["needed", "reasons", "always"]
"""``needed``: to tell a refusal, or where a second category could change what follows. ``reasons``: for a reason, too,
where the model gives one."""


class RulePart(BaseModel):
    """Base of everything that a policy file may hold: frozen, and a stranger to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Subject(Protocol):
    """Whose text it is: a post, or the verdict on one."""

    @property
    def tenant(self) -> str:
        """Whose rules decide."""
        ...

    @property
    def kind(self) -> Kind:
        """What the text is."""
        ...

    @property
    def region(self) -> str | None:
        """Where it was written, if known."""
        ...

    @property
    def language(self) -> str | None:
        """In which language, if known."""
        ...


class Thresholds(RulePart):
    """Scores from which on an action applies; either suffices, and null is never reached."""

    unsafe: Share | None = None
    risk: Share | None = Field(None, description="Controversial and unsafe together: the strict reading.")

    def reached(self, scores: Scores) -> str | None:
        """Name the threshold that the scores reach, or None."""
        if self.unsafe is not None and scores.unsafe >= self.unsafe:
            return f"unsafe>={self.unsafe:g}"
        if self.risk is not None and risk_of(scores) >= self.risk:
            return f"risk>={self.risk:g}"
        return None


def measures(scores: Scores) -> dict[str, float]:
    """What thresholds are compared with, in the order in which they are asked."""
    return {"unsafe": scores.unsafe, "risk": risk_of(scores)}


def risk_of(scores: Scores) -> float:
    """Controversial and unsafe together."""
    return scores.unsafe + scores.controversial


class Disposition(RulePart):
    """A suggested enforcement, with what it needs to know.

    Written as a name, or as a mapping with ``name`` and any parameters.
    """

    name: DispositionName
    parameters: dict[ParameterName, ParameterValue] = Field(default_factory=dict, max_length=16)

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"name": value}
        if isinstance(value, dict) and not isinstance(value.get("parameters"), dict):
            parameters = {key: item for key, item in value.items() if key != "name"}
            return {**{key: value[key] for key in ("name",) if key in value}, "parameters": parameters}
        return value


def _usual() -> dict[Action, Disposition]:
    return {
        Action.ALLOW: Disposition(name="none"),
        Action.REVIEW: Disposition(name="limit_reach"),
        Action.BLOCK: Disposition(name="takedown"),
    }


class Bars(RulePart):
    """Thresholds of both actions and what is suggested with each."""

    block_at: Thresholds = Thresholds(unsafe=0.8)
    review_at: Thresholds = Thresholds(unsafe=0.4, risk=0.6)
    dispositions: dict[Action, Disposition] = Field(default_factory=_usual)

    def outcome(self, scores: Scores) -> tuple[Action, str]:
        """The action for some scores, and the threshold that was reached. Block is asked first."""
        for action, thresholds in ((Action.BLOCK, self.block_at), (Action.REVIEW, self.review_at)):
            reached = thresholds.reached(scores)
            if reached is not None:
                return action, f"{action}_at.{reached}"
        return Action.ALLOW, "otherwise"


class CategoryBars(Bars):
    """The same for texts of one category; what is not written here is as for all others."""

    applies_at: Share | None = Field(
        None, description="Category score from which on this counts; without, it counts where it is named."
    )

    def applies(self, name: str, found: Finding) -> bool:
        """True if a text counts as one of this category."""
        if self.applies_at is None or not found.category_scores:
            return name in found.categories
        return found.category_scores.get(name, 0.0) >= self.applies_at


class BlockBreaker(RulePart):
    """From which volume of blocks on a rule or a model must be wrong; either suffices, and null is never reached.

    Counted per tenant: of the posts that were judged, over the last interval, by each worker.
    """

    share: Share | None = Field(0.5, description="More than this share of the posts.")
    least_posts: Annotated[int, Field(ge=1, le=2**53 - 1, strict=True)] = Field(
        1000, description="A share of fewer posts says nothing."
    )
    count: Annotated[int, Field(ge=0, le=2**53 - 1, strict=True)] | None = Field(
        None, description="More blocks than this."
    )
    interval_seconds: Annotated[float, Field(gt=0, le=86_400, strict=True)] = 300.0

    def exceeded(self, *, posts: int, blocks: int) -> bool:
        """True if this many blocks among that many posts are too many."""
        by_share = self.share is not None and posts >= self.least_posts and blocks > self.share * posts
        return by_share or (self.count is not None and blocks > self.count)


class ScreenRules(RulePart):
    """What the screen may answer, where the worker has one; everything else goes to the engine."""

    tolerance: Annotated[float, Field(ge=0, le=0.1, strict=True)] | None = Field(
        None, description="The most of its answers that may be wrong; without: it answers nothing."
    )
    may_block: Annotated[bool, Field(strict=True)] = Field(
        False, description="True if it may block as well as allow, without a category or a reason."
    )


class Rules(Bars):
    """What decides for one tenant, kind, region and language."""

    categories: dict[CategoryName, CategoryBars] = Field(default_factory=dict, max_length=64)
    failure_mode: Action = Field(
        Action.REVIEW,
        description="The action for a post that cannot be scored, and the mildest for one whose explanation failed.",
    )
    max_wait_seconds: Annotated[float, Field(gt=0, strict=True)] | None = Field(
        None, description="Wait for an absent engine; without: for ever."
    )
    max_tokens: Annotated[int, Field(ge=1, le=2**53 - 1, strict=True)] | None = Field(
        None, description="A longer post is not scored (too_long); never above the worker's own limit."
    )
    max_segments: Annotated[int, Field(ge=1, le=2**53 - 1, strict=True)] | None = Field(
        None, description="A post of more parts is not scored; never above the worker's own limit."
    )
    block_breaker: BlockBreaker = Field(BlockBreaker(), description="The same for every kind of a tenant.")
    adapter: AdapterName | None = Field(
        None,
        description="Whose engine judges: one of engine.adapters in the settings; without: the engine's own.",
    )
    screen: ScreenRules = ScreenRules()
    confirmed_pattern: Literal["review", "block"] = Field(
        "review",
        description="For a judged post that would be allowed, and is a copy of a shared pattern that people here confirmed.",
    )
    canary: Annotated[bool, Field(strict=True)] = Field(
        False,
        description="True if a candidate that is certified may act on a share of these posts. No part of the policy's digest.",
    )
    explain_at: Share = Field(0.3, description="Risk from which on an allow is explained, too.")
    explain_responses: Annotated[bool, Field(strict=True)] = Field(
        True, description="Responses are always explained: that tells refusals."
    )
    explain_text: ExplainText = Field(
        "reasons",
        description="For which explanations the model writes a text; for the others its likeliest category costs one token.",
    )


class Finding(Protocol):
    """What an explanation says of categories: an assessment, or the verdict that carries it."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Named by the model."""
        ...

    @property
    def category_scores(self) -> dict[str, float]:
        """How likely each was as the first one; may be empty."""
        ...

    @property
    def explained_as(self) -> Severity | None:
        """What the explanation was made to begin with; None where there is none."""
        ...

    @property
    def explained_by(self) -> ExplainedBy | None:
        """``category`` where no text could name a second one."""
        ...

    @property
    def explanation_failure(self) -> str | None:
        """Why an explanation that was asked for is absent."""
        ...


def explains(found: Finding, wanted: Severity, *, text: bool = False) -> bool:
    """True if an explanation is there, and tells categories where they are wanted.

    Args:
        found: One that began with safe says nothing of categories, whatever it lists.
        wanted: What the rules ask for.
        text: True if it has to be written out: the likeliest category alone is not enough.
    """
    if found.explanation_failure is not None or found.explained_as is None:
        return False
    if text and found.explained_by == "category":
        return False
    return wanted == "safe" or found.explained_as != "safe"
