"""The completions engine: a client of any server that completes prompts given as token ids.

Its server's Prometheus page says which process answers, and whether it has anything in its work.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Self, TypeVar

from sluicegate.engines.backends.dialects import CATEGORY_HEAD, Completion, Dialect, ServedModel
from sluicegate.engines.backends.dialects.base import first_category
from sluicegate.engines.backends.http_client import HttpReply, JsonClient
from sluicegate.engines.backends.side_by_side import all_of
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import (
    Explanation,
    Generation,
    Health,
    ItemFailure,
    Prompt,
    Scored,
)
from sluicegate.engines.text.parsing import parse_explanation
from sluicegate.schemas import FailureCode, Kind, Severity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from types import TracebackType


_STARTED = "process_start_time_seconds"
"""Prometheus' Python client tells it of the process that serves the page."""


def read_generation(page: str, gauges: Sequence[str]) -> Generation | None:
    """Read a page in Prometheus' text format.

    Args:
        page: Untrusted.
        gauges: Names of the requests in work; all of them must be there.

    Returns:
        None unless the page tells the start, once, and every gauge. The server may have other clients.
    """
    started = _values(page, _STARTED)
    counted = [_values(page, gauge) for gauge in gauges]
    if len(started) != 1 or not math.isfinite(started[0]) or not all(counted):
        return None
    idle = not any(value for values in counted for value in values)
    return Generation(f"started {started[0]!r}", exclusive=False, idle=idle)


def _values(page: str, name: str) -> list[float]:
    """Every value that a page has under a name, whatever its labels; a word that is no number counts as some."""
    found = []
    for line in page.splitlines():
        if not line.startswith((f"{name} ", f"{name}{{")):
            continue
        try:
            found.append(float(line[len(name) :].rpartition("}")[2].split()[0]))
        except (ValueError, IndexError):
            found.append(math.inf)
    return found


_HEALTH_S = 4.5  # the protocol promises an answer within five seconds
_METRICS, _METRICS_BYTES = "/metrics", 4 << 20
_LIFE = "/health"  # vLLM answers 503 there once its engine core is dead
_LIFE_S = 2.0  # for a page that costs the server nothing, well within the time of any call
_FAULTS = frozenset({0, 500})
"""What a server says of a fault of its own: 500, or an answer that breaks off. It may be dying of the request."""
_FAULT_ATTEMPTS = 2
_ANSWER_BYTES = 1 << 20  # of one prompt; the longest explanation with its candidates is about 150 kB
_TIMED_OUT = ItemFailure(FailureCode.TIMED_OUT, "no answer within the deadline of the call")

_LIST_REFUSED = (FailureCode.ENGINE_ERROR, FailureCode.UNPARSABLE, FailureCode.TOO_LONG)
"""What all prompts of a list answer if the server takes no lists, or dislikes one prompt in it."""

T = TypeVar("T")


