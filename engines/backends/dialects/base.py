"""What every dialect shares: the ids it works with, and the arithmetic from candidates to probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

from sluicegate.engines.bundle.manifest import LabelMap
from sluicegate.engines.bundle.tokenizer import TextTokenizer
from sluicegate.engines.protocol import EngineInfo, Explanation, ItemFailure, Prompt, Scored
from sluicegate.engines.text.parsing import PROMPT_ONLY
from sluicegate.schemas import NO_CATEGORY, FailureCode, Kind, Scores, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


CATEGORY_HEAD = "\nCategories:"
"""What is forced after the label, so that the first generated token is the category's first."""

EXPLANATION_TOKENS = 64
"""Nine categories and a refusal line need 49 tokens with Qwen3's vocabulary; a list is rare."""

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens that a dialect forces, asks for and recognises."""

    label_ids: Mapping[Severity, tuple[int, ...]]
    """All tokens of each label, as they follow ``Safety:``; the first ones differ."""
    category_ids: Mapping[str, int]
    """First token of each category after ``Categories:``; they differ."""
    category_head_ids: tuple[int, ...]
    """Tokens of :data:`CATEGORY_HEAD`."""
    texts: Mapping[str, int]
    """Text to id of every label's and category's first token, for servers that answer in text."""
    reasons: bool = False
    """True if the model learnt to give reasons."""

    @classmethod
    def of(
        cls,
        tokenizer: TextTokenizer,
        labels: LabelMap,
        categories: Mapping[str, int],
        *,
        reasons: bool = False,
    ) -> Vocabulary:
        """Gather the ids of a bundle.

        Args:
            tokenizer: The bundle's tokenizer.
            labels: The three labels with their token ids.
            categories: Category name to the id of its first token, ``None`` included.
            reasons: As the manifest says.
        """
        label_ids: dict[Severity, tuple[int, ...]] = {
            "safe": labels.safe.token_ids,
            "controversial": labels.controversial.token_ids,
            "unsafe": labels.unsafe.token_ids,
        }
        known = [*(ids[0] for ids in label_ids.values()), *categories.values()]
        return cls(
            label_ids=label_ids,
            category_ids=dict(categories),
            category_head_ids=tuple(tokenizer.encode_static(CATEGORY_HEAD)),
            texts={tokenizer.decode([token_id]): token_id for token_id in known},
            reasons=reasons,
        )

    @property
    def texts_differ(self) -> bool:
        """True if no two of the tokens that are asked for have one text."""
        return len(self.texts) == len({*self.first_label_ids.values(), *self.category_ids.values()})

    @property
    def first_label_ids(self) -> dict[Severity, int]:
        """The one token that scores each label."""
        return {severity: ids[0] for severity, ids in self.label_ids.items()}

    def explain_ids(self, prompt: Prompt, severity: Severity) -> list[int]:
        """The prompt, the whole forced label and :data:`CATEGORY_HEAD`: ``list[tokens]``."""
        return [*prompt.token_ids, *self.label_ids[severity], *self.category_head_ids]


@dataclass(frozen=True, slots=True)
class Candidates:
    """The engine's likeliest next tokens."""

    logprobs: Mapping[int, float]
    """Natural logarithms of probabilities, by token id; at least all that a vocabulary knows."""
    floor: float
    """The smallest one returned: the most that a token which was not returned can have."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[int | None, Any]]) -> Candidates | None:
        """Read pairs of id and logarithm; None stands for a token that nobody asks about.

        Returns:
            The candidates; None where there are none or a value is no finite number.
        """
        known: dict[int, float] = {}
        floor = math.inf
        for token_id, value in pairs:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                return None
            floor = min(floor, value)
            if token_id is not None:
                known[token_id] = float(value)
        return cls(known, floor) if floor < math.inf else None


@dataclass(frozen=True, slots=True)
class Completion:
    """A finished explanation, unparsed."""

    text: str
    """What followed the forced head."""
    category_scores: dict[str, float]
    """Distribution over the categories' first tokens; empty where the server gave no candidates."""


