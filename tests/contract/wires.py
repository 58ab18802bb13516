"""How each kind of server is asked and answers on the wire, as far as a STUB of it goes.

Each wire imitates what is documented, or readable in the public source, of one server; what is not known is left
out. ``tests/conformance`` compares the requests, and the answers, with vLLM's and SGLang's own files.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from conformance.sheet import load_sheet
from support.small_bundle import small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTEXT_TOKENS = 2048
MOST_CANDIDATES = 20
"""vLLM's default of ``--max-logprobs``."""


class RefusedError(Exception):
    """The server refuses a request."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True)
class Generated:
    """What the model made of one prompt."""

    prompt: Sequence[int]
    text: str
    logprobs: Mapping[int, float]
    """Of the whole vocabulary, at the first position."""
    best: int | None
    """The token that was written there; None for an answer of nothing."""
    finish_reason: str = "length"
    cached_tokens: int = 7

    def chosen(self, top: int, ids: Sequence[int] = ()) -> dict[int, float]:
        """Candidates as vLLM's engine picks them: the written token, then those asked for, or else the likeliest."""
        if self.best is None:
            return {}
        wanted = ids or sorted(self.logprobs, key=lambda token: -self.logprobs[token])[:top]
        return {token: self.logprobs[token] for token in dict.fromkeys((self.best, *wanted))}


class Completions:
    """Legacy completions: candidates by text."""

    path: ClassVar[str] = "/v1/completions"

    def prompts(self, body: Mapping[str, Any]) -> list[list[int]]:
        """The prompts of a request, as token ids."""
        prompt = body["prompt"]
        return prompt if isinstance(prompt[0], list) else [prompt]

    def tokens(self, body: Mapping[str, Any]) -> int:
        """The most that each answer may have."""
        return int(body["max_tokens"])

    def grammar(self, body: Mapping[str, Any]) -> str:
        """What the server holds the answer to; empty for nothing."""
        del body
        return ""

    def named(self, body: Mapping[str, Any]) -> Any:
        """What the request has answer: another model, or another adapter, has another name."""
        return body.get("lora_request", body.get("lora_path", body.get("model")))

    def check(self, body: Mapping[str, Any], models: Sequence[str]) -> None:
        """See that the server takes a request.

        Raises:
            RefusedError: It does not.
        """
        del models
        for prompt in self.prompts(body):
            if len(prompt) + self.tokens(body) > CONTEXT_TOKENS:
                raise RefusedError(f"This model's maximum context length is {CONTEXT_TOKENS} tokens.")

    def answer(self, body: Mapping[str, Any], generated: Sequence[Generated]) -> Any:
        """The reply. ``generated`` may lack one, which only a broken server does."""
        return {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 0,
            "model": body["model"],
            "choices": [self._choice(body, index, one) for index, one in enumerate(generated)],
            "usage": _usage(generated),
        }

    def error(self, message: str) -> Any:
        """The body of a refusal."""
        return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}

    def _choice(self, body: Mapping[str, Any], index: int, one: Generated) -> dict[str, Any]:
        candidates = {
            self._key(body, token): max(value, -9999.0) for token, value in self._chosen(body, one).items()
        }
        written = [] if one.best is None else [self._key(body, one.best)]
        return {
            "index": index,
            "text": one.text,
            "finish_reason": one.finish_reason,
            "logprobs": {
                "text_offset": [0] * len(written),
                "token_logprobs": [candidates[key] for key in written],
                "tokens": written,
                "top_logprobs": [candidates] * len(written),
            },
        }

    def _chosen(self, body: Mapping[str, Any], one: Generated) -> dict[int, float]:
        return one.chosen(body["logprobs"])

    def _key(self, body: Mapping[str, Any], token: int) -> str:
        del body
        return small_tokenizer().decode([token])


class Vllm(Completions):
    """vLLM: named candidates, ids as keys on request, an unknown model is not found."""

    def check(self, body: Mapping[str, Any], models: Sequence[str]) -> None:
        super().check(body, models)
        if body["logprobs"] > MOST_CANDIDATES:
            raise RefusedError(
                f"Requested sample logprobs of {body['logprobs']}, which is greater than max allowed"
            )
        if body["model"] not in models:
            raise RefusedError(f"The model `{body['model']}` does not exist.", 404)

    def grammar(self, body: Mapping[str, Any]) -> str:
        return str(body.get("structured_outputs", {}).get("grammar", ""))

    def _chosen(self, body: Mapping[str, Any], one: Generated) -> dict[int, float]:
        return one.chosen(body["logprobs"], body.get("logprob_token_ids", ()))

    def _key(self, body: Mapping[str, Any], token: int) -> str:
        return f"token_id:{token}" if body.get("return_tokens_as_token_ids") else super()._key(body, token)