class CompletionsEngine:
    """Scores and explains through HTTP, one request for each prompt unless the dialect likes lists.

    Args:
        address: Gives the server's base address; raises ``EngineUnavailable`` while there is none.
        dialect: How the server is asked.
        model: What it serves.
        concurrency: Prompts in flight; further ones wait here, not in the server's queue.
        api_key: Sent as a bearer token.
    """

    def __init__(
        self,
        address: Callable[[], str],
        dialect: Dialect,
        model: ServedModel,
        *,
        concurrency: int = 8,
        api_key: str | None = None,
    ) -> None:
        self.info = model.info
        self.model = model
        self.dialect = dialect
        self._client = JsonClient(address, api_key=api_key)
        self._places = _Places(concurrency)
        self._list_prompts = min(dialect.list_prompts, concurrency)
        self._processes: set[str] = (
            set()
        )  # all that were told, so that servers behind a balancer are no restarts

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        """Score prompts; see :class:`~sluicegate.engines.protocol.Engine`."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        fitting = [prompt for prompt in prompts if not self._too_long(prompt)]
        size = self._list_prompts
        lists = [fitting[start : start + size] for start in range(0, len(fitting), size)]
        answers = chain.from_iterable(await all_of([self._score_list(part, deadline) for part in lists]))
        return [self._too_long(prompt) or next(answers) for prompt in prompts]

    async def explain(
        self,
        prompts: Sequence[Prompt],
        severities: Sequence[Severity],
        *,
        timeout_s: float,
        texts: Sequence[bool] | None = None,
    ) -> list[Explanation | ItemFailure]:
        """Explain prompts; see :class:`~sluicegate.engines.protocol.Engine`."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        written = [True] * len(prompts) if texts is None else texts
        asked = zip(prompts, severities, written, strict=True)
        return await all_of([self._explain_one(*one, deadline) for one in asked])

    async def health(self) -> Health:
        """Score the probe, beside all that is in flight."""
        deadline = asyncio.get_running_loop().time() + _HEALTH_S
        try:
            async with asyncio.timeout_at(deadline):
                (answer,) = await self._ask_scores([self.model.probe], deadline)
        except TimeoutError:
            return Health(ok=False, detail=f"no answer within {_HEALTH_S} s", silent=True)
        except EngineUnavailable as error:
            return Health(ok=False, detail=str(error))
        if isinstance(answer, ItemFailure):
            return Health(ok=False, detail=f"{answer.code.value}: {answer.detail}")
        return Health(ok=True)

    async def generation(self) -> Generation | None:
        """What the server's Prometheus page says of its start and its work, if its dialect has one."""
        told = await self._generation()
        self._processes |= {told.process} if told is not None else set()
        return told

    async def _generation(self) -> Generation | None:
        if not self.dialect.gauges:
            return None
        page = await self._client.get_text(_METRICS, limit_bytes=_METRICS_BYTES, timeout_s=_HEALTH_S)
        return read_generation(page, self.dialect.gauges)

    async def exchange(self, payload: object, *, prompts: int, timeout_s: float) -> HttpReply:
        """Send one body as it is, and give the reply as it came: to ask a server about itself. Takes no place of the others.

        Args:
            payload: Of the dialect.
            prompts: How many it holds.
            timeout_s: Seconds for the whole call.

        Raises:
            EngineUnavailable: The server is away, or refuses every request.
            TimeoutError: There was no answer in time.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        async with asyncio.timeout_at(deadline):
            return await self._client.post(
                self.dialect.path, payload, limit_bytes=prompts * _ANSWER_BYTES, deadline=deadline
            )

    async def __aenter__(self) -> Self:
        await self._client.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def _score_list(self, prompts: Sequence[Prompt], deadline: float) -> list[Scored | ItemFailure]:
        """Score some prompts in one request; one by one if the server does not take the list."""
        if len(prompts) == 1:
            return [await self._score_one(prompts[0], deadline)]
        answers = await self._within(deadline, len(prompts), lambda: self._ask_scores(prompts, deadline))
        if answers is None:
            return [_TIMED_OUT] * len(prompts)
        if not all(isinstance(answer, ItemFailure) and answer.code in _LIST_REFUSED for answer in answers):
            again = [index for index, answer in enumerate(answers) if _is_empty(answer)]
            found = await all_of([self._score_one(prompts[index], deadline) for index in again])
            return [found.pop(0) if index in again else answer for index, answer in enumerate(answers)]
        try:
            answers = await all_of([self._score_one(prompt, deadline) for prompt in prompts])
        except EngineUnavailable as error:  # it took the list before, and may have died of it
            raise EngineUnavailable(str(error)) from error
        if not any(isinstance(answer, ItemFailure) for answer in answers):
            self._list_prompts = 1  # the server takes each of them, but no lists
        return answers

    async def _score_one(self, prompt: Prompt, deadline: float) -> Scored | ItemFailure:
        async def ask() -> Scored | ItemFailure:
            (answer,) = await self._ask_scores([prompt], deadline)
            if _is_empty(answer):
                (answer,) = await self._ask_scores([prompt], deadline)
            return answer

        return await self._within(deadline, 1, ask) or _TIMED_OUT

    async def _explain_one(
        self, prompt: Prompt, severity: Severity, text: bool, deadline: float
    ) -> Explanation | ItemFailure:
        forced = self.model.vocabulary.explain_ids(prompt, severity)

        async def ask() -> Completion | Explanation | ItemFailure:
            if not text:
                category = await self._ask_category(forced, prompt.kind, deadline)
                if category is not None:
                    return category
            completion = await self._ask_completion(forced, prompt.kind, deadline)
            if _is_empty(completion):
                completion = await self._ask_completion(forced, prompt.kind, deadline)
            return completion

        if too_long := self._too_long(prompt):
            return too_long
        completion = await self._within(deadline, 1, ask) or _TIMED_OUT
        if not isinstance(completion, Completion):
            return completion
        explanation = parse_explanation(CATEGORY_HEAD + completion.text, prompt.kind, self.model.categories)
        if isinstance(explanation, ItemFailure):
            return explanation
        return replace(explanation, category_scores=completion.category_scores)

    async def _ask_scores(self, prompts: Sequence[Prompt], deadline: float) -> list[Scored | ItemFailure]:
        count = len(prompts)
        asked = [prompt.token_ids for prompt in prompts]
        body = await self._ask(self.dialect.score_request(asked), count, sum(map(len, asked)), deadline)
        return [body] * count if isinstance(body, ItemFailure) else self.dialect.read_scores(body, count)

    async def _ask_completion(
        self, forced: Sequence[int], kind: Kind, deadline: float
    ) -> Completion | ItemFailure:
        body = await self._ask(self.dialect.explain_request(forced, kind), 1, len(forced), deadline)
        return body if isinstance(body, ItemFailure) else self.dialect.read_explanation(body)

    async def _ask_category(
        self, forced: Sequence[int], kind: Kind, deadline: float
    ) -> Explanation | ItemFailure | None:
        """The first category; None where a text has to say it."""
        body = await self._ask(self.dialect.category_request(forced), 1, len(forced), deadline)
        if isinstance(body, ItemFailure):
            return body
        candidates = self.dialect.read_category(body)
        return first_category(candidates, self.model.vocabulary, kind) if candidates else None

    async def _ask(self, payload: object, count: int, tokens: int, deadline: float) -> object | ItemFailure:
        """Body of a good answer, still untrusted; a refusal as the failure that it means."""
        reply = await self._reply(payload, count, deadline)
        if fault := self.dialect.fault_of_all(reply.status, reply.body, tokens):
            raise EngineUnavailable(fault, refused=True)
        if reply.status == 200:
            return reply.body
        if self.dialect.is_too_long(reply.status, reply.body):
            return ItemFailure(FailureCode.TOO_LONG, "more tokens than the server's context")
        return ItemFailure(FailureCode.ENGINE_ERROR, _named(reply))

    async def _reply(self, payload: object, count: int, deadline: float) -> HttpReply:
        """Ask, and once more after a fault, unless the server is dying.

        Raises:
            EngineUnavailable: It is away. After a fault it took the request, and may have died of it.
        """
        fault = ""
        for _ in range(_FAULT_ATTEMPTS):
            try:
                reply = await self._client.post(
                    self.dialect.path, payload, limit_bytes=count * _ANSWER_BYTES, deadline=deadline
                )
            except EngineUnavailable as error:
                if fault:
                    raise EngineUnavailable(f"{error}, after {fault}") from error
                raise
            if reply.status not in _FAULTS:
                break
            fault = _named(reply)
            if not await self._lives():
                raise EngineUnavailable(f"the engine's server ends: {fault}")
        return reply

    async def _lives(self) -> bool:
        """False if a server that can tell is ending, or another process answers now. One that cannot tell lives."""
        if not self.dialect.gauges:
            return True
        status = await self._client.get_status(_LIFE, timeout_s=_LIFE_S)
        if status == 0 or status >= 500:
            return False
        told = await self._generation()
        return told is None or not self._processes or told.process in self._processes

    async def _within(self, deadline: float, places: int, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Ask as soon as there is room; None if there is no answer by the deadline."""
        try:
            async with asyncio.timeout_at(deadline), self._places.take(places):
                return await ask()
        except TimeoutError:
            return None

    def _too_long(self, prompt: Prompt) -> ItemFailure | None:
        length, limit = len(prompt.token_ids), self.info.max_prompt_tokens
        if length <= limit:
            return None
        return ItemFailure(FailureCode.TOO_LONG, f"{length} prompt tokens; the limit is {limit}")


class _Places:
    """Bounds the prompts in flight. A list takes all its places before the next one takes any."""

    def __init__(self, places: int) -> None:
        self._free = asyncio.Semaphore(places)
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def take(self, count: int) -> AsyncIterator[None]:
        """Hold ``count`` places."""
        taken = 0
        try:
            async with self._turn:
                while taken < count:
                    await self._free.acquire()
                    taken += 1
            yield
        finally:
            for _ in range(taken):
                self._free.release()


def _named(reply: HttpReply) -> str:
    return f"HTTP {reply.status}" if reply.status else "the answer broke off"


def _is_empty(answer: object) -> bool:
    return isinstance(answer, ItemFailure) and answer.code is FailureCode.EMPTY_COMPLETION
