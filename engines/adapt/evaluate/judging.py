"""Judging: labelled rows through an engine, as a worker would have them judged, to scored rows."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.errors import EvaluationError
from sluicegate.engines.adapt.evaluate.journal import Journal
from sluicegate.engines.adapt.evaluate.labelled_rows import draw
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES, ScoredRow, labelled
from sluicegate.engines.backends import Backend
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import Engine, Explanation, ItemFailure, Prompt, Scored, believed
from sluicegate.engines.text.segmenter import LengthLimits, Segmenter
from sluicegate.schemas import FailureCode, Post, Scores, Severity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence


T = TypeVar("T")
Q = TypeVar("Q")

_CALLS = 2  # one is computed while the next is on its way
_TRIES = 3  # of a call that the engine goes away under, before its items are asked one by one
_PAUSE_S = 0.5
_PATIENCE_S = 120.0  # a large model's server needs that long to start again
_CRASHED = ItemFailure(FailureCode.ENGINE_CRASH, "the engine went away each time")


class Asking:
    """Asks an engine in micro-batches.

    Args:
        engine: Entered.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def all(
        self,
        items: Sequence[Q],
        ask: Callable[[Sequence[Q]], Awaitable[list[T | ItemFailure]]],
        answered: Callable[[Q, T | ItemFailure], None],
        *,
        alone: bool = False,
    ) -> None:
        """Ask for every item; ``answered`` is called once for each, in any order.

        An item under which the engine goes away again and again is asked alone, after all others,
        and answers ``engine_crash`` if it still does.

        Raises:
            EvaluationError: The engine stays away, or answers with another number of items.
        """
        size = 1 if alone else self._engine.info.saturating_prompts
        batches = [items[at : at + size] for at in range(0, len(items), size)]
        batches.reverse()
        suspects: list[Q] = []

        async def work() -> None:
            """Take batches until none is left; those that nobody answered are suspects."""
            while batches:
                batch = batches.pop()
                answers = await self._tried(batch, ask)
                if answers is None:
                    suspects.extend(batch)
                    continue
                for item, answer in zip(batch, answers, strict=True):
                    answered(item, answer)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(_CALLS):
                    group.create_task(work())
        except* EvaluationError as faults:
            raise faults.exceptions[0] from None
        for item in suspects:
            answers = await self._tried([item], ask)
            answered(item, _CRASHED if answers is None else answers[0])

    async def _tried(
        self, batch: Sequence[Q], ask: Callable[[Sequence[Q]], Awaitable[list[T | ItemFailure]]]
    ) -> list[T | ItemFailure] | None:
        """The answers; None if the engine went away under every try."""
        tries = 0
        while tries < _TRIES:
            try:
                answers = await ask(batch)
            except EngineUnavailable as error:
                tries += not error.refused
                await self._wait(str(error))
                continue
            if len(answers) != len(batch):
                raise EvaluationError(
                    f"the engine answered {len(answers)} of {len(batch)} prompts in one call; it breaks the protocol"
                )
            return answers
        return None

    async def _wait(self, why: str) -> None:
        """Until the engine is well.

        Raises:
            EvaluationError: It stays away.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE_S
        while loop.time() < deadline:
            await asyncio.sleep(_PAUSE_S)
            if (await self._engine.health()).ok:
                return
        raise EvaluationError(
            f"the engine is away ({why[:200]}); what was judged is kept: run the same command again to go on"
        )


_CHUNK_ROWS = 256  # tokenised at once
_PATIENT_TRIES = 6  # of a prompt that times out; alone from the second on, each with twice the time
_PACE_TOKENS = 1024  # of a micro-batch in one time-out of the terms; a longer one has more time
_MALFORMED = (FailureCode.UNPARSABLE, FailureCode.EMPTY_COMPLETION)


@dataclass(frozen=True, slots=True)
class JudgingTerms:
    """How rows are judged: what a worker's settings say, and what is asked for."""

    score_timeout_s: float = 60.0
    """Of a micro-batch of 1,024 tokens; a longer one has more in proportion, and one that times out is asked again."""
    explain_timeout_s: float = 120.0
    """Likewise for explanations."""
    most_tokens: int = 32_768
    """Of a text; as the worker's ``limits.post_tokens``."""
    most_segments: int = 64
    """Likewise ``limits.segments``."""
    least_label_mass: float = 0.0
    """An engine's answer with less of the probability on the labels is a failure."""
    hints: bool = False
    """True to show language and region to the model, as a producer may."""
    calibrated: bool = False
    """True for the scores that a policy sees: the bundle's calibration is applied, by kind and, with hints, language."""
    explain: str = "none"
    """``none``, ``harmful`` (what is found controversial or unsafe) or ``all``."""
    explain_rows: int | None = None
    """At most this many explanations, a stratified sample; None for no limit."""
    seed: int = 0


