"""vLLM and SGLang, as far as their own files go without a GPU: what they take of a request, and how they answer.

Their request and response classes are run as they stand in the pinned wheels, vLLM's way from an engine's output to
a reply, too. There is no engine behind them: what it would have generated is told.
"""

from __future__ import annotations

import dataclasses
import logging
import uuid
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from conformance.borrowed import Borrowed
from conformance.wheels import FILES, sources, versions
from contract.wires import CONTEXT_TOKENS, MOST_CANDIDATES, Generated, RefusedError
from support.small_bundle import small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Server(Protocol):
    """A server's own files."""

    name: ClassVar[str]

    def take(self, body: Mapping[str, Any]) -> Any:
        """Raises ``RefusedError`` where the server would refuse the request, or ignore a field of it."""
        ...


class VllmServer:
    """``POST /v1/completions`` of vLLM."""

    name: ClassVar[str] = f"vLLM {versions()['vllm']}"

    def __init__(self) -> None:
        stubs: dict[str, dict[str, Any]] = {
            "vllm.logger": {"init_logger": _QuietLogger},
            "vllm.utils": {"random_uuid": lambda: uuid.uuid4().hex},
            "vllm.utils.mistral": {"is_mistral_tokenizer": lambda _: False},
            "vllm.config.utils": {"replace": dataclasses.replace},
            "vllm.platforms": {"current_platform": SimpleNamespace(get_max_output_tokens=lambda _: None)},
        }
        self._files = Borrowed(_run("vllm"), stubs, ("torch",))
        self._protocol = self._files.load("vllm.entrypoints.openai.completion.protocol")
        self._refusals = (ValueError, self._files.load("vllm.exceptions").VLLMValidationError)
        self._outputs = self._files.load("vllm.outputs")
        self._max_tokens = self._files.load("vllm.entrypoints.serve.utils.api_utils").get_max_tokens
        self._logprob = self._files.load("vllm.logprobs").Logprob
        serving = self._files.load("vllm.entrypoints.openai.completion.serving").OpenAIServingCompletion
        self._serving = serving.__new__(serving)  # it would start an engine
        self._serving.enable_prompt_tokens_details = True
        self._serving.enable_per_request_metrics = False
        self._serving.return_tokens_as_token_ids = False
        self._serving.system_fingerprint = None

    def take(self, body: Mapping[str, Any]) -> Any:
        """The request as the server understands it.

        Raises:
            RefusedError: It would answer HTTP 400, or ignores a field.
        """
        vocabulary = small_tokenizer().vocabulary_size
        model = SimpleNamespace(max_logprobs=MOST_CANDIDATES, get_vocab_size=lambda: vocabulary)
        with self._files.at_hand():
            try:
                request = self._protocol.CompletionRequest.model_validate(body)
                prompts = request.prompt if isinstance(request.prompt[0], list) else [request.prompt]
                for prompt in prompts:
                    room = self._max_tokens(CONTEXT_TOKENS, request.max_tokens, len(prompt), {})
                    request.to_sampling_params(room)._validate_logprobs(model)
            except self._refusals as error:
                raise RefusedError(str(error)) from error
        _ignored(request.model_extra)
        return request

    def answer(self, body: Mapping[str, Any], generated: Sequence[Generated]) -> Any:
        """The reply, by the server's own code from its engine's output."""
        request = self.take(body)
        with self._files.at_hand():
            outputs = [self._output(request, one) for one in generated]
            response = self._serving.request_output_to_completion_response(
                outputs, request, "cmpl-1", 0, request.model, None, SimpleNamespace()
            )
            return response.model_dump(mode="json")

    def _output(self, request: Any, one: Generated) -> Any:
        chosen = one.chosen(request.logprobs or 0, request.logprob_token_ids or ())
        candidates = {
            token: self._logprob(value, rank, small_tokenizer().decode([token]))
            for rank, (token, value) in enumerate(chosen.items(), 1)
        }
        made = [] if one.best is None else [one.best]
        completion = self._outputs.CompletionOutput(
            index=0,
            text=one.text,
            token_ids=made,
            cumulative_logprob=None,
            logprobs=[candidates for _ in made],
            finish_reason=one.finish_reason,
        )
        return self._outputs.RequestOutput(
            request_id="1",
            prompt=None,
            prompt_token_ids=list(one.prompt),
            prompt_logprobs=None,
            outputs=[completion],
            finished=True,
            num_cached_tokens=one.cached_tokens,
        )


class SglangCompletions:
    """``POST /v1/completions`` of SGLang."""

    name: ClassVar[str] = f"SGLang {versions()['sglang']}"

    def __init__(self) -> None:
        stubs = {"sglang.utils": {"convert_json_schema_to_str": str}}
        files = Borrowed(_run("sglang"), stubs, ("openai",))
        self._protocol = files.load("sglang.srt.entrypoints.openai.protocol")

    def take(self, body: Mapping[str, Any]) -> Any:
        """The request as the server understands it.

        Raises:
            RefusedError: It would answer HTTP 400, or drops a field.
        """
        kind = self._protocol.CompletionRequest
        try:
            request = kind.model_validate(body)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        known = {*kind.model_fields, *(field.alias for field in kind.model_fields.values())}
        _ignored({name for name in body if name not in known})
        return request


class SglangServer:
    """``POST /generate`` of SGLang."""

    name: ClassVar[str] = SglangCompletions.name

    def __init__(self) -> None:
        self._types = Borrowed(_run("sglang"), {}).load("sglang.api.v1.api_types")

    def take(self, body: Mapping[str, Any]) -> Any:
        """The request as the server's own contract reads it.

        Raises:
            RefusedError: It would answer HTTP 400, or ignores a field.
        """
        try:
            request = self._types.GenerateRequest.from_json_value(body)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        _ignored(set(body) - set(self._types.GenerateRequest.__struct_fields__))
        return request

    def answer(self, body: Mapping[str, Any], generated: Sequence[Generated]) -> Any:
        """The reply, in the server's own response classes."""
        request = self.take(body)
        answers = [self._response(request, one).to_json_value() for one in generated]
        return answers if isinstance(body["input_ids"][0], list) or len(answers) != 1 else answers[0]

    def _response(self, request: Any, one: Generated) -> Any:
        types = self._types
        made = [] if one.best is None else [one.best]
        named = [
            types.LogprobEntry(logprob=one.logprobs[token], token_id=token)
            for token in (request.token_ids_logprob or () if made else ())
        ]
        meta = types.GenerateMetaInfo(
            id="1",
            prompt_tokens=len(one.prompt),
            completion_tokens=len(made),
            finish_reason=types.FinishLength(length=1)
            if one.finish_reason == "length"
            else types.FinishStop(),
            output_token_ids_logprobs=[named for _ in made],
            cached_tokens=one.cached_tokens,
        )
        return types.GenerateResponse(text=one.text, meta_info=meta, output_ids=made)


def _run(project: str) -> dict[str, str]:
    return {name: source for name, source in sources(project).items() if name in FILES[project]}


SERVERS: Final = (VllmServer, SglangCompletions, SglangServer)


@cache
def own_files() -> Mapping[type[Server], Any]:
    """Each server's own files.

    Raises:
        WheelsMissingError: They were not fetched yet.
    """
    return {server: server() for server in SERVERS}


def _ignored(names: Any) -> None:
    if names:
        raise RefusedError(f"is not known to the server, which ignores it: {', '.join(sorted(names))}")


class _QuietLogger(logging.Logger):
    """vLLM's logger has words of its own."""

    def warning_once(self, *args: object) -> None:
        """Say nothing."""

    info_once = debug_once = warning_once