class Dialect(Protocol):
    """How one kind of server is asked and understood. Stateless; every reader is total."""

    @property
    def name(self) -> str:
        """The name in the settings."""
        ...

    @property
    def path(self) -> str:
        """Path of the endpoint, below the server's base address."""
        ...

    @property
    def list_prompts(self) -> int:
        """Prompts that one request may carry with profit; 1 where lists do not pay."""
        ...

    @property
    def exact(self) -> bool:
        """True if a score is of the labels by their ids, however unlikely they are; False if of the likeliest tokens."""
        ...

    @property
    def shaped(self) -> bool:
        """True if the server holds an explanation to its shape."""
        ...

    @property
    def tells_cached(self) -> bool:
        """True if the server says of every prompt how much of it was in its cache, once it is started as we plan it."""
        ...

    @property
    def refuses_strangers(self) -> bool:
        """True if the server refuses the name of a model or an adapter that it does not have."""
        ...

    @property
    def gauges(self) -> tuple[str, ...]:
        """Names in ``/metrics`` of the requests in the server's work; empty where it does not tell when it started.

        A server that has them must tell ``process_start_time_seconds`` beside them.
        """
        ...

    def score_request(self, prompts: Sequence[Sequence[int]]) -> JsonObject:
        """Body that asks for one token after each prompt, ``list[prompts][tokens]``."""
        ...

    def read_scores(self, body: object, count: int) -> list[Scored | ItemFailure]:
        """Read the answer to ``count`` prompts, in the order in which they were sent."""
        ...

    def explain_request(self, token_ids: Sequence[int], kind: Kind) -> JsonObject:
        """Body that continues one forced prompt, from :meth:`Vocabulary.explain_ids`."""
        ...

    def read_explanation(self, body: object) -> Completion | ItemFailure:
        """Read the answer to :meth:`explain_request`."""
        ...

    def tokens_read(self, body: object) -> int | None:
        """How many tokens the server says that the prompts of a score had; None where it does not say."""
        ...

    def category_request(self, token_ids: Sequence[int]) -> JsonObject:
        """Body that asks for the one token after a forced prompt, from :meth:`Vocabulary.explain_ids`."""
        ...

    def read_category(self, body: object) -> Candidates | None:
        """Read the candidates in the answer to :meth:`category_request`; None where there are none to read."""
        ...

    def is_too_long(self, status: int, body: object) -> bool:
        """Say whether a refusal means that the prompt exceeds the server's context."""
        ...

    def fault_of_all(self, status: int, body: object, tokens: int) -> str | None:
        """Say what an answer means that every request would get: wrong settings, with the fix; None otherwise.

        Args:
            status: HTTP's, 200 for what seems a good answer.
            body: Untrusted.
            tokens: How many the prompts have that it answers.
        """
        ...


def severity_scores(
    candidates: Candidates, vocabulary: Vocabulary, *, cached_tokens: int = 0
) -> Scored | ItemFailure:
    """Probabilities of the three labels, normalised among themselves.

    Args:
        candidates: The likeliest next tokens. Their probabilities are of the whole vocabulary, before any bias:
            only then does the labels' joint probability say how much the model wanted a label.
        vocabulary: Which tokens the labels are.
        cached_tokens: Passed on.

    Returns:
        The scores; ``labels_missing`` if none of the three labels is a candidate.
    """
    first = vocabulary.first_label_ids
    shares = _shares(candidates, list(first.values()))
    if shares is None:
        return ItemFailure(FailureCode.LABELS_MISSING, "none of the three labels is among the candidates")
    found = [candidates.logprobs[token] for token in first.values() if token in candidates.logprobs]
    return Scored(
        scores=Scores(**dict(zip(first, shares, strict=True))),
        label_mass=min(1.0, sum(math.exp(min(0.0, value)) for value in found)),
        bounded=len(found) < len(first),
        cached_tokens=cached_tokens,
    )


