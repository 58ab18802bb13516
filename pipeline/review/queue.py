"""The queue: which case comes next, whose it is, and for how long."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, exists, func, insert, or_, select, update

from sluicegate.pipeline.review.journal import note
from sluicegate.pipeline.review.rank import chance
from sluicegate.pipeline.review.rights import Right, may
from sluicegate.pipeline.review.tables import cases, decisions, posts, skips, verdicts
from sluicegate.pipeline.settings.tree import ReviewSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Row

_EXPOSURE_S = 3600.0
_HELD = select(cases.c.case_id, cases.c.state, cases.c.tenant).where(
    cases.c.holder == bindparam("who"), cases.c.held_until >= bindparam("now")
)
_HARMFUL = select(func.count()).where(
    decisions.c.reviewer == bindparam("who"),
    decisions.c.decided_at > bindparam("since"),
    decisions.c.severity == "unsafe",
)


@dataclass(frozen=True, slots=True)
class Reviewer:
    """A person at the desk."""

    name: str
    """A pseudonym: it stands in every record."""
    role: str
    tenants: tuple[str, ...] = ()
    """The tenants whose posts this person may see; none are all."""

    @property
    def leads(self) -> bool:
        """True if this person decides between others."""
        return may(self.role, Right.LEAD)

    def sees(self, tenant: str) -> bool:
        """Whether this person may see posts of a tenant."""
        return not self.tenants or tenant in self.tenants


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """Which part of the queue is asked for; an empty value is everything."""

    tenant: str = ""
    language: str = ""
    category: str = ""
    breaker: bool | None = None


class CaseQueue:
    """Hands out cases, each to one reviewer at a time. Holds no state but in the store.

    Args:
        settings: The desk's.
    """

    def __init__(self, settings: ReviewSettings) -> None:
        self._settings = settings

    def next(self, connection: Connection, reviewer: Reviewer, wanted: QueueFilter) -> str | None:
        """The case that this reviewer should look at now, held for them; None if there is none.

        A reviewer who holds one already gets that one.
        """
        now = time.time()
        # Nothing but the holder is asked for: a database without statistics would look through all open cases.
        for held in connection.execute(_HELD, {"who": reviewer.name, "now": now}):
            if held.state in _states(reviewer) and reviewer.sees(held.tenant):
                return str(held.case_id)
        golden = self._golden(connection, reviewer)
        if golden is not None:
            return golden
        for state in _states(reviewer):
            found = connection.execute(
                select(cases.c.case_id)
                .where(cases.c.state == state, *self._free(reviewer, wanted, now))
                .order_by(cases.c.breaker, cases.c.rank)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).first()
            if found is not None:
                until = now + self._settings.lease_s
                connection.execute(
                    update(cases)
                    .where(cases.c.case_id == found.case_id)
                    .values(holder=reviewer.name, held_until=until)
                )
                return str(found.case_id)
        return None

    def listing(
        self, connection: Connection, reviewer: Reviewer, wanted: QueueFilter, limit: int
    ) -> Sequence[Row[Any]]:
        """The first cases in the order in which they come, those that others hold among them.

        Each row has what is not in its table, too: ``answers`` of this round, whether one of them is ``mine``, and how many
        reviewers ``skipped`` it. :func:`waiting_for` says why such a case waits.
        """
        found: list[Row[Any]] = []
        this_round = (decisions.c.case_id == cases.c.case_id) & (decisions.c.round == cases.c.round)
        answers = select(func.count()).where(this_round).scalar_subquery()
        skipped = select(func.count()).where(skips.c.case_id == cases.c.case_id).scalar_subquery()
        mine = exists().where(this_round, decisions.c.reviewer == reviewer.name)
        for state in _states(reviewer):  # one by one: each is read off an index
            found += connection.execute(
                select(cases, answers.label("answers"), skipped.label("skipped"), mine.label("mine"))
                .where(cases.c.state == state, *_allowed(reviewer, wanted))
                .order_by(cases.c.breaker, cases.c.rank)
                .limit(limit - len(found))
            )
        return found

    def hold(self, connection: Connection, case_id: str, reviewer: Reviewer) -> float | None:
        """Extend the time that a reviewer has for a case; until when, or None if it is not theirs to decide.

        Of a golden case everybody has all the time there is: nobody waits for it. It must look like any other.
        """
        now = time.time()
        until = now + self._settings.lease_s
        allowed = [cases.c.case_id == case_id, *_allowed(reviewer, QueueFilter()), ~_answered(reviewer)]
        done = connection.execute(
            update(cases)
            .where(
                *allowed,
                cases.c.state.in_(_states(reviewer)),
                or_(cases.c.holder == reviewer.name, cases.c.holder.is_(None), cases.c.held_until < now),
            )
            .values(holder=reviewer.name, held_until=until)
        ).rowcount
        golden = select(cases.c.case_id).where(*allowed, cases.c.golden, cases.c.state == "decided")
        return until if done or connection.execute(golden).first() is not None else None

    def release(self, connection: Connection, case_id: str, reviewer: Reviewer) -> None:
        """Give a case back at once."""
        connection.execute(
            update(cases)
            .where(cases.c.case_id == case_id, cases.c.holder == reviewer.name)
            .values(holder=None, held_until=None)
        )

    def skip(self, connection: Connection, case_id: str, reviewer: Reviewer) -> None:
        """Give a case back, and never get it again. Nobody is asked why. A case of another tenant is left alone."""
        tenant = connection.execute(select(cases.c.tenant).where(cases.c.case_id == case_id)).scalar()
        if tenant is None or not reviewer.sees(tenant):
            return
        self.release(connection, case_id, reviewer)
        known = (skips.c.case_id == case_id) & (skips.c.reviewer == reviewer.name)
        connection.execute(delete(skips).where(known))
        connection.execute(
            insert(skips).values(case_id=case_id, reviewer=reviewer.name, skipped_at=time.time())
        )
        note(connection, reviewer.name, reviewer.role, "case skipped", case_id)

    def exposure(self, connection: Connection, reviewer: Reviewer) -> tuple[int, float]:
        """How many harmful texts a reviewer decided about within an hour, and for how long to pause: 0 below the cap."""
        now = time.time()
        harmful = {"who": reviewer.name, "since": now - _EXPOSURE_S}
        number: int = connection.execute(_HARMFUL, harmful).scalar_one()
        cap = self._settings.exposure_cap
        if not cap or number < cap:
            return number, 0.0
        latest = _HARMFUL.with_only_columns(decisions.c.decided_at).order_by(decisions.c.decided_at.desc())
        first = connection.execute(latest.offset(cap - 1).limit(1), harmful).scalar_one()
        return number, first + _EXPOSURE_S - now

    def _free(self, reviewer: Reviewer, wanted: QueueFilter, now: float) -> list[ColumnElement[bool]]:
        return [
            *_allowed(reviewer, wanted),
            or_(cases.c.held_until.is_(None), cases.c.held_until < now),
            and_(~_answered(reviewer), ~_skipped(reviewer)),
        ]

    def _golden(self, connection: Connection, reviewer: Reviewer) -> str | None:
        """A case with a known answer, now and then: nobody can tell it from the others."""
        share = self._settings.golden_share
        if not share:
            return None
        mine = decisions.c.reviewer == reviewer.name
        before = connection.execute(
            select(decisions.c.decision_id).where(mine).order_by(decisions.c.decided_at.desc()).limit(1)
        ).scalar()
        if chance("golden", reviewer.name, before) >= share:  # it is drawn once for each decision
            return None
        seen = exists().where(decisions.c.case_id == cases.c.case_id, mine)
        # Without its text it would look like no other case, and measure nobody.
        text = exists().where(
            verdicts.c.case_id == cases.c.case_id, verdicts.c.counts, verdicts.c.post_key == posts.c.post_key
        )
        found = connection.execute(
            select(cases.c.case_id)
            .where(
                cases.c.golden,
                cases.c.state == "decided",
                ~seen,
                ~_skipped(reviewer),
                text,
                *_allowed(reviewer, QueueFilter()),
            )
            .order_by(cases.c.case_id)
            .limit(1)
        ).first()
        return None if found is None else str(found.case_id)


def waiting_for(row: Row[Any]) -> str:
    """Whom a case of :meth:`CaseQueue.listing` waits for: ``reviewer``, ``second_reader``, ``lead``, or ``another_lead``.

    A second reader is none who has answered. A lead who was one of two readers does not decide between them.
    """
    if row.state == "adjudication":
        return "another_lead" if row.mine else "lead"
    return "second_reader" if row.answers else "reviewer"


def _answered(reviewer: Reviewer) -> ColumnElement[bool]:
    return exists().where(
        decisions.c.case_id == cases.c.case_id,
        decisions.c.round == cases.c.round,
        decisions.c.reviewer == reviewer.name,
    )


def _skipped(reviewer: Reviewer) -> ColumnElement[bool]:
    return exists().where(skips.c.case_id == cases.c.case_id, skips.c.reviewer == reviewer.name)


def _states(reviewer: Reviewer) -> tuple[str, ...]:
    """The states of cases that a person decides, in the order in which they come."""
    return ("adjudication", "open") if reviewer.leads else ("open",)


def _allowed(reviewer: Reviewer, wanted: QueueFilter) -> list[ColumnElement[bool]]:
    """The cases that a person may see, and asked for."""
    found: list[ColumnElement[bool]] = [
        cases.c[column] == value
        for column in ("tenant", "language", "category")
        if (value := getattr(wanted, column))
    ]
    if wanted.category:  # the queue's name would tell a blind reader what the machine found
        found.append(cases.c.blind.is_(False))
    if reviewer.tenants:
        found.append(cases.c.tenant.in_(reviewer.tenants))
    if wanted.breaker is not None:
        found.append(cases.c.breaker.is_(wanted.breaker))
    return found