def _time_for(prompts: Sequence[Prompt], timeout_s: float) -> float:
    """Seconds for these prompts at once."""
    return timeout_s * max(1.0, sum(len(one.token_ids) for one in prompts) / _PACE_TOKENS)


class Judging:
    """Judges rows; what the journal knows is not asked again.

    Args:
        backend: Its engine is entered.
        journal: Of the same engine.
        terms: How.
        advance: Called with a stage, rows done and rows in all.
    """

    def __init__(
        self,
        backend: Backend,
        journal: Journal,
        terms: JudgingTerms,
        advance: Callable[[str, int, int], None] = lambda *_: None,
    ) -> None:
        self._engine = backend.engine
        self._calibration = backend.calibration if terms.calibrated else None
        self._segmenter = Segmenter(backend.prompter)
        self._asking = Asking(backend.engine)
        self._journal = journal
        self._terms = terms
        self._advance = advance

    async def judge(self, rows: Sequence[Row]) -> list[ScoredRow]:
        """A scored row for each row, in order. No row is left out, and none ends the evaluation.

        Raises:
            EvaluationError: The engine stays away.
        """
        prompts = dict(self._prompts(rows))
        findings = await self._score(
            [one for parts in prompts.values() if not isinstance(parts, ItemFailure) for one in parts]
        )
        deciding: dict[str, tuple[Prompt, Scores]] = {}
        failed: dict[str, FailureCode] = {}
        for row in rows:
            parts = prompts[row.id]
            outcome = parts if isinstance(parts, ItemFailure) else self._riskiest(row, parts, findings)
            if isinstance(outcome, ItemFailure):
                failed[row.id] = outcome.code
            else:
                deciding[row.id] = outcome
        explained = await self._explain(self._to_explain(rows, deciding), deciding)
        return [self._scored(row, deciding, failed, explained) for row in rows]

    def _prompts(self, rows: Sequence[Row]) -> Iterator[tuple[str, list[Prompt] | ItemFailure]]:
        for at in range(0, len(rows), _CHUNK_ROWS):
            chunk = rows[at : at + _CHUNK_ROWS]
            for row, built in zip(chunk, self._built([self._post(row) for row in chunk]), strict=True):
                yield row.id, built
            self._advance("reading", min(len(rows), at + _CHUNK_ROWS), len(rows))

    def _built(self, posts: Sequence[Post]) -> list[list[Prompt] | ItemFailure]:
        try:
            limits = LengthLimits(self._terms.most_tokens, self._terms.most_segments)
            many = self._segmenter.build_many(posts, [limits] * len(posts))
        except Exception as error:  # noqa: BLE001 - a text that breaks the tokeniser answers for itself
            if len(posts) == 1:
                return [ItemFailure(FailureCode.INTERNAL, type(error).__name__)]
            return [self._built([post])[0] for post in posts]
        return [one if isinstance(one, ItemFailure) else [part.prompt for part in one.parts] for one in many]

    def _post(self, row: Row) -> Post:
        post = Post(id="row", text=row.text, kind=row.kind, context=row.context)
        if not self._terms.hints:
            return post
        return post.model_copy(update={"language": row.language, "region": row.region})

    async def _score(self, prompts: Sequence[Prompt]) -> dict[str, Scores | ItemFailure]:
        """Scores by the prompt's key."""
        wanted = {self._journal.key(prompt): prompt for prompt in prompts}
        found: dict[str, Scores | ItemFailure] = {}
        for key, prompt in wanted.items():
            if (known := self._journal.scores(prompt)) is not None:
                found[key] = known

        def keep(key: str, answer: Scored | ItemFailure) -> None:
            finding = believed(answer, self._terms.least_label_mass)
            if isinstance(finding, Scored):
                found[key] = finding.scores
                self._journal.keep_scores(wanted[key], finding.scores)
            else:
                found[key] = finding
            self._advance("scoring", len(found), len(wanted))

        def ask(patience: int) -> Callable[[Sequence[str]], Awaitable[list[Scored | ItemFailure]]]:
            async def score(keys: Sequence[str]) -> list[Scored | ItemFailure]:
                prompts = [wanted[key] for key in keys]
                timeout_s = patience * _time_for(prompts, self._terms.score_timeout_s)
                return await self._engine.score(prompts, timeout_s=timeout_s)

            return score

        self._advance("scoring", len(found), len(wanted))
        await self._patiently([key for key in wanted if key not in found], ask, keep)
        return found

    async def _patiently(
        self,
        keys: Sequence[str],
        ask: Callable[[int], Callable[[Sequence[str]], Awaitable[list[T | ItemFailure]]]],
        keep: Callable[[str, T | ItemFailure], None],
    ) -> None:
        """Ask for every key; what times out is asked again, alone and with twice the time, until it is answered.

        The last of :data:`_PATIENT_TRIES` keeps the failure: an engine that hangs must not hold an evaluation for good.
        """
        late: list[str] = []

        def sorted_out(key: str, answer: T | ItemFailure) -> None:
            if isinstance(answer, ItemFailure) and answer.code is FailureCode.TIMED_OUT:
                late.append(key)
            else:
                keep(key, answer)

        for turn in range(_PATIENT_TRIES - 1):
            if not keys:
                return
            await self._asking.all(keys, ask(2**turn), sorted_out, alone=turn > 0)
            keys, late = late, []
        await self._asking.all(keys, ask(2 ** (_PATIENT_TRIES - 1)), keep, alone=True)

    def _riskiest(
        self, row: Row, parts: Sequence[Prompt], findings: dict[str, Scores | ItemFailure]
    ) -> tuple[Prompt, Scores] | ItemFailure:
        """The part that decides: the severest, or a part that failed, because it went unread."""
        judged: list[tuple[Prompt, Scores]] = []
        for part in parts:
            finding = findings[self._journal.key(part)]
            if isinstance(finding, ItemFailure):
                return finding
            judged.append((part, self._seen_by_policy(row, finding)))
        return max(
            judged,
            key=lambda one: (SEVERITIES.index(one[1].severity), one[1].unsafe, one[1].controversial),
        )

    def _seen_by_policy(self, row: Row, scores: Scores) -> Scores:
        if self._calibration is None:
            return scores
        return self._calibration.calibrated(scores, row.kind, row.language if self._terms.hints else None)

    def _to_explain(self, rows: Sequence[Row], deciding: dict[str, tuple[Prompt, Scores]]) -> list[str]:
        if self._terms.explain == "none":
            return []
        chosen = [
            row
            for row in rows
            if row.id in deciding and (self._terms.explain == "all" or deciding[row.id][1].severity != "safe")
        ]
        most = len(chosen) if self._terms.explain_rows is None else self._terms.explain_rows
        return [row.id for row in draw(chosen, most, seed=self._terms.seed)]

    async def _explain(
        self, row_ids: Sequence[str], deciding: dict[str, tuple[Prompt, Scores]]
    ) -> dict[str, Explanation | ItemFailure]:
        """Explanations by row."""
        asked: dict[str, tuple[Prompt, Severity]] = {}
        keys: dict[str, str] = {}
        for row_id in row_ids:
            prompt, scores = deciding[row_id]
            keys[row_id] = self._journal.key(prompt, scores.severity)
            asked[keys[row_id]] = prompt, scores.severity
        found: dict[str, Explanation | ItemFailure] = {}
        for key, (prompt, severity) in asked.items():
            if (known := self._journal.explanation(prompt, severity)) is not None:
                found[key] = known

        def keep(key: str, answer: Explanation | ItemFailure) -> None:
            found[key] = answer
            if isinstance(answer, Explanation):
                self._journal.keep_explanation(*asked[key], answer)
            self._advance("explaining", len(found), len(asked))

        def ask(patience: int) -> Callable[[Sequence[str]], Awaitable[list[Explanation | ItemFailure]]]:
            async def explain(batch: Sequence[str]) -> list[Explanation | ItemFailure]:
                pairs = [asked[key] for key in batch]
                prompts = [prompt for prompt, _ in pairs]
                timeout_s = patience * _time_for(prompts, self._terms.explain_timeout_s)
                return await self._engine.explain(
                    prompts, [severity for _, severity in pairs], timeout_s=timeout_s
                )

            return explain

        if asked:
            self._advance("explaining", len(found), len(asked))
        await self._patiently([key for key in asked if key not in found], ask, keep)
        return {row_id: found[key] for row_id, key in keys.items()}

    def _scored(
        self,
        row: Row,
        deciding: dict[str, tuple[Prompt, Scores]],
        failed: dict[str, FailureCode],
        explained: dict[str, Explanation | ItemFailure],
    ) -> ScoredRow:
        if row.id in failed:
            return ScoredRow(**labelled(row), failure=failed[row.id].value)
        scores = deciding[row.id][1]
        found: dict[str, Any] = {"probabilities": (scores.safe, scores.controversial, scores.unsafe)}
        explanation = explained.get(row.id)
        if isinstance(explanation, ItemFailure):
            found["explanation_failure"] = explanation.code.value
            found["well_formed"] = False if explanation.code in _MALFORMED else None
        elif explanation is not None:
            found |= {
                "well_formed": True,
                "found_categories": explanation.categories,
                "found_refusal": explanation.refusal,
                "found_reason": explanation.reason,
            }
        return ScoredRow(**labelled(row), **found)
