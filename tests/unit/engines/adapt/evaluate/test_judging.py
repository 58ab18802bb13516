"""Judging: every row gets scores or a failure of its own, whatever the engine does meanwhile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.engines.adapt.errors import EvaluationError
from sluicegate.engines.adapt.evaluate import judging
from sluicegate.engines.adapt.evaluate.journal import JOURNAL, Journal
from sluicegate.engines.adapt.evaluate.judging import Judging, JudgingTerms
from sluicegate.engines.backends import Backend
from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults, fake_prompter
from sluicegate.engines.bundle.calibration import Calibration, Temperature
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import ItemFailure, Prompt, Scored
from sluicegate.schemas import CATEGORIES, FailureCode, Post
from support.labelled import rows_of, sentence

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sluicegate.engines.adapt.data.rows import Row
    from sluicegate.engines.adapt.evaluate.scored import ScoredRow

POISON = "marzipan"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_PAUSE_S", 0.0)


class Killed(Exception):  # noqa: N818 - stands for a signal
    pass


class Counting(FakeEngine):
    """Counts prompts; goes away under some; stops for good after a number of calls."""

    def __init__(self, profile: FakeProfile, faults: Faults | None = None) -> None:
        super().__init__(profile, faults=faults)
        self.scored = 0
        self.explained = 0
        self.calls_left = 10**9
        self.kills = False

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        if self.calls_left <= 0:
            raise Killed
        self.calls_left -= 1
        if self.kills and any(POISON in self._text(prompt) for prompt in prompts):
            raise EngineUnavailable("killed")
        self.scored += len(prompts)
        return await super().score(prompts, timeout_s=timeout_s)

    async def explain(self, prompts: Sequence[Prompt], *args: Any, **kwargs: Any) -> Any:
        self.explained += len(prompts)
        return await super().explain(prompts, *args, **kwargs)

    def _text(self, prompt: Prompt) -> str:
        return self._tokenizer.decode(list(prompt.token_ids))


def engine_of(faults: Faults | None = None, **profile: Any) -> tuple[Counting, Backend]:
    made = FakeProfile(**{"saturating_prompts": 4, **profile})
    engine = Counting(made, faults)
    return engine, Backend(engine, fake_prompter(made), CATEGORIES)


def labelled_rows(count: int = 30) -> list[Row]:
    rows = [
        {"text": sentence(at), "severity": ("safe", "unsafe")[at % 2], "language": "en", "region": "GB"}
        for at in range(count)
    ]
    return rows_of(rows)


async def judged(folder: Path, backend: Backend, rows: list[Row], **terms: Any) -> list[ScoredRow]:
    folder.mkdir(exist_ok=True)  # noqa: ASYNC240 - nothing else waits in a test
    with Journal(folder / JOURNAL, backend.engine.info) as journal:
        return await Judging(backend, journal, JudgingTerms(**terms)).judge(rows)


async def test_every_row_is_scored_in_order(tmp_path: Path) -> None:
    rows = labelled_rows()
    found = await judged(tmp_path, engine_of()[1], rows)
    assert [one.id for one in found] == [one.id for one in rows]
    assert all(one.probabilities is not None for one in found)
    assert [one.severity for one in found] == [one.severity for one in rows]


async def test_an_evaluation_that_was_killed_asks_for_the_rest_and_ends_the_same(tmp_path: Path) -> None:
    rows = labelled_rows()
    whole = await judged(tmp_path / "whole", engine_of()[1], rows, explain="all")
    engine, backend = engine_of()
    engine.calls_left = 3
    with pytest.raises(ExceptionGroup):
        await judged(tmp_path / "cut", backend, rows, explain="all")
    asked = engine.scored
    assert 0 < asked < len(rows)
    with (tmp_path / "cut" / JOURNAL).open("ab") as stream:  # as a killed write leaves it
        stream.write(b'["0123", [0.5, 0.')
    again, backend = engine_of()
    assert await judged(tmp_path / "cut", backend, rows, explain="all") == whole
    assert again.scored == len(rows) - asked
    once_more, backend = engine_of()
    assert await judged(tmp_path / "cut", backend, rows, explain="all") == whole
    assert (once_more.scored, once_more.explained) == (0, 0)


async def test_nothing_of_another_engine_or_of_other_prompts_is_reused(tmp_path: Path) -> None:
    rows = labelled_rows(4)
    await judged(tmp_path, engine_of()[1], rows)
    other, backend = engine_of(rules={"nowhere": "unsafe"})
    await judged(tmp_path, backend, rows)
    assert other.scored == 4
    hinted, backend = engine_of()
    await judged(tmp_path, backend, rows, hints=True)
    assert hinted.scored == 4
    changed, backend = engine_of()
    await judged(tmp_path, backend, [rows[0].model_copy(update={"text": "Changed."}), *rows[1:]])
    assert changed.scored == 1


async def test_lines_of_a_strange_journal_are_not_taken_for_answers(tmp_path: Path) -> None:
    engine, backend = engine_of()
    rows = labelled_rows(3)
    with Journal(tmp_path / JOURNAL, engine.info) as journal:
        posts = [Post(id="row", text=row.text, kind=row.kind) for row in rows]
        prompts = [one for one in backend.prompter.build_many(posts) if isinstance(one, Prompt)]
        keys = [journal.key(prompt) for prompt in prompts]
    lines = [
        f'["{keys[0]}", [0.5, 0.6, 0.7]]',
        f'["{keys[1]}", "safe"]',
        f'["{keys[2]}", null]',
        "[]",
        "7",
        '{"a": 1}',
    ]
    (tmp_path / JOURNAL).write_text("\n".join(lines))
    assert [one.failure for one in await judged(tmp_path, backend, rows)] == [None] * 3
    assert engine.scored == 3


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("error", "engine_error"),
        ("garble", "unparsable"),
        ("empty", "empty_completion"),
        ("hang", "timed_out"),
    ],
)
async def test_a_row_that_fails_answers_for_itself_and_is_asked_again_next_time(
    tmp_path: Path, fault: str, code: str
) -> None:
    rows = [*labelled_rows(6), *rows_of([{"id": "bad", "text": POISON, "severity": "unsafe"}])]
    engine, backend = engine_of(Faults(**{fault: Fault(marker=POISON)}))
    found = await judged(tmp_path, backend, rows, score_timeout_s=0.05)
    assert {one.id: one.failure for one in found if one.id == "bad"} == {"bad": code}
    assert sum(one.failure is None for one in found) >= (
        3 if fault == "hang" else 6
    )  # a hang takes its call along
    engine.faults = Faults()
    assert all(one.failure is None for one in await judged(tmp_path, backend, rows))


async def test_a_row_that_ends_the_engine_is_found_and_its_neighbours_are_judged(tmp_path: Path) -> None:
    rows = labelled_rows(10)
    rows[5] = rows[5].model_copy(update={"text": POISON})
    engine, backend = engine_of()
    engine.kills = True
    found = await judged(tmp_path, backend, rows)
    assert [one.id for one in found if one.failure == "engine_crash"] == [rows[5].id]
    assert sum(one.probabilities is not None for one in found) == 9


async def test_an_engine_that_stays_away_ends_it_with_a_sentence_and_what_was_judged_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "_PATIENCE_S", 0.0)
    _, backend = engine_of(Faults(die=Fault()))
    with pytest.raises(EvaluationError, match="run the same command again"):
        await judged(tmp_path, backend, labelled_rows(4))


async def test_an_engine_that_miscounts_is_refused(tmp_path: Path) -> None:
    _, backend = engine_of(Faults(miscount=Fault()))
    with pytest.raises(EvaluationError, match="answered 3 of 4 prompts"):
        await judged(tmp_path, backend, labelled_rows(4))


async def test_a_long_text_is_judged_in_parts_and_the_riskiest_decides(tmp_path: Path) -> None:
    filler = " ".join(sentence(at) for at in range(30))
    rows = rows_of([{"text": f"{filler} {POISON} {filler}", "severity": "unsafe"}])
    _, backend = engine_of(rules={POISON: "unsafe", "e": "safe"}, max_prompt_tokens=700)
    (found,) = await judged(tmp_path, backend, rows)
    assert found.found == "unsafe"
    (beyond,) = await judged(tmp_path, backend, rows, most_segments=2)
    assert beyond.failure == "too_long"
    failing, backend = engine_of(
        Faults(error=Fault(marker=POISON)), rules={"e": "safe"}, max_prompt_tokens=700
    )
    (unread,) = await judged(tmp_path, backend, rows)
    assert unread.failure == "engine_error"
    assert failing.scored > 1


async def test_an_answer_beside_the_labels_is_a_failure(tmp_path: Path) -> None:
    class Doubtful(Counting):
        async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
            answers = await super().score(prompts, timeout_s=timeout_s)
            return [replace(one, label_mass=0.0) if isinstance(one, Scored) else one for one in answers]

    profile = FakeProfile(saturating_prompts=4)
    backend = Backend(Doubtful(profile), fake_prompter(profile), CATEGORIES)
    found = await judged(tmp_path, backend, labelled_rows(2), least_label_mass=0.5)
    assert {one.failure for one in found} == {FailureCode.LABELS_MISSING.value}


async def test_a_text_that_breaks_the_tokeniser_answers_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, backend = engine_of()
    real = backend.prompter.tokenizer.encode_texts

    def broken(texts: Sequence[str]) -> list[list[int]]:
        if any(POISON in text for text in texts):
            raise ValueError(POISON)
        return real(texts)

    monkeypatch.setattr(backend.prompter.tokenizer, "encode_texts", broken, raising=False)
    rows = [*labelled_rows(3), *rows_of([{"id": "bad", "text": POISON, "severity": "safe"}])]
    found = await judged(tmp_path, backend, rows)
    assert [one.failure for one in found] == [None, None, None, "internal"]


@pytest.mark.parametrize(("explain", "most", "asked"), [("none", None, 0), ("all", None, 30), ("all", 7, 7)])
async def test_as_many_are_explained_as_asked_for(
    tmp_path: Path, explain: str, most: int | None, asked: int
) -> None:
    found = await judged(tmp_path, engine_of()[1], labelled_rows(), explain=explain, explain_rows=most)
    assert sum(one.well_formed is True for one in found) == asked


async def test_only_what_is_found_harmful_is_explained_after_the_severity_that_was_found(
    tmp_path: Path,
) -> None:
    rows = labelled_rows(20)
    _, backend = engine_of(rules={"baker": "unsafe", "neighbour": "controversial", "e": "safe"})
    found = await judged(tmp_path, backend, rows, explain="harmful")
    assert {one.found for one in found if one.well_formed} == {"unsafe", "controversial"}
    assert all((one.well_formed is True) == (one.found != "safe") for one in found)
    assert all(one.found_categories for one in found if one.well_formed)


async def test_a_malformed_explanation_is_told_from_one_that_did_not_come(tmp_path: Path) -> None:
    said: dict[tuple[int, ...], FailureCode] = {}  # by prompt: one that times out does so each time

    class Mumbling(Counting):
        async def explain(self, prompts: Sequence[Prompt], *args: Any, **kwargs: Any) -> Any:
            del args, kwargs
            codes = (FailureCode.UNPARSABLE, FailureCode.EMPTY_COMPLETION, FailureCode.TIMED_OUT)
            for prompt, code in zip(prompts, codes, strict=False):
                said.setdefault(prompt.token_ids, code)
            return [ItemFailure(said[prompt.token_ids]) for prompt in prompts]

    profile = FakeProfile(saturating_prompts=3)
    backend = Backend(Mumbling(profile), fake_prompter(profile), CATEGORIES)
    found = await judged(tmp_path, backend, labelled_rows(3), explain="all")
    assert [one.well_formed for one in found] == [False, False, None]
    assert [one.explanation_failure for one in found] == ["unparsable", "empty_completion", "timed_out"]
    assert all(one.probabilities is not None for one in found)


async def test_the_calibration_is_applied_where_it_is_asked_for(tmp_path: Path) -> None:
    calibration = Calibration(data=f"sha256:{'0' * 64}", fallback=Temperature(temperature=2.0))
    _, backend = engine_of()
    backend = replace(backend, calibration=calibration)
    rows = labelled_rows(5)
    raw = await judged(tmp_path, backend, rows)
    milder = await judged(tmp_path, backend, rows, calibrated=True)
    for one, other in zip(raw, milder, strict=True):
        assert max(other.probabilities or ()) < max(one.probabilities or ())


class Slow(FakeEngine):
    """Times out unless a prompt has the time it takes, and company only where that is short."""

    def __init__(self, profile: FakeProfile, *, takes_s: float) -> None:
        super().__init__(profile)
        self.calls: list[tuple[int, float]] = []
        self._takes_s = takes_s

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        self.calls.append((len(prompts), timeout_s))
        if timeout_s < self._takes_s * len(prompts):
            return [ItemFailure(FailureCode.TIMED_OUT, "slow") for _ in prompts]
        return await super().score(prompts, timeout_s=timeout_s)


def slow(takes_s: float) -> tuple[Slow, Backend]:
    made = FakeProfile(saturating_prompts=4)
    engine = Slow(made, takes_s=takes_s)
    return engine, Backend(engine, fake_prompter(made), CATEGORIES)


async def test_what_times_out_is_asked_again_alone_with_more_time_until_it_is_answered(
    tmp_path: Path,
) -> None:
    rows = labelled_rows(8)
    engine, backend = slow(takes_s=100)
    found = await judged(tmp_path, backend, rows, score_timeout_s=30)
    assert all(one.probabilities is not None for one in found)
    assert engine.calls == [(4, 30)] * 2 + [(1, 60)] * 8 + [(1, 120)] * 8


async def test_a_prompt_that_never_answers_fails_in_the_end_and_is_asked_again_by_the_next_run(
    tmp_path: Path,
) -> None:
    rows = labelled_rows(1)
    engine, backend = slow(takes_s=10_000)
    (found,) = await judged(tmp_path, backend, rows, score_timeout_s=30)
    assert found.failure == FailureCode.TIMED_OUT
    assert [seconds for _, seconds in engine.calls] == [30 * 2**turn for turn in range(6)]
    engine, backend = slow(takes_s=1)
    (found,) = await judged(tmp_path, backend, rows, score_timeout_s=30)
    assert found.failure is None
    assert engine.calls == [(1, 30)]


async def test_a_long_prompt_has_more_time(tmp_path: Path) -> None:
    engine, backend = slow(takes_s=1)
    rows = rows_of([{"text": "x" * 2500, "severity": "safe", "language": "en"}])
    await judged(tmp_path, backend, rows, score_timeout_s=30)
    ((_, seconds),) = engine.calls
    assert 60 < seconds < 90  # a token is a byte here, and the layout has some
