"""Candidates at the desk: which posts people judge blindly since a candidate judged them, too, and who was right.

What incumbent and candidate said is in no page of a case, before it is decided or after: it stands on the page of candidates alone.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from sqlalchemy import delete, exists, insert, select, update

from sluicegate.pipeline.review.store import OPEN_STATES
from sluicegate.pipeline.review.tables import cases, comparisons, decisions, experiments, posts, verdicts
from sluicegate.pipeline.review.vault import post_key
from sluicegate.pipeline.settings.tree import CandidateSettings
from sluicegate.pipeline.shadow.records import ComparedPost, SummaryRecord
from sluicegate.pipeline.shadow.reviews import RightJudge, right_of
from sluicegate.pipeline.shadow.sample import ShadowSample
from sluicegate.pipeline.shadow.summary import ReviewCounts
from sluicegate.schemas import Action, Basis, ResolutionCause

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

HOLD_S = 7_200.0
"""For how long a text of the sample is kept that nobody asked about: the comparator waits a quarter of an hour for both verdicts,
and may be away for a while."""
_BLIND = (ResolutionCause.CANDIDATE.value, ResolutionCause.CANDIDATE_AUDIT.value)
_SHOWN = 20


class TriedPosts:
    """What the projector asks about candidates. It keeps nothing but in the store.

    Args:
        settings: The experiment, whose sample is told by its name and share.
    """

    def __init__(self, settings: CandidateSettings) -> None:
        self._sample = (
            None if settings.experiment is None else ShadowSample(settings.experiment, settings.share)
        )

    def holds(self, tenant: str, post_id: str) -> bool:
        """Whether people may be asked about a post later, though its verdict asks nobody: its text is kept for a while."""
        return self._sample is not None and self._sample.holds(tenant, post_id)

    def cause(self, connection: Connection, key: str, verdict_id: str) -> str | None:
        """Why people are asked about a verdict that asks nobody; None if they are not. Its comparison came before it."""
        row = None if self._sample is None else _of_content(connection, key)
        return _cause(row) if row is not None and row.verdict_id == verdict_id else None

    @staticmethod
    def probability(connection: Connection, key: str) -> float:
        """How likely people were to be asked about a post; 1 where no comparison is known."""
        row = _of_content(connection, key)
        return 1.0 if row is None else float(row.probability)

    @staticmethod
    def keep(connection: Connection, post: ComparedPost) -> str | None:
        """Keep a comparison. The id of the verdict that people are asked about for it, where nobody is asked yet.

        A case that is open and in nobody's hands becomes blind. Who has it has seen the verdict, and does not count.
        """
        key = post_key(*post.content)
        known = connection.execute(
            select(comparisons.c.post_key).where(
                comparisons.c.experiment == post.experiment, comparisons.c.post_key == key
            )
        ).first()
        if known is None:
            connection.execute(
                insert(comparisons).values(
                    experiment=post.experiment,
                    post_key=key,
                    tenant=post.tenant,
                    incumbent=post.incumbent.value,
                    candidate=post.candidate.value,
                    verdict_id=post.verdict_id,
                    probability=post.probability,
                    came_at=time.time(),
                )
            )
        row = connection.execute(select(verdicts).where(verdicts.c.verdict_id == post.verdict_id)).first()
        if row is None or not row.counts or row.post_key != key:
            return None  # not read yet, or something else counts for the post
        if row.case_id is not None:
            connection.execute(
                update(cases)
                .where(cases.c.case_id == row.case_id, cases.c.state == "open", cases.c.holder.is_(None))
                .values(blind=True)
            )
            return None
        if row.cause:
            return None
        connection.execute(
            update(verdicts)
            .where(verdicts.c.verdict_id == post.verdict_id)
            .values(cause=_cause(_of_content(connection, key)))
        )
        # A text that comes later opens the case.
        has_text = connection.execute(select(posts.c.post_key).where(posts.c.post_key == key)).first()
        return None if has_text is None else post.verdict_id

    @staticmethod
    def keep_summary(connection: Connection, record: SummaryRecord) -> None:
        """Keep what is known of an experiment; the newest is shown."""
        values = {"document": orjson.dumps(record.document).decode(), "came_at": time.time()}
        mine = experiments.c.experiment == record.experiment
        if not connection.execute(update(experiments).where(mine).values(values)).rowcount:
            connection.execute(insert(experiments).values(experiment=record.experiment, **values))

    def sweep(self, connection: Connection, now: float, most: int = 1_000) -> None:
        """Drop what was kept in vain: texts and verdicts of the sample that nobody asked about in time.

        Args:
            connection: A transaction.
            now: Unix seconds.
            most: Verdicts that go now; the next sweep takes the others.
        """
        sample = self._sample
        if sample is None:
            return
        rows = connection.execute(
            select(verdicts.c.verdict_id, verdicts.c.post_key, verdicts.c.tenant, verdicts.c.post_id).where(
                verdicts.c.case_id.is_(None),
                verdicts.c.counts,
                verdicts.c.cause == "",
                verdicts.c.came_at < now - HOLD_S,
            )
        ).all()
        held = (row for row in rows if sample.holds(row.tenant, row.post_id))
        for row in islice(held, most):
            connection.execute(delete(verdicts).where(verdicts.c.verdict_id == row.verdict_id))
            others = exists().where(verdicts.c.post_key == posts.c.post_key)
            connection.execute(delete(posts).where(posts.c.post_key == row.post_key, ~others))


def is_blind(cause: str) -> bool:
    """Whether a case of this cause is always judged blindly: of two judges, neither may be seen."""
    return cause in _BLIND


def _of_content(connection: Connection, key: str) -> Row[Any] | None:
    """The comparison of a content. Of several experiments the surest to ask counts."""
    return connection.execute(
        select(comparisons)
        .where(comparisons.c.post_key == key)
        .order_by(comparisons.c.probability.desc(), comparisons.c.experiment)
        .limit(1)
    ).first()


def _cause(row: Row[Any] | None) -> str:
    agrees = row is not None and row.incumbent == row.candidate
    return (ResolutionCause.CANDIDATE_AUDIT if agrees else ResolutionCause.CANDIDATE).value


class TriedDecision(NamedTuple):
    """What a person decided about a post that both judged."""

    case_id: str
    incumbent: Action
    candidate: Action
    person: Action

    @property
    def right(self) -> RightJudge:
        """Who was right."""
        return right_of(self.incumbent, self.candidate, self.person)


@dataclass(frozen=True, slots=True)
class ExperimentFigures:
    """What the desk knows of an experiment."""

    experiment: str
    document: dict[str, Any] | None
    """The comparator's summary; None until one has come."""
    asked: int
    """Posts that people were asked about."""
    waiting: int
    """Of these: posts in cases that nobody has decided."""
    counts: ReviewCounts
    newest: tuple[TriedDecision, ...] = field(default=())
    """Decisions on posts on which the two differ, the newest first."""


