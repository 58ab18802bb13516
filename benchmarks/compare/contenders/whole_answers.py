"""Generate-always: the vendor's layout, and the whole answer for each post."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sluicegate.engines.backends.fake import FakeEngine
from sluicegate.engines.backends.http_client import JsonClient
from sluicegate.engines.backends.llama_cpp import LlamaCppEngine
from sluicegate.engines.layouts import Frame, VendorLayout
from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt, Scored
from sluicegate.engines.text.prompting import Prompter
from sluicegate.pipeline.flow.decision import assess
from sluicegate.schemas import FailureCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.backends import Backend
    from sluicegate.engines.bundle.tokenizer import TextTokenizer
    from sluicegate.schemas import Post

BEFORE, AFTER = 201 - 3, 96
"""Tokens of the vendor's prompt around a post; the head `USER:` before it is 3 of the 201. Its text is not
ours to ship: other text of the same length stands for it."""
ANSWER_TOKENS = 8
"""`Safety: Safe`, `Categories: None` and the end: the shortest answer it gives, taken for all posts."""

_CALL_S = 60.0
_ANSWER_BYTES = 1 << 20


def filled(tokenizer: TextTokenizer, tokens: int) -> str:
    """A text of so many tokens."""
    text = tokenizer.decode(tokenizer.encode_static("the rule of the house " * tokens)[:tokens])
    return text.rstrip()


def vendor_prompter(backend: Backend, bytes_per_token: float) -> Prompter:
    """Prompts as long as the vendor's, in the tokens of an engine's own prompter."""
    tokenizer = backend.prompter.tokenizer
    frame = Frame(
        before=filled(tokenizer, round(BEFORE * bytes_per_token)),
        after=filled(tokenizer, round(AFTER * bytes_per_token)),
    )
    layout = VendorLayout(prompt=frame, response=frame)
    return Prompter(tokenizer, layout, max_prompt_tokens=backend.prompter.max_prompt_tokens)


class WholeAnswers:
    """Asks an engine for whole answers. Enter it inside the engine."""

    def __init__(self, backend: Backend) -> None:
        self._engine: Any = backend.engine
        self._client: JsonClient | None = None
        size = 1.0
        if isinstance(self._engine, FakeEngine):
            size = self._engine.profile.bytes_per_token
        elif isinstance(self._engine, LlamaCppEngine):
            address = self._engine._supervisor.address  # noqa: SLF001 - the protocol has no whole answers
            self._client = JsonClient(address)
        self._prompter = vendor_prompter(backend, size)

    async def open(self) -> None:
        """Connect."""
        if self._client is not None:
            await self._client.open()

    async def ask(self, posts: Sequence[Post]) -> list[Any]:
        """A finding for each post. The CPU model never learnt this layout: its seconds are real, its answers are none."""
        plain = [post.model_copy(update={"region": None, "language": None}) for post in posts]
        prompts = self._prompter.build_many(plain)
        good = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
        if self._client is None:
            answers = await self._engine.generate(good, tokens=ANSWER_TOKENS - 1, timeout_s=_CALL_S)
        else:
            answers = await asyncio.gather(*(self._complete(self._client, prompt) for prompt in good))
        going = iter(answers)
        found = [next(going) if isinstance(prompt, Prompt) else prompt for prompt in prompts]
        # Whatever an answer of this layout says, it decides by the general bars.
        return [
            assess(one.scores, Explanation(()), one.scores.harm) if isinstance(one, Scored) else one
            for one in found
        ]

    async def _complete(self, client: JsonClient, prompt: Prompt) -> ItemFailure:
        request = {
            "prompt": list(prompt.token_ids),
            "n_predict": ANSWER_TOKENS,
            "cache_prompt": True,
            "temperature": 0,
            "ignore_eos": True,
            "response_fields": ["content", "tokens_predicted"],
        }
        deadline = asyncio.get_running_loop().time() + _CALL_S
        reply = await client.post("/completion", request, limit_bytes=_ANSWER_BYTES, deadline=deadline)
        body = reply.body
        if reply.status != 200 or not isinstance(body, dict) or body.get("tokens_predicted") != ANSWER_TOKENS:
            raise RuntimeError(f"the server did not write {ANSWER_TOKENS} tokens (HTTP {reply.status})")
        return ItemFailure(FailureCode.UNPARSABLE)
