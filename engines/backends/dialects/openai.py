"""The completions endpoint that OpenAI made common, and what vLLM does of its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar

from sluicegate.engines.backends.dialects.base import (
    EXPLANATION_TOKENS,
    Candidates,
    Completion,
    JsonObject,
    Vocabulary,
    category_scores,
    context_ended,
    empty_completion,
    refusal_text,
    severity_scores,
    unparsable,
)
from sluicegate.engines.backends.dialects.grammar import explanation_grammar
from sluicegate.engines.protocol import ItemFailure, Scored
from sluicegate.schemas import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence


_TOKEN_ID = re.compile(r"token_id:([0-9]{1,10})")
_TOO_LONG = (
    "context length",
    "context_length",
    "too long",
    "max_seq_len",
    "max_num_tokens",
    "max_input_len",
    "max_tokens must be at least 1",
)
"""Parts of a refusal that name the context. The last is vLLM's, of a prompt that fills it."""


class OpenAIDialect:
    """Any server of legacy completions: the candidates are a map from token text to logarithm."""

    name: ClassVar[str] = "openai"
    path: ClassVar[str] = "/v1/completions"
    gauges: ClassVar[tuple[str, ...]] = ()
    list_prompts: ClassVar[int] = 1
    exact: ClassVar[bool] = False
    tells_cached: ClassVar[bool] = False
    refuses_strangers: ClassVar[bool] = False
    candidates: ClassVar[int] = 20
    """vLLM's default limit; the other servers take more."""

    def __init__(self, vocabulary: Vocabulary, *, model: str) -> None:
        self._vocabulary = vocabulary
        self._model = model

    @property
    def shaped(self) -> bool:
        """False: no field for it is common to such servers."""
        return False

    def score_request(self, prompts: Sequence[Sequence[int]]) -> JsonObject:
        """Ask for one token with its candidates; a single prompt is sent without the outer list."""
        prompt = list(prompts[0]) if len(prompts) == 1 else [list(each) for each in prompts]
        return self._request(prompt, max_tokens=1)

    def read_scores(self, body: object, count: int) -> list[Scored | ItemFailure]:
        """One choice for each prompt, found by its index."""
        choices = choices_of(body, count)
        if choices is None:
            return [unparsable("choices")] * count
        cached = cached_tokens(body) if count == 1 else 0  # a list reports one sum for all its prompts
        return [self._read_score(choice, cached) for choice in choices]

    def explain_request(self, token_ids: Sequence[int], kind: Kind) -> JsonObject:
        """Continue greedily; an adapted model ends its turn by itself."""
        del kind  # the model was trained on the shape of each kind
        return self._request(list(token_ids), max_tokens=EXPLANATION_TOKENS)

    def read_explanation(self, body: object) -> Completion | ItemFailure:
        """Read the text, and the categories' scores from the first position's candidates."""
        choices = choices_of(body, 1)
        if choices is None:
            return unparsable("choices")
        text = choices[0].get("text")
        if not isinstance(text, str):
            return unparsable("choices.text")
        if not text.strip():
            return empty_completion()
        if clipped(body, choices[0]):
            return context_ended()
        candidates = self._candidates(choices[0])
        scores = category_scores(candidates, self._vocabulary) if candidates else {}
        return Completion(text, scores)

    def tokens_read(self, body: object) -> int | None:
        """The sum of a request's prompts."""
        match body:
            case {"usage": {"prompt_tokens": int(read)}}:
                return read
        return None

    def category_request(self, token_ids: Sequence[int]) -> JsonObject:
        """Ask for one token with its candidates."""
        return self._request(list(token_ids), max_tokens=1)

    def read_category(self, body: object) -> Candidates | None:
        """The candidates of the one choice."""
        choices = choices_of(body, 1)
        return self._candidates(choices[0]) if choices else None

    def is_too_long(self, status: int, body: object) -> bool:
        """Servers name the context in prose or in a code; nothing else in a refusal does."""
        return status in (400, 413, 422) and any(words in refusal_text(body) for words in _TOO_LONG)

    def fault_of_all(self, status: int, body: object, tokens: int) -> str | None:
        """None: what a server of this kind refuses tells nothing of the others."""
        del status, body, tokens
        return None

    def token_id(self, key: str) -> int | None:
        """Find the id of a candidate's key; None for a token that nobody asks about."""
        return self._vocabulary.texts.get(key)

    def _request(self, prompt: list[int] | list[list[int]], *, max_tokens: int) -> JsonObject:
        return {
            "model": self._model,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": 0,  # servers default to 1
            "logprobs": self.candidates,
        }

    def _read_score(self, choice: JsonObject, cached: int) -> Scored | ItemFailure:
        logprobs = choice.get("logprobs")
        if not choice.get("text") and (not isinstance(logprobs, dict) or not logprobs.get("tokens")):
            return empty_completion()
        candidates = self._candidates(choice)
        if candidates is None:
            return unparsable("choices.logprobs.top_logprobs")
        return severity_scores(candidates, self._vocabulary, cached_tokens=cached)

    def _candidates(self, choice: JsonObject) -> Candidates | None:
        match choice.get("logprobs"):
            case {"top_logprobs": [dict() as first, *_]}:
                return Candidates.of((self.token_id(str(key)), value) for key, value in first.items())
        return None


