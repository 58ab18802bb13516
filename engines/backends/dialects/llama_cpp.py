"""llama.cpp's own completion endpoint: exact scores of the three labels, and a grammar for the explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sluicegate.engines.backends.dialects.base import (
    Candidates,
    Completion,
    JsonObject,
    Vocabulary,
    category_scores,
    empty_completion,
    severity_scores,
    unparsable,
)
from sluicegate.engines.backends.dialects.grammar import explanation_grammar
from sluicegate.engines.protocol import ItemFailure, Scored
from sluicegate.schemas import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_EXPLANATION_TOKENS = 40
"""Two of the longest categories and a refusal line are 25 tokens with SmolLM2's vocabulary. The server
does not stop a request whose client has left, so this also bounds what abandoned work costs."""

REASON_TOKENS = 56
"""On top of them, for models that learnt to give reasons: a short sentence; in Chinese three tokens a character."""

_CANDIDATES = 20
"""Of 298 texts in 13 languages each had the three labels among them. Up to 200 cost nothing measurable on two cores;
the answer grows by about 90 bytes for each."""


class LlamaCppDialect:
    """``/completion`` with token ids. List requests bring no speed on a CPU, and fail as a whole."""

    name: ClassVar[str] = "llama_cpp"
    path: ClassVar[str] = "/completion"
    gauges: ClassVar[tuple[str, ...]] = ()
    list_prompts: ClassVar[int] = 1
    exact: ClassVar[bool] = False
    shaped: ClassVar[bool] = True
    tells_cached: ClassVar[bool] = True
    refuses_strangers: ClassVar[bool] = False

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    def score_request(self, prompts: Sequence[Sequence[int]]) -> JsonObject:
        """Ask for the likeliest tokens of the whole vocabulary, as the model alone has them.

        So the labels' joint probability says how much the model wanted a label. The token that is
        written is not read.
        """
        (prompt,) = prompts
        return {
            "prompt": list(prompt),
            "n_predict": 1,
            "cache_prompt": True,
            "temperature": 0,
            "n_probs": _CANDIDATES,
            "response_fields": ["completion_probabilities", "timings"],
        }

    def read_scores(self, body: object, count: int) -> list[Scored | ItemFailure]:
        """One answer; candidates are matched by id, since a label's first token need not be its text."""
        del count
        if not isinstance(body, dict):
            return [unparsable("body")]
        match body.get("completion_probabilities"):
            case []:
                return [empty_completion()]
            case [{"top_logprobs": list(top)}, *_]:
                candidates = Candidates.of(_pairs(top))
            case _:
                return [unparsable("completion_probabilities")]
        if candidates is None:
            return [unparsable("completion_probabilities.top_logprobs")]
        return [severity_scores(candidates, self._vocabulary, cached_tokens=_cached_tokens(body))]

    def explain_request(self, token_ids: Sequence[int], kind: Kind) -> JsonObject:
        """Continue greedily within the grammar of a kind.

        The candidates are reported before the grammar masks any, so they stay the model's own.
        """
        reasons = self._vocabulary.reasons
        return {
            "prompt": list(token_ids),
            "n_predict": _EXPLANATION_TOKENS + REASON_TOKENS * reasons,
            "cache_prompt": True,
            "temperature": 0,
            "grammar": explanation_grammar(tuple(self._vocabulary.category_ids), kind, reasons=reasons),
            "n_probs": _CANDIDATES,
            "response_fields": ["content", "completion_probabilities"],
        }

    def read_explanation(self, body: object) -> Completion | ItemFailure:
        """Read the text, and the categories' scores from the first position's candidates."""
        text = body.get("content") if isinstance(body, dict) else None
        if not isinstance(text, str) or not isinstance(body, dict):
            return unparsable("content")
        if not text.strip():
            return empty_completion()
        candidates = self.read_category(body)
        return Completion(text, category_scores(candidates, self._vocabulary) if candidates else {})

    def category_request(self, token_ids: Sequence[int]) -> JsonObject:
        """As for a score: the token that is written is not read."""
        return self.score_request([token_ids])

    def read_category(self, body: object) -> Candidates | None:
        """The candidates of the first position."""
        match body:
            case {"completion_probabilities": [{"top_logprobs": list(top)}, *_]}:
                return Candidates.of(_pairs(top))
        return None

    def tokens_read(self, body: object) -> int | None:
        """What it computed, and what it had."""
        match body:
            case {"timings": {"prompt_n": int(computed), "cache_n": int(cached)}}:
                return computed + cached
        return None

    def is_too_long(self, status: int, body: object) -> bool:
        """The server has an error type for it."""
        match body:
            case {"error": {"type": "exceed_context_size_error"}}:
                return status == 400
        return False

    def fault_of_all(self, status: int, body: object, tokens: int) -> str | None:
        """None: the server refuses nothing but what a request says."""
        del status, body, tokens
        return None


def _pairs(top: list[Any]) -> Iterable[tuple[int | None, Any]]:
    for entry in top:
        match entry:
            case {"id": int(token_id), "logprob": value}:
                yield token_id, value
            case _:
                yield None, None


def _cached_tokens(body: JsonObject) -> int:
    match body.get("timings"):
        case {"cache_n": int(cached)} if cached >= 0:
            return cached
    return 0
