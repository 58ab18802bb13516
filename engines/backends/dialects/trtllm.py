"""TensorRT-LLM's ``trtllm-serve``: completions from release 1.3 on, and the chat endpoint that 1.2.1 needs.

No bias is sent: the PyTorch runtime would count it into the probabilities that it reports, and they would no longer
say how much the model wanted a label; 1.2.1 makes it too short for Qwen3's model besides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

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
from sluicegate.engines.backends.dialects.openai import (
    OpenAIDialect,
    cached_tokens,
    choices_of,
    clipped,
)
from sluicegate.engines.protocol import ItemFailure, Scored
from sluicegate.schemas import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence


class TrtllmDialect(OpenAIDialect):
    """Completions of 1.3 and later, with candidates by text, as the server's tokenizer decodes each id alone.

    Args:
        vocabulary: The bundle's tokens.
        model: What the server calls its base.
        lora: What it is to add to that.
        guided: True if it was started with a backend for guided decoding: it refuses a grammar otherwise.
    """

    name: ClassVar[str] = "trtllm"
    list_prompts: ClassVar[int] = 16
    """The server works through a list side by side, and answers it as one."""

    def __init__(
        self, vocabulary: Vocabulary, *, model: str, lora: Lora | None = None, guided: bool = False
    ) -> None:
        super().__init__(vocabulary, model=model)
        self._lora = lora
        self._guided = guided

    @property
    def shaped(self) -> bool:
        """True if the server was started for it."""
        return self._guided

    def explain_request(self, token_ids: Sequence[int], kind: Kind) -> JsonObject:
        """Continue greedily, within the grammar of a kind where the server can hold to one."""
        return {**super().explain_request(token_ids, kind), **self._shape(kind)}

    def fault_of_all(self, status: int, body: object, tokens: int) -> str | None:
        """Release 1.2.1 refuses the candidates that every score needs."""
        del tokens
        if status in {400, 422} and "logprobs is not supported" in refusal_text(body):
            return (
                "the engine's server refuses logprobs on /v1/completions, as TensorRT-LLM 1.2.1 does; "
                "say engine.dialect: trtllm_chat"
            )
        return None

    def _request(self, prompt: list[int] | list[list[int]], *, max_tokens: int) -> JsonObject:
        return {**super()._request(prompt, max_tokens=max_tokens), **self._adapter()}

    def _adapter(self) -> JsonObject:
        lora = self._lora
        if lora is None:
            return {}
        named = {"lora_name": lora.name, "lora_int_id": lora.number, "lora_path": lora.path}
        return {"lora_request": named}

    def _shape(self, kind: Kind) -> JsonObject:
        if not self._guided:
            return {}
        vocabulary = self._vocabulary
        grammar = explanation_grammar(tuple(vocabulary.category_ids), kind, reasons=vocabulary.reasons)
        return {"response_format": {"type": "ebnf", "ebnf": grammar}}


class TrtllmChatDialect(TrtllmDialect):
    """The chat endpoint, given the prompt's tokens: 1.2.1 refuses ``logprobs`` on the other one.

    The server then renders no template of its own, and the message says nothing. More than one candidate needs the
    PyTorch runtime, or a server that gathers the logits of what it generates.
    """

    name: ClassVar[str] = "trtllm_chat"
    path: ClassVar[str] = "/v1/chat/completions"
    list_prompts: ClassVar[int] = 1

    def score_request(self, prompts: Sequence[Sequence[int]]) -> JsonObject:
        """Ask for one token with its candidates."""
        (prompt,) = prompts
        return self._chat(prompt, max_tokens=1)

    def read_scores(self, body: object, count: int) -> list[Scored | ItemFailure]:
        """One answer, from the candidates of the first token."""
        choices = choices_of(body, count)
        if choices is None:
            return [unparsable("choices")] * count
        if self.tokens_read(body) is None:  # :meth:`fault_of_all` could compare nothing
            return [unparsable("usage.prompt_tokens")] * count
        cached = cached_tokens(body)
        return [self._read_chat_score(choice, cached) for choice in choices]

    def explain_request(self, token_ids: Sequence[int], kind: Kind) -> JsonObject:
        """As with completions."""
        return {**self._chat(token_ids, max_tokens=EXPLANATION_TOKENS), **self._shape(kind)}

    def read_explanation(self, body: object) -> Completion | ItemFailure:
        """Read the message, and the categories' scores from the first position's candidates."""
        choices = choices_of(body, 1)
        match choices:
            case [{"message": {"content": str(text)}} as choice]:
                if not text.strip():
                    return empty_completion()
                if clipped(body, choice):
                    return context_ended()
                candidates = self._chat_candidates(choice)
                return Completion(text, category_scores(candidates, self._vocabulary) if candidates else {})
        return unparsable("choices" if choices is None else "choices.message.content")

    def category_request(self, token_ids: Sequence[int]) -> JsonObject:
        """Ask for one token with its candidates."""
        return self._chat(token_ids, max_tokens=1)

    def read_category(self, body: object) -> Candidates | None:
        """The candidates of the one choice."""
        choices = choices_of(body, 1)
        return self._chat_candidates(choices[0]) if choices else None

    def fault_of_all(self, status: int, body: object, tokens: int) -> str | None:
        """A server that passes over the tokens answers to the message that says nothing: safe, to every post."""
        read = self.tokens_read(body)
        if status != 200 or read is None or read == tokens:
            return None
        return (
            f"the engine's server read {read} tokens where {tokens} were sent: engine.dialect trtllm_chat is for "
            "trtllm-serve 1.2.1, which takes prompt_token_ids; say the dialect of this server"
        )

    def _chat(self, prompt: Sequence[int], *, max_tokens: int) -> JsonObject:
        return {
            "model": self._model,
            "messages": [{"role": "user", "content": "."}],  # one must be there; the tokens stand for it
            "prompt_token_ids": list(prompt),
            "max_tokens": max_tokens,
            "temperature": 0,  # the server's default is 1
            "logprobs": True,
            "top_logprobs": self.candidates,
            **self._adapter(),
        }

    def _read_chat_score(self, choice: JsonObject, cached: int) -> Scored | ItemFailure:
        candidates = self._chat_candidates(choice)
        if candidates is not None:
            return severity_scores(candidates, self._vocabulary, cached_tokens=cached)
        match choice:
            case {"message": {"content": None | ""}, "logprobs": None | {"content": None | []}}:
                return empty_completion()
        return unparsable("choices.logprobs.content.top_logprobs")

    def _chat_candidates(self, choice: JsonObject) -> Candidates | None:
        match choice.get("logprobs"):
            case {"content": [{"top_logprobs": list(top)}, *_]}:
                return Candidates.of(
                    (self.token_id(str(entry.get("token"))), entry.get("logprob"))
                    for entry in top
                    if isinstance(entry, dict)
                )
        return None
