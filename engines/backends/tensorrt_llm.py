"""The TensorRT-LLM engine: the model in this process, on its GPU.

Two runtimes behind one engine (docs/adr/0011-two-runtimes.md): a compiled engine gives the logits of the label token,
the PyTorch runtime the logarithms of the 20 likeliest tokens. An explanation is held to its shape by a regular
expression, for guided decoding.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

from sluicegate.engines.backends.dialects import CATEGORY_HEAD, ServedModel, Vocabulary
from sluicegate.engines.backends.dialects.base import (
    Candidates,
    category_scores,
    empty_completion,
    first_category,
    severity_scores,
)
from sluicegate.engines.backends.side_by_side import all_of, aside, end_process
from sluicegate.engines.backends.trtllm.border import Asked, Llm, load_library
from sluicegate.engines.backends.trtllm.in_flight import FaultedError, InFlight
from sluicegate.engines.backends.trtllm.serving import Serving
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.bundle.tokenizer import TextTokenizer
from sluicegate.engines.errors import EngineSetupError, EngineUnavailable
from sluicegate.engines.protocol import Explanation, Generation, Health, ItemFailure, Prompt, Scored
from sluicegate.engines.text.parsing import PROMPT_ONLY, parse_explanation
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import NO_CATEGORY, FailureCode, Kind, Post, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path
    from types import TracebackType


_ACTIVE = re.compile(r"([.^$*+?{}\[\]\\|()])")


def explanation_regex(kind: Kind, categories: Sequence[str], *, reasons: bool = False) -> str:
    """What may follow ``Categories:``, as :func:`~sluicegate.engines.text.parsing.parse_explanation` takes it.

    Only groups, alternatives, ``?``, ``*`` and one negated class: what every engine for regular
    expressions has. A category may be named twice, which the parser forgives.

    Args:
        kind: Kind of the post: a response has a refusal line and no category of prompts.
        categories: The names that the engine may give.
        reasons: An explanation that names a category gives a reason, too; else it is left to the model.
    """
    allowed = [name for name in categories if kind != "response" or name != PROMPT_ONLY]
    name = "(" + "|".join(_ACTIVE.sub(r"\\\1", each) for each in allowed) + ")"
    refusal = r"\nRefusal: (Yes|No)" if kind == "response" else ""
    if reasons:
        return rf" ({NO_CATEGORY}{refusal}|{name}(, {name})*{refusal}\nReason: [^\n ][^\n]*)"
    return rf" ({NO_CATEGORY}|{name}(, {name})*){refusal}(\nReason: [^\n]*)?"


class AnswerReader:
    """Reads answers that are not empty.

    Args:
        vocabulary: The bundle's tokens.
        tokenizer: Decodes what was generated.
        end_id: The token that ends an answer.
    """

    def __init__(self, vocabulary: Vocabulary, tokenizer: TextTokenizer, *, end_id: int) -> None:
        self._vocabulary = vocabulary
        self._tokenizer = tokenizer
        self._end_id = end_id

    def scores(self, asked: Asked) -> Scored | ItemFailure:
        """Probabilities of the three labels."""
        return severity_scores(
            asked.candidates(tuple(self._vocabulary.first_label_ids.values())),
            self._vocabulary,
            cached_tokens=asked.cached_tokens,
        )

    def categories(self, asked: Asked) -> Candidates:
        """How likely each category's first token is."""
        return asked.candidates(tuple(self._vocabulary.category_ids.values()))

    def text(self, asked: Asked) -> str | ItemFailure:
        """What was written, without the token that ends it."""
        ids = asked.token_ids
        text = self._tokenizer.decode(ids[:-1] if ids[-1] == self._end_id else ids)
        return text if text.strip() else empty_completion()


_log = logging.getLogger(__name__)

_HEALTH_S = 4.5  # the protocol promises an answer within five seconds
_WARM_UP_S = 300.0  # the first requests of the PyTorch runtime compile and tune
_CLOSE_S = 30.0
_FAILED_ANSWERS = 5
"""This many questions for its health in a row failed, with nothing of ours in work."""
_TIMED_OUT = ItemFailure(FailureCode.TIMED_OUT, "no answer within the deadline of the call")
_KINDS: tuple[Kind, ...] = ("post", "prompt", "response")

T = TypeVar("T")


