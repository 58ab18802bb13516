"""SGLang's own endpoint, ``/generate``: exact scores of the tokens that are named, lists, adapters and a grammar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sluicegate.engines.backends.dialects.base import (
    EXPLANATION_TOKENS,
    Candidates,
    Completion,
    JsonObject,
    Lora,
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
    from collections.abc import Iterable, Sequence


class SglangDialect:
    """``/generate`` with token ids. Every prompt of a list has an answer of its own.

    Args:
        vocabulary: The bundle's tokens.
        lora: An adapter that the server has loaded, by the name that it was given there.
    """

    name: ClassVar[str] = "sglang"
    path: ClassVar[str] = "/generate"
    gauges: ClassVar[tuple[str, ...]] = ()
    list_prompts: ClassVar[int] = 32
    exact: ClassVar[bool] = True
    shaped: ClassVar[bool] = True
    tells_cached: ClassVar[bool] = True
    refuses_strangers: ClassVar[bool] = True

    def __init__(self, vocabulary: Vocabulary, *, lora: Lora | None = None) -> None:
        self._vocabulary = vocabulary
        self._lora = lora

    def score_request(self, prompts: Sequence[Sequence[int]]) -> JsonObject:
        """Ask for one token, and for the labels' probabilities there, of the whole vocabulary."""
        ids = list(prompts[0]) if len(prompts) == 1 else [list(each) for each in prompts]
        return self._request(ids, self._vocabulary.first_label_ids.values(), {"max_new_tokens": 1})

    def read_scores(self, body: object, count: int) -> list[Scored | ItemFailure]:
        """One answer for each prompt, in their order; a single prompt's stands alone."""
        answers = body if isinstance(body, list) else [body]
        if len(answers) != count:
            return [unparsable("body")] * count
        return [self._read_score(answer) for answer in answers]

    def explain_request(self, token_ids: Sequence[int], kind: Kind) -> JsonObject:
        """Continue greedily within the grammar of a kind.

        The server renormalises the probabilities over what the grammar allows.
        """
        vocabulary = self._vocabulary
        grammar = explanation_grammar(tuple(vocabulary.category_ids), kind, reasons=vocabulary.reasons)
        sampling = {"max_new_tokens": EXPLANATION_TOKENS, "ebnf": grammar}
        return self._request(list(token_ids), vocabulary.category_ids.values(), sampling)

    def read_explanation(self, body: object) -> Completion | ItemFailure:
        """Read the text, and the categories' scores from the first position."""
        match body:
            case {"text": str(text), "meta_info": dict(meta)}:
                if not text.strip():
                    return empty_completion()
                if _clipped(meta):
                    return context_ended()
                candidates = _candidates(meta)
                return Completion(text, category_scores(candidates, self._vocabulary) if candidates else {})
        return unparsable("text")

    def tokens_read(self, body: object) -> int | None:
        """The sum of a request's prompts; None where one of them lacks its number."""
        answers = body if isinstance(body, list) else [body]
        read = [
            answer["meta_info"]["prompt_tokens"]
            for answer in answers
            if isinstance(answer, dict)
            and isinstance(answer.get("meta_info"), dict)
            and isinstance(answer["meta_info"].get("prompt_tokens"), int)
        ]
        return sum(read) if read and len(read) == len(answers) else None

    def category_request(self, token_ids: Sequence[int]) -> JsonObject:
        """Ask for one token, and for the categories' probabilities there, of the whole vocabulary."""
        return self._request(list(token_ids), self._vocabulary.category_ids.values(), {"max_new_tokens": 1})

    def read_category(self, body: object) -> Candidates | None:
        """The tokens that were named."""
        match body:
            case {"meta_info": dict(meta)}:
                return _candidates(meta)
        return None

    def is_too_long(self, status: int, body: object) -> bool:
        """The server names the context in prose."""
        return status == 400 and "context length" in refusal_text(body)

    def fault_of_all(self, status: int, body: object, tokens: int) -> str | None:
        """An adapter that it lacks is refused in prose, too; a prompt that it shortens is answered without a word."""
        read = self.tokens_read(body) if status == 200 else None
        if read is not None and read != tokens:
            return (
                f"the engine's server read {read} tokens where {tokens} were sent; start SGLang without "
                "--allow-auto-truncate, and with a --context-length that holds engine.max_prompt_tokens and the answer"
            )
        words = refusal_text(body)
        if status == 400 and ("lora is not enabled" in words or "has never been loaded" in words):
            return "the engine's server has no such adapter: start it with --enable-lora --lora-paths NAME=FOLDER, or check lora_path"
        return None

    def _request(self, ids: list[Any], named: Iterable[int], sampling: JsonObject) -> JsonObject:
        request = {
            "input_ids": ids,
            "sampling_params": {"temperature": 0, **sampling},
            "return_logprob": True,
            "token_ids_logprob": list(named),
        }
        return request if self._lora is None else {**request, "lora_path": self._lora.path}

    def _read_score(self, answer: object) -> Scored | ItemFailure:
        match answer:
            case {"meta_info": {"completion_tokens": 0}}:
                return empty_completion()
            case {"meta_info": dict(meta)}:
                candidates = _candidates(meta)
                if candidates is not None:
                    return severity_scores(candidates, self._vocabulary, cached_tokens=_cached_tokens(meta))
        return unparsable("meta_info.output_token_ids_logprobs")


def _candidates(meta: JsonObject) -> Candidates | None:
    """The tokens that were named, at the first position: each is ``[logarithm, id, text]``."""
    match meta.get("output_token_ids_logprobs"):
        case [list(first), *_]:
            return Candidates.of(
                (token if isinstance(token, int) else None, value) for value, token, *_ in map(_entry, first)
            )
    return None


def _entry(entry: object) -> Sequence[Any]:
    return entry if isinstance(entry, list) and len(entry) >= 2 else (None, None)


def _clipped(meta: JsonObject) -> bool:
    """True if an answer ended before its time because the context did."""
    match meta:
        case {"finish_reason": {"type": "length"}, "completion_tokens": int(written)}:
            return written < EXPLANATION_TOKENS
    return False


def _cached_tokens(meta: JsonObject) -> int:
    cached = meta.get("cached_tokens")
    return cached if isinstance(cached, int) and cached >= 0 else 0
