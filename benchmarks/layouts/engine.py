"""The CPU model, asked one request at a time, each with what it cost by the server's own count."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from layouts.report import Request
from sluicegate.engines.backends.dialects import LlamaCppDialect, Vocabulary
from sluicegate.engines.backends.http_client import JsonClient
from sluicegate.engines.backends.llama_server import ServerOptions
from sluicegate.engines.backends.supervisor import Supervisor
from sluicegate.engines.protocol import Scored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluicegate.engines.bundle.bundle import Bundle
    from sluicegate.engines.protocol import Prompt
    from sluicegate.schemas import Scores, Severity

_SERVER = "sluicegate.engines.backends.llama_server"
_MOST_GENERATED = 128  # of the vendor's own evaluation
_ANSWER_BYTES = 1 << 20
_TIMEOUT_S = 300.0


class Asked(Protocol):
    """An engine that tells what each request cost it."""

    async def score(self, prompt: Prompt) -> tuple[Scores, Request]: ...

    async def explain(self, prompt: Prompt, severity: Severity) -> Request: ...

    async def generate(self, prompt: Prompt) -> Request: ...


class CpuModel:
    """The CPU model behind llama.cpp's server, without retries or queue between."""

    def __init__(self, client: JsonClient, vocabulary: Vocabulary) -> None:
        self._client, self._vocabulary = client, vocabulary
        self._dialect = LlamaCppDialect(vocabulary)

    async def score(self, prompt: Prompt) -> tuple[Scores, Request]:
        body, cost = await self._ask(self._dialect.score_request([prompt.token_ids]))
        (answer,) = self._dialect.read_scores(body, 1)
        if not isinstance(answer, Scored):
            raise SystemExit(f"the engine's scores cannot be read: {answer.code}: {answer.detail}")
        return answer.scores, cost

    async def explain(self, prompt: Prompt, severity: Severity) -> Request:
        forced = self._vocabulary.explain_ids(prompt, severity)
        payload = self._dialect.explain_request(forced, prompt.kind)
        _, cost = await self._ask(
            payload | {"response_fields": ["content", "completion_probabilities", "timings"]}
        )
        return cost

    async def generate(self, prompt: Prompt) -> Request:
        """All that the model has to say, as a guard is asked by its card: greedily, and without a grammar."""
        _, cost = await self._ask(
            {
                "prompt": list(prompt.token_ids),
                "n_predict": _MOST_GENERATED,
                "cache_prompt": True,
                "temperature": 0,
                "response_fields": ["content", "timings"],
            }
        )
        return cost

    async def _ask(self, payload: dict[str, Any]) -> tuple[Any, Request]:
        began = time.perf_counter()
        deadline = asyncio.get_running_loop().time() + _TIMEOUT_S
        reply = await self._client.post(
            self._dialect.path, payload, limit_bytes=_ANSWER_BYTES, deadline=deadline
        )
        seconds = time.perf_counter() - began
        match reply.body:
            case {
                "timings": {"cache_n": int(cached), "prompt_n": int(computed), "predicted_n": int(generated)}
            }:
                return reply.body, Request(cached, computed, generated, seconds)
        raise SystemExit(
            f"llama.cpp's server told no timings (HTTP {reply.status}); this needs the version that pyproject.toml pins"
        )


@asynccontextmanager
async def serving(bundle: Bundle, *, threads: int) -> AsyncIterator[CpuModel]:
    """A server with one slot: no two prompts compete for what is cached."""
    manifest = bundle.manifest
    options = ServerOptions(
        model=str(bundle.file("model")),
        slots=1,
        slot_tokens=manifest.limits.max_prompt_tokens + _MOST_GENERATED,
        threads=threads,
    )

    async def ready() -> None: ...

    server = Supervisor(("-m", _SERVER, options.to_json()), ready)
    vocabulary = Vocabulary.of(
        bundle.tokenizer, bundle.labels, bundle.category_tokens, reasons=manifest.reasons
    )
    client = JsonClient(server.address)
    await client.open()
    try:
        await server.start()
        yield CpuModel(client, vocabulary)
    finally:
        await server.stop()
        await client.close()