class TensorRTEngine:
    """Scores and explains in process.

    A request that the runtime fails is blamed on its prompt only if a prompt of our own is still
    answered; else the engine is away. What broke on a GPU is mended by a new process alone, so
    an engine that stays away has this one end.

    Args:
        model: The bundle's model.
        serving: How it is run.
        root: Folder of the bundle.
        tokenizer: Decodes what was generated.
        warm: One prompt of our own for each prefix that prompts share.
        end_id: The token that ends an answer.
        give_up: Called once the engine has stayed away; ends the process unless given.
    """

    def __init__(
        self,
        model: ServedModel,
        serving: Serving,
        root: Path,
        tokenizer: TextTokenizer,
        *,
        warm: Sequence[Prompt],
        end_id: int,
        give_up: Callable[[], None] | None = None,
    ) -> None:
        self.info = model.info
        self._model = model
        self._serving = serving
        self._root = root
        self._reader = AnswerReader(model.vocabulary, tokenizer, end_id=end_id)
        self._warm = tuple(warm)
        self._end_id = end_id
        self._give_up = give_up or end_process
        self._llm: Llm | None = None
        self._flight: InFlight | None = None
        self._one_token: Any = None
        self._texts: dict[str, Any] = {}
        self._probing: asyncio.Task[Scored | ItemFailure] | None = None
        self._failed = 0
        self._calls = 0

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        """Score prompts; see :class:`~sluicegate.engines.protocol.Engine`."""
        return await self._side_by_side([partial(self._score_one, prompt) for prompt in prompts], timeout_s)

    async def explain(
        self,
        prompts: Sequence[Prompt],
        severities: Sequence[Severity],
        *,
        timeout_s: float,
        texts: Sequence[bool] | None = None,
    ) -> list[Explanation | ItemFailure]:
        """Explain prompts; see :class:`~sluicegate.engines.protocol.Engine`."""
        written = [True] * len(prompts) if texts is None else texts
        asked = zip(prompts, severities, written, strict=True)
        return await self._side_by_side([partial(self._explain_one, *one) for one in asked], timeout_s)

    async def health(self) -> Health:
        """Score a short prompt of our own, beside all that is in work."""
        busy = self._calls > 0
        health = await self._ask_health()
        self._failed = 0 if health.ok else self._failed + (not busy)
        if self._failed == _FAILED_ANSWERS:
            _log.critical("the TensorRT-LLM engine stays away (%s); this process ends", health.detail)
            self._give_up()
        return health

    async def generation(self) -> Generation | None:
        """This process, which has one engine in its life, and nobody else's prompts."""
        return Generation(f"process {os.getpid()}", exclusive=True)

    async def __aenter__(self) -> Self:
        """Load the model, minutes for a large one, and fill the prefix cache.

        Raises:
            EngineSetupError: TensorRT-LLM is not there, or does not run this bundle.
        """
        try:
            self._llm = await aside(self._load)
            self._one_token = self._llm.one_token()
            self._texts = {
                kind: self._llm.text(
                    explanation_regex(kind, self._model.categories, reasons=self._model.vocabulary.reasons)
                )
                for kind in _KINDS
            }
            # More than fit into one step, so that the next is full; not so many that they queue there.
            self._flight = InFlight(self._llm, places=2 * self._serving.max_batch_size)
            await self._warm_up()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def _load(self) -> Llm:
        library = load_library(self._serving.runtime)
        try:
            return Llm(library, self._serving, self._root, end_id=self._end_id)
        except Exception as error:
            raise EngineSetupError(
                f"TensorRT-LLM does not load {self._serving.folder} ({type(error).__name__}: {str(error)[:300]}); "
                "docs/engine.md says what an engine is bound to"
            ) from error

    async def _warm_up(self) -> None:
        """One prompt after the other: a prefix is reused only once its first prompt is done."""
        precision = ""

        def read(asked: Asked) -> Scored | ItemFailure:
            nonlocal precision
            precision = asked.precision
            return self._reader.scores(asked)

        for prompt in self._warm:
            try:
                (answer,) = await self._side_by_side([partial(self._score_one, prompt, read)], _WARM_UP_S)
            except EngineUnavailable as error:
                answer = ItemFailure(FailureCode.ENGINE_ERROR, str(error))
            if isinstance(answer, ItemFailure):
                raise EngineSetupError(
                    f"TensorRT-LLM loads {self._serving.folder}, but does not score a prompt of our own: "
                    f"{answer.code.value} ({answer.detail}); build the bundle again"
                )
        if self._serving.runtime == "engine" and precision != "float32":
            _log.warning(
                "the engine gives logits in %s: labels that are close tie; build the bundle again, which asks for float32",
                precision or "an unknown type",
            )

    async def _close(self) -> None:
        """Shut down; a runtime that no longer answers is left behind after half a minute."""
        llm, flight = self._llm, self._flight
        self._llm, self._flight = None, None
        if flight is not None:  # first, or those who wait for an answer wait for ever
            await flight.close()
        if llm is not None:
            try:
                await asyncio.wait_for(aside(llm.close), _CLOSE_S)
            except Exception as error:  # noqa: BLE001 - we leave anyway
                _log.warning("TensorRT-LLM did not shut down cleanly: %s", type(error).__name__)

    async def _side_by_side(
        self, items: Sequence[Callable[[], Coroutine[Any, Any, T | ItemFailure]]], timeout_s: float
    ) -> list[T | ItemFailure]:
        # One end for all: else the places that the first give up are taken by those who end a moment later.
        ends_at = asyncio.get_running_loop().time() + timeout_s

        async def bounded(item: Callable[[], Coroutine[Any, Any, T | ItemFailure]]) -> T | ItemFailure:
            try:
                async with asyncio.timeout_at(ends_at):
                    return await item()
            except TimeoutError:
                return _TIMED_OUT

        self._calls += 1
        try:
            return await all_of([bounded(item) for item in items])
        finally:
            self._calls -= 1

    async def _score_one(
        self, prompt: Prompt, read: Callable[[Asked], Scored | ItemFailure] | None = None
    ) -> Scored | ItemFailure:
        if too_long := self._too_long(prompt):
            return too_long
        try:
            return await self._in_flight().ask(prompt.token_ids, self._one_token, read or self._reader.scores)
        except FaultedError as fault:
            return await self._blame(fault)

    async def _explain_one(self, prompt: Prompt, severity: Severity, text: bool) -> Explanation | ItemFailure:
        if too_long := self._too_long(prompt):
            return too_long
        forced = self._model.vocabulary.explain_ids(prompt, severity)
        try:
            return await self._continue(forced, prompt.kind, text=text)
        except FaultedError as fault:
            return await self._blame(fault)

    async def _continue(self, forced: Sequence[int], kind: Kind, *, text: bool) -> Explanation | ItemFailure:
        """First the distribution over the categories, then the text if it is wanted: its logits would be large.

        The second request finds the first one's prompt in the prefix cache.
        """
        candidates = await self._in_flight().ask(forced, self._one_token, self._reader.categories)
        if isinstance(candidates, ItemFailure):
            return candidates
        category = None if text else first_category(candidates, self._model.vocabulary, kind)
        if category is not None:
            return category
        written = await self._in_flight().ask(forced, self._texts[kind], self._reader.text)
        if isinstance(written, ItemFailure):
            return written
        explanation = parse_explanation(CATEGORY_HEAD + written, kind, self._model.categories)
        if isinstance(explanation, ItemFailure):
            return explanation
        return replace(explanation, category_scores=category_scores(candidates, self._model.vocabulary))

    async def _blame(self, fault: FaultedError) -> ItemFailure:
        """The item's failure, if the engine still answers.

        Raises:
            EngineUnavailable: It does not.
        """
        if self._probing is None:  # one for all that failed together
            self._probing = asyncio.create_task(asyncio.wait_for(self._probe(), _HEALTH_S))
            self._probing.add_done_callback(self._probed)
        try:
            await asyncio.shield(self._probing)
        except FaultedError as probe:
            raise EngineUnavailable(f"TensorRT-LLM answers nothing any more ({probe})") from None
        except TimeoutError:
            pass  # slow is not gone: that is for the question about health to find
        return ItemFailure(FailureCode.ENGINE_ERROR, str(fault))

    def _probed(self, task: asyncio.Task[Scored | ItemFailure]) -> None:
        self._probing = None
        if not task.cancelled():
            task.exception()  # seen, even if nobody waits any more

    async def _probe(self) -> Scored | ItemFailure:
        return await self._in_flight().ask_now(
            self._model.probe.token_ids, self._one_token, self._reader.scores
        )

    async def _ask_health(self) -> Health:
        if self._llm is None or not self._llm.is_open():
            return Health(ok=False, detail="TensorRT-LLM is shut down")
        try:
            answer = await asyncio.wait_for(self._probe(), _HEALTH_S)
        except TimeoutError:
            return Health(ok=False, detail=f"no answer within {_HEALTH_S} s", silent=True)
        except FaultedError as fault:
            return Health(ok=False, detail=f"TensorRT-LLM raises {fault}")
        except EngineUnavailable as error:  # closed while it was asked
            return Health(ok=False, detail=str(error))
        if isinstance(answer, ItemFailure):
            return Health(ok=False, detail=f"{answer.code.value}: {answer.detail}")
        return Health(ok=True)

    def _in_flight(self) -> InFlight:
        if self._flight is None:
            raise EngineUnavailable("the TensorRT-LLM engine is not started, or was closed")
        return self._flight

    def _too_long(self, prompt: Prompt) -> ItemFailure | None:
        length, limit = len(prompt.token_ids), self.info.max_prompt_tokens
        if length <= limit:
            return None
        return ItemFailure(FailureCode.TOO_LONG, f"{length} prompt tokens; the limit is {limit}")


_END = "<|im_end|>"


def make_engine(model: ServedModel, serving: Serving, bundle: Bundle, prompter: Prompter) -> TensorRTEngine:
    """The engine of a bundle, not started yet.

    Raises:
        EngineSetupError: The bundle does not say which token ends an answer.
    """
    end_id = bundle.manifest.tokenizer.control_tokens.get(_END)
    if end_id is None:
        raise EngineSetupError(
            f"manifest.json: tokenizer.control_tokens has no {_END}, which ends an answer; make the bundle again"
        )
    built = (prompter.build(Post(id="warm", text="Hello", kind=kind)) for kind in _KINDS)
    warm = {
        prompt.token_ids[: prompt.shared_tokens]: prompt for prompt in built if isinstance(prompt, Prompt)
    }
    return TensorRTEngine(model, serving, bundle.path, bundle.tokenizer, warm=[*warm.values()], end_id=end_id)