def experiment_figures(connection: Connection, tenants: tuple[str, ...] = ()) -> list[ExperimentFigures]:
    """What is known of every experiment, the newest first.

    Args:
        connection: Reads.
        tenants: Count posts of these alone; none are all.
    """
    documents = {
        row.experiment: orjson.loads(row.document)
        for row in connection.execute(select(experiments).order_by(experiments.c.came_at.desc()))
    }
    mine = [comparisons.c.tenant.in_(tenants)] if tenants else []
    asked: Counter[str] = Counter(
        connection.execute(select(comparisons.c.experiment).where(*mine)).scalars().all()
    )
    of_case = comparisons.join(verdicts, verdicts.c.post_key == comparisons.c.post_key).join(
        cases, cases.c.case_id == verdicts.c.case_id
    )
    waiting = Counter(
        row.experiment
        for row in connection.execute(
            select(comparisons.c.experiment, comparisons.c.post_key)
            .select_from(of_case)
            .where(cases.c.state.in_(OPEN_STATES), verdicts.c.counts, *mine)
            .distinct()
        )
    )
    decided: dict[str, list[TriedDecision]] = {}
    for row in connection.execute(
        select(
            comparisons.c.experiment,
            comparisons.c.post_key,
            comparisons.c.incumbent,
            comparisons.c.candidate,
            decisions.c.case_id,
            decisions.c.action,
            decisions.c.decided_at,
        )
        .select_from(of_case.join(decisions, decisions.c.case_id == cases.c.case_id))
        .where(
            decisions.c.settles,
            decisions.c.blind,
            decisions.c.round == cases.c.round,
            cases.c.state == "decided",
            decisions.c.basis.not_in((Basis.BULK.value, Basis.GOLDEN.value)),
            *mine,
        )
        .distinct()
        .order_by(decisions.c.decided_at.desc())
    ):
        one = TriedDecision(row.case_id, Action(row.incumbent), Action(row.candidate), Action(row.action))
        decided.setdefault(row.experiment, []).append(one)
    return [
        ExperimentFigures(
            name,
            documents.get(name),
            asked[name],
            waiting[name],
            _counts(decided.get(name, [])),
            tuple(one for one in decided.get(name, []) if one.incumbent is not one.candidate)[:_SHOWN],
        )
        for name in dict.fromkeys([*documents, *sorted(asked)])
    ]


def _counts(decided: list[TriedDecision]) -> ReviewCounts:
    found = Counter(one.right for one in decided)
    return ReviewCounts(**{right.value: found[right] for right in RightJudge})