class Trtllm(Completions):
    """``trtllm-serve`` from 1.3 on: takes no field that it does not know, and a grammar only where it is set up."""

    endpoint: ClassVar[str] = "completions"
    guided: bool = False
    """True if it was started with a backend for guided decoding."""

    def grammar(self, body: Mapping[str, Any]) -> str:
        return str(body.get("response_format", {}).get("ebnf", ""))

    def check(self, body: Mapping[str, Any], models: Sequence[str]) -> None:
        super().check(body, models)
        if unknown := set(body) - set(load_sheet().requests[self.endpoint]):
            raise RefusedError(f"Extra inputs are not permitted: {', '.join(sorted(unknown))}")
        if "response_format" in body and not self.guided:
            raise RefusedError("guided decoding is not enabled")

    def error(self, message: str) -> Any:
        return {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400}


class OldTrtllm(Trtllm):
    """The same endpoint of 1.2.1, as far as its source was read."""

    def check(self, body: Mapping[str, Any], models: Sequence[str]) -> None:
        super().check(body, models)
        if "logprobs" in body:
            raise RefusedError("1 validation error: Value error, logprobs is not supported")


class TrtllmChat(Trtllm):
    """The chat endpoint of ``trtllm-serve``, given a prompt's tokens."""

    path: ClassVar[str] = "/v1/chat/completions"
    endpoint: ClassVar[str] = "chat"

    def prompts(self, body: Mapping[str, Any]) -> list[list[int]]:
        assert body["messages"], "one must be there"
        return [body["prompt_token_ids"]]

    def _choice(self, body: Mapping[str, Any], index: int, one: Generated) -> dict[str, Any]:
        assert body["logprobs"] is True
        shown = [
            {"token": self._key(body, token), "logprob": max(value, -9999.0), "bytes": None}
            for token, value in one.chosen(body["top_logprobs"]).items()
        ]
        return {
            "index": index,
            "message": {"role": "assistant", "content": one.text, "tool_calls": []},
            "finish_reason": one.finish_reason,
            "logprobs": {"content": [{**shown[0], "top_logprobs": shown}] if shown else []},
        }


class Sglang(Completions):
    """SGLang's ``/generate``: named candidates, one answer for each prompt."""

    path: ClassVar[str] = "/generate"

    def prompts(self, body: Mapping[str, Any]) -> list[list[int]]:
        ids = body["input_ids"]
        return ids if isinstance(ids[0], list) else [ids]

    def tokens(self, body: Mapping[str, Any]) -> int:
        return int(body["sampling_params"]["max_new_tokens"])

    def grammar(self, body: Mapping[str, Any]) -> str:
        return str(body["sampling_params"].get("ebnf", ""))

    def check(self, body: Mapping[str, Any], models: Sequence[str]) -> None:
        for prompt in self.prompts(body):
            if len(prompt) >= CONTEXT_TOKENS:
                raise RefusedError(
                    f"The input ({len(prompt)} tokens) is longer than the model's context length ({CONTEXT_TOKENS} tokens)."
                )
        if body.get("lora_path", models[0]) not in models:
            raise RefusedError(f"Got LoRA adapter that has never been loaded: {body['lora_path']}")

    def answer(self, body: Mapping[str, Any], generated: Sequence[Generated]) -> Any:
        answers = [self._one(body, one) for one in generated]
        alone = len(answers) == 1 and not isinstance(body["input_ids"][0], list)
        return answers[0] if alone else answers

    def error(self, message: str) -> Any:
        return {"error": {"message": message}}

    def _one(self, body: Mapping[str, Any], one: Generated) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "id": "1",
            "finish_reason": {"type": one.finish_reason, "length": 1}
            if one.finish_reason == "length"
            else {"type": one.finish_reason, "matched": None},
            "prompt_tokens": len(one.prompt),
            "completion_tokens": int(one.best is not None),
            "cached_tokens": one.cached_tokens,
        }
        if one.best is not None:
            named = [[one.logprobs[token], token, None] for token in body["token_ids_logprob"]]
            meta["output_token_ids_logprobs"] = [named]
        return {"text": one.text, "meta_info": meta}


WIRES: Mapping[str, type[Completions]] = {
    "openai": Completions,
    "vllm": Vllm,
    "trtllm": Trtllm,
    "trtllm 1.2.1": OldTrtllm,
    "trtllm_chat": TrtllmChat,
    "sglang": Sglang,
}


def _usage(generated: Sequence[Generated]) -> dict[str, Any]:
    prompt = sum(len(one.prompt) for one in generated)
    completion = sum(one.best is not None for one in generated)
    cached = generated[-1].cached_tokens if generated else 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
