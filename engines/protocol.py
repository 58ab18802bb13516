"""The engine protocol: whatever turns prompts into scores and explanations, and which of its scores are believed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self

from sluicegate.schemas import ExplainedBy, FailureCode, Kind, Scores, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType


@dataclass(slots=True)  # frozen, each would take twice as long to make
class Prompt:
    """What an engine reads: token ids, ready to be continued by a severity label. Nobody changes it."""

    token_ids: tuple[int, ...]
    kind: Kind
    shared_tokens: int
    """How many leading tokens every prompt of this kind and these hints shares (prefix reuse)."""
    content: tuple[int, int]
    """Half-open range from the first to the last token of the post and its context. All outside it is ours,
    and so are the delimiters between the turns of a context."""


@dataclass(slots=True)  # as a prompt
class Scored:
    """One prompt's scores. Nobody changes them."""

    scores: Scores
    label_mass: float
    """Probability of the three labels together among all tokens, before they are normalised: near 1 in a healthy
    engine. A label that is missing from the candidates adds nothing."""
    bounded: bool = False
    """True if a label was missing from the candidates and got their smallest probability as its bound."""
    cached_tokens: int = 0
    """Prompt tokens that the engine's prefix cache served."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the model says after the forced severity."""

    categories: tuple[str, ...]
    category_scores: dict[str, float] = field(default_factory=dict)
    reason: str | None = None
    refusal: bool | None = None
    by: ExplainedBy = "text"
    """``category``: nothing was written. The likeliest category was read from the probabilities of its first token."""


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """One item's failure. ``detail`` is for logs: it never holds text of the post or of the model."""

    code: FailureCode
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Who is judging, and its limits."""

    digest: str
    """Digest of the bundle, stamped on every verdict."""
    backend: str
    model: str
    layout_digest: str
    max_prompt_tokens: int
    """Longest prompt that is scored; longer ones answer ``too_long`` for themselves."""
    saturating_prompts: int
    """With this many prompts in work the engine gains nothing from more: its own limit, whatever it is sent."""
    adapter: str | None = None
    most_prompts: int | None = None
    """No more prompts than that are sent to it at once; further ones wait in this process. None: no bound of ours."""
    reasons: bool = False
    """True if what it writes of a harmful text holds a reason."""
    continuous: bool = False
    """True if it works at the prompts of all calls together (continuous batching), so that company gains a call little."""

    @property
    def useful_prompts(self) -> int:
        """So many prompts in work are of use here: what saturates the engine, or what it may be sent if that is less."""
        return min(self.saturating_prompts, self.most_prompts or self.saturating_prompts)


@dataclass(frozen=True, slots=True)
class Health:
    """Answer of :meth:`Engine.health`, from a real request."""

    ok: bool
    detail: str = ""
    silent: bool = False
    """True if nothing came in time, not even a refusal: a process that hangs looks like this."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One life of the engine: which process answers, and who may have prompts in it."""

    process: str
    """Names the process; after a death another name is told. Two lives never have the same name."""
    exclusive: bool
    """True if only this worker's prompts can be in its work."""
    idle: bool = False
    """For a process that others may share: nothing of anybody was in its work when it was asked."""


class Engine(Protocol):
    """Turns prompts into scores and explanations.

    ``n`` in, ``n`` out, in order; an item that fails answers for itself with an
    :class:`ItemFailure`. Calls may overlap. Cancelling a call abandons its items at once;
    what the server still computes for them is bounded. Use as an async context manager:
    entering starts what the engine needs, leaving stops all of it.
    """

    @property
    def info(self) -> EngineInfo:
        """Who is judging. Valid from entry on."""
        ...

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        """Score prompts: one prefill and one token each.

        Args:
            prompts: ``list[n]``; may be empty.
            timeout_s: Seconds for the whole call; items without an answer by then get ``timed_out``.

        Raises:
            EngineUnavailable: The engine is away; no item was judged, all may be sent again.
        """
        ...

    async def explain(
        self,
        prompts: Sequence[Prompt],
        severities: Sequence[Severity],
        *,
        timeout_s: float,
        texts: Sequence[bool] | None = None,
    ) -> list[Explanation | ItemFailure]:
        """Continue each prompt after its forced severity, to categories, refusal and reason.

        Args:
            prompts: ``list[n]``, as they were scored.
            severities: ``list[n]``: the severity that the scores gave, which this call cannot change.
            timeout_s: Seconds for the whole call.
            texts: ``list[n]``: False where the first category is all that is wanted. An engine writes a text all the
                same where it cannot be sure how that text would begin. None: texts for all.

        Raises:
            EngineUnavailable: As for :meth:`score`.
        """
        ...

    async def health(self) -> Health:
        """Ask the engine for one token. Never raises; answers within five seconds."""
        ...

    async def generation(self) -> Generation | None:
        """Say which process answers now; None where nobody can tell. Never raises; answers within five seconds.

        A prompt is blamed for the end of a process only where this names another one afterwards.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


LEAST_LABEL_MASS = 0.5
"""Below, the model would rather write something else than any label, and what is left of the three says nothing:
another model than the bundle's, or one that a text has led astray."""

_BESIDE_THE_LABELS = ItemFailure(FailureCode.LABELS_MISSING, "the labels have too little of the probability")


def believed(answer: Scored | ItemFailure, least: float = LEAST_LABEL_MASS) -> Scored | ItemFailure:
    """An engine's answer as it is used: scores whose labels hold too little of the probability are a failure.

    Args:
        answer: Of the engine, for one prompt.
        least: The least :attr:`~sluicegate.engines.protocol.Scored.label_mass` that is believed.
    """
    if isinstance(answer, ItemFailure) or answer.label_mass >= least:
        return answer
    return _BESIDE_THE_LABELS