def category_scores(candidates: Candidates, vocabulary: Vocabulary) -> dict[str, float]:
    """Distribution over the categories' first tokens; empty if none of them is a candidate."""
    shares = _shares(candidates, list(vocabulary.category_ids.values()))
    return dict(zip(vocabulary.category_ids, shares, strict=True)) if shares else {}


def first_category(candidates: Candidates, vocabulary: Vocabulary, kind: Kind) -> Explanation | None:
    """The category that a written explanation would begin with.

    Args:
        candidates: The likeliest next tokens after :data:`CATEGORY_HEAD`, of the whole vocabulary.
        vocabulary: Which tokens the categories are.
        kind: Kind of the post.

    Returns:
        None unless its first token is likelier than any token that begins no category of this kind can be.
    """
    found = {
        name: math.exp(min(0.0, candidates.logprobs[token_id]))
        for name, token_id in vocabulary.category_ids.items()
        if token_id in candidates.logprobs and (kind != "response" or name != PROMPT_ONLY)
    }
    likeliest = max(found, key=found.__getitem__, default=None)
    if likeliest is None or found[likeliest] <= 1 - sum(found.values()):
        return None
    return Explanation(
        categories=() if likeliest == NO_CATEGORY else (likeliest,),
        category_scores=category_scores(candidates, vocabulary),
        by="category",
    )


def _shares(candidates: Candidates, token_ids: Sequence[int]) -> list[float] | None:
    """Normalise over some tokens; a missing one counts with its bound. None if all are missing."""
    if not any(token_id in candidates.logprobs for token_id in token_ids):
        return None
    values = [candidates.logprobs.get(token_id, candidates.floor) for token_id in token_ids]
    top = max(values)  # taken off before exp, so that nothing overflows and the sum is at least 1
    weights = [math.exp(value - top) for value in values]
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def unparsable(detail: str) -> ItemFailure:
    """The server answered, but not in its dialect. ``detail`` names the field, never its content."""
    return ItemFailure(FailureCode.UNPARSABLE, detail)


def empty_completion() -> ItemFailure:
    """The server answered with nothing."""
    return ItemFailure(FailureCode.EMPTY_COMPLETION, "the completion is empty")


def context_ended() -> ItemFailure:
    """An explanation that the server's context cut."""
    return ItemFailure(FailureCode.TOO_LONG, "the server's context ended within the explanation")


def refusal_text(body: object) -> str:
    """What a refusal says, in small letters, whatever its shape. It may quote a post: for comparing alone."""
    try:
        return str(body).lower()
    except RecursionError:  # nested nearly as deeply as the parser admits: no server's words
        return ""


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter that a server adds to its base, for the requests that name it."""

    name: str
    number: int
    """TensorRT-LLM's cache of adapters goes by this: one number for one adapter, whichever worker asks."""
    path: str
    """``trtllm-serve``: the adapter's folder, as the server sees it."""

    @classmethod
    def of(cls, name: str, path: str, digest: str) -> Self:
        """The adapter of the bundle with this digest."""
        return cls(name, cls.number_of(digest), path)

    @staticmethod
    def number_of(digest: str) -> int:
        """Its number by its bundle's digest, in 31 bits; two adapters rarely share one, which is refused."""
        return int(digest.rpartition(":")[2][:8], 16) >> 1


@dataclass(frozen=True, slots=True)
class ServedModel:
    """What a client must know of the model behind a server, from its bundle."""

    info: EngineInfo
    vocabulary: Vocabulary
    categories: tuple[str, ...]
    """Names that an explanation may give."""
    probe: Prompt
    """A short prompt of our own for an engine's health. It starts with the shared
    prefix, so that asking does not push that prefix out of the server's cache."""