class VllmDialect(OpenAIDialect):
    """vLLM: exact scores of the tokens that are named, a grammar, and a list of prompts that it batches by itself.

    A release that does not know ``logprob_token_ids`` or ``structured_outputs`` ignores them: its scores are of the
    likeliest candidates then, and its explanations as the model ends them.
    """

    name: ClassVar[str] = "vllm"
    gauges: ClassVar[tuple[str, ...]] = ("vllm:num_requests_running", "vllm:num_requests_waiting")
    list_prompts: ClassVar[int] = 32
    """One round of HTTP and scheduling for this many prompts; few enough that none waits long for all."""
    exact: ClassVar[bool] = True
    tells_cached: ClassVar[bool] = True
    refuses_strangers: ClassVar[bool] = True
    _NAMED_TOKENS: ClassVar[int] = 128
    """The most that a request may name."""

    @property
    def shaped(self) -> bool:
        """True: every server of this kind has a backend for it."""
        return True

    def score_request(self, prompts: Sequence[Sequence[int]]) -> JsonObject:
        """Name the labels: their probabilities are of the whole vocabulary, however unlikely they are."""
        labels = list(self._vocabulary.first_label_ids.values())
        return {**super().score_request(prompts), "logprob_token_ids": labels}

    def explain_request(self, token_ids: Sequence[int], kind: Kind) -> JsonObject:
        """Name the categories, and hold the text to its grammar.

        The server renormalises the probabilities over what the grammar allows.
        """
        vocabulary = self._vocabulary
        grammar = explanation_grammar(tuple(vocabulary.category_ids), kind, reasons=vocabulary.reasons)
        return {
            **super().explain_request(token_ids, kind),
            "logprob_token_ids": self._categories(),
            "structured_outputs": {"grammar": grammar},
        }

    def category_request(self, token_ids: Sequence[int]) -> JsonObject:
        """Name the categories, without a grammar: their probabilities are of the whole vocabulary."""
        return {**super().category_request(token_ids), "logprob_token_ids": self._categories()}

    def token_id(self, key: str) -> int | None:
        """Keys have the form ``token_id:1234``."""
        return int(found[1]) if (found := _TOKEN_ID.fullmatch(key)) else None

    def _request(self, prompt: list[int] | list[list[int]], *, max_tokens: int) -> JsonObject:
        return {**super()._request(prompt, max_tokens=max_tokens), "return_tokens_as_token_ids": True}

    def _categories(self) -> list[int]:
        return list(self._vocabulary.category_ids.values())[: self._NAMED_TOKENS]


def choices_of(body: object, count: int) -> list[JsonObject] | None:
    """Order the choices by their index; None unless there is exactly one for each prompt."""
    choices: Any = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or len(choices) != count:
        return None
    if not all(isinstance(choice, dict) for choice in choices):
        return None
    by_index = {
        choice.get("index", 0): choice for choice in choices if isinstance(choice.get("index", 0), int)
    }
    if set(by_index) != set(range(count)):
        return None
    return [by_index[index] for index in range(count)]


def clipped(body: object, choice: JsonObject) -> bool:
    """True if an answer ended before its time because the context did: vLLM shortens it without a word."""
    match body:
        case {"usage": {"completion_tokens": int(written)}}:
            return choice.get("finish_reason") == "length" and written < EXPLANATION_TOKENS
    return False


def cached_tokens(body: object) -> int:
    """Prompt tokens that the server had in its cache; 0 where it does not say."""
    match body:
        case {"usage": {"prompt_tokens_details": {"cached_tokens": int(cached)}}} if cached >= 0:
            return cached
    return 0
