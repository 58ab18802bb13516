"""Cases: what records of Kafka mean for the store. Every change of a case's state that is not a person's is made here.

A record may come again and in any order. What it changes is changed in the transaction that also keeps its offset.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from sqlalchemy import bindparam, delete, func, insert, select, update

from sluicegate.pipeline.review.candidates import TriedPosts, is_blind
from sluicegate.pipeline.review.journal import note
from sluicegate.pipeline.review.rank import RankTerms, chance, is_close, is_new, reach_of, terms
from sluicegate.pipeline.review.store import OPEN_STATES
from sluicegate.pipeline.review.tables import (
    UNUSED,
    cases,
    outbox,
    posts,
    resolutions,
    spreads,
    verdicts,
)
from sluicegate.pipeline.review.vault import TextVault, author_ref, digest, post_key
from sluicegate.pipeline.settings.tree import CandidateSettings, ReviewSettings
from sluicegate.pipeline.shadow.records import ComparedPost
from sluicegate.pipeline.shortcuts.near_duplicates import reduced_form
from sluicegate.schemas import (
    Action,
    Post,
    Resolution,
    ResolutionCause,
    Verdict,
    content_hash,
    encode,
    precedence,
    resolution_id,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

_CASES = UUID("b7f3c2f0-52a4-5d0f-9a3e-6a7c9d1e4b55")  # our own namespace
_UNWANTED_MOST = 100_000

# Every record needs these. A statement that is made once costs half: SQLAlchemy knows its cache key.
_ADD_POST, _ADD_VERDICT = insert(posts), insert(verdicts)
_ADD_CASE, _ADD_RESOLUTION = insert(cases), insert(resolutions)
_POST_AGAIN = update(posts).where(posts.c.post_key == bindparam("key"))
_CHANGE_VERDICT = update(verdicts).where(verdicts.c.verdict_id == bindparam("of"))
_OF_POST = select(verdicts).where(
    verdicts.c.tenant == bindparam("tenant"), verdicts.c.post_id == bindparam("post_id")
)
_WAITING_FOR_TEXT = select(verdicts).where(
    verdicts.c.post_key == bindparam("key"),
    verdicts.c.case_id.is_(None),
    verdicts.c.counts,
    verdicts.c.cause != "",
)
_VERDICT = select(verdicts).where(verdicts.c.verdict_id == bindparam("verdict_id"))
_TEXT_OF = select(posts.c.near_key, posts.c.reach).where(posts.c.post_key == bindparam("key"))
_DECIDED_ON = select(resolutions.c.body).where(
    resolutions.c.tenant == bindparam("tenant"), resolutions.c.post_id == bindparam("post_id")
)
_KEPT = select(resolutions.c.resolution_id).where(resolutions.c.resolution_id == bindparam("name"))
_UNTOLD = (
    select(spreads.c.template, spreads.c.decision_id, verdicts.c.body)
    .join(verdicts, verdicts.c.case_id == spreads.c.case_id)
    .where(
        verdicts.c.tenant == bindparam("tenant"),
        verdicts.c.post_id == bindparam("post_id"),
        verdicts.c.counts,
        verdicts.c.came_at <= spreads.c.until_at,
    )
)
_NEAR = (
    select(cases)
    .where(
        cases.c.near_key == bindparam("near_key"),
        cases.c.state == "open",
        cases.c.cause == bindparam("cause"),
    )
    .with_for_update()
)
_CASE = select(cases).where(cases.c.case_id == bindparam("case_id"))
_CASE_LOCKED = _CASE.with_for_update()
_MEMBERS = (
    select(verdicts)
    .where(verdicts.c.case_id == bindparam("case_id"), verdicts.c.counts)
    .order_by(verdicts.c.came_at, verdicts.c.verdict_id)
)
_FIRST_MEMBER = _MEMBERS.limit(1)
_TICK_S = 1e-6
MACHINE = "machine"
"""The actor of what no person did."""


@dataclass(frozen=True, slots=True)
class _Text:
    """What a case needs to know of a text without reading it."""

    near_key: str
    reach: float


def near_key(post: Post) -> str:
    """What near copies have in common: one decision is for all of them."""
    reduced = reduced_form(post.text)
    shape = [post.tenant, post.kind, post.region, post.language, [turn.text for turn in post.turns]]
    return digest("near", *shape, reduced) if reduced is not None else _exact(post.tenant, content_hash(post))


def _exact(tenant: str, content: str) -> str:
    return digest("exact", tenant, content)


class Cases:
    """Turns posts, verdicts and resolutions into cases. One projector has it.

    Args:
        settings: The desk's.
        vault: Keeps the texts.
        candidate: An experiment whose disagreements people judge.
    """

    def __init__(
        self, settings: ReviewSettings, vault: TextVault, candidate: CandidateSettings | None = None
    ) -> None:
        self._settings = settings
        self._vault = vault
        self._tried = TriedPosts(candidate or CandidateSettings())
        # A verdict may be read before its post. Of what nobody needs to see, no text is kept for it.
        self._unwanted: OrderedDict[str, None] = OrderedDict()
        # Three topics are read side by side: an older verdict may come after a newer one that asks nobody.
        self._passed: OrderedDict[tuple[str, str], precedence.Claim] = OrderedDict()

    def take_post(self, connection: Connection, post: Post) -> None:
        """Keep a post's text, and open the case that waited for it."""
        key = post_key(post.tenant, post.id, post.revision, content_hash(post))
        if key in self._unwanted:
            del self._unwanted[key]  # the same post may be published again, and be judged otherwise then
            return
        sealed = self._vault.seal(connection, post)
        text = _Text(near_key(post), reach_of(post, self._settings.reach))
        again = connection.execute(
            _POST_AGAIN, {"key": key, "came_at": time.time(), "reach": text.reach}
        ).rowcount
        if sealed is not None and not again:
            key, ref, body = sealed
            connection.execute(
                _ADD_POST,
                {
                    "post_key": key,
                    "author_ref": ref,
                    "body": body,
                    "near_key": text.near_key,
                    "reach": text.reach,
                    "came_at": time.time(),
                },
            )
        for row in connection.execute(_WAITING_FOR_TEXT, {"key": key}).all():
            self._open(connection, row, text)

    def take_verdict(self, connection: Connection, verdict: Verdict) -> None:
        """Open a case for a verdict that a person should see, and close those that it makes pointless."""
        key = post_key(verdict.tenant, verdict.post_id, verdict.revision, verdict.content_hash)
        cause = self._cause(verdict) or self._tried.cause(connection, key, verdict.verdict_id)
        of_post = {"tenant": verdict.tenant, "post_id": verdict.post_id}
        known = connection.execute(_OF_POST, of_post).all()
        if cause is not None:
            self._unwanted.pop(key, None)  # its post may come after it
        elif not known and not self._tried.holds(verdict.tenant, verdict.post_id):
            self._pass(connection, verdict, key)
            if not verdict.revision:
                return  # of an edited post it is kept: the verdicts before it may come at any time
        mine_counts, is_newest = self._counts(connection, verdict, known)
        if not mine_counts:
            if is_newest:  # a person's word stands on its content, and may be withdrawn
                self._keep(connection, verdict, known, key, cause or "", counts=False)
            return
        self._keep(connection, verdict, known, key, cause or "")
        self._supersede(connection, verdict, [row for row in known if row.verdict_id != verdict.verdict_id])
        # The highest revision counts: without a case, those below it say nothing any more, and would be read each time.
        below = [
            row.verdict_id
            for row in known
            if row.case_id is None and Verdict.model_validate_json(row.body).revision < verdict.revision
        ]
        if below:
            connection.execute(delete(verdicts).where(verdicts.c.verdict_id.in_(below)))
        mine = connection.execute(_VERDICT, {"verdict_id": verdict.verdict_id}).one()
        if cause is None or mine.case_id is not None or not mine.cause:
            return
        text = connection.execute(_TEXT_OF, {"key": key}).first()
        if text is not None:
            self._open(connection, mine, _Text(text.near_key, text.reach))

    def _keep(
        self,
        connection: Connection,
        verdict: Verdict,
        known: Sequence[Row[Any]],
        key: str,
        cause: str,
        *,
        counts: bool = True,
    ) -> None:
        """Keep a verdict that counts for its post, or would if no person had decided on it."""
        author = author_ref(verdict.tenant, verdict.author_id)
        if self._vault.erased(connection, author):  # its reason may quote the text
            verdict = verdict.model_copy(update={"reason": None, "author_id": None})
        values = {"counts": counts, "cause": cause, "body": encode(verdict).decode()}
        mine = next((row for row in known if row.verdict_id == verdict.verdict_id), None)
        if mine is None:
            connection.execute(
                _ADD_VERDICT,
                {
                    "verdict_id": verdict.verdict_id,
                    "tenant": verdict.tenant,
                    "post_id": verdict.post_id,
                    "post_key": key,
                    "author_ref": author,
                    "case_id": None,
                    "came_at": time.time(),
                    **values,
                },
            )
        elif (counts and not mine.counts) or (
            counts == mine.counts and Verdict.model_validate_json(mine.body).judged_at < verdict.judged_at
        ):
            # One that did not count, and counts again, asks anew.
            case_id = mine.case_id if mine.counts else None
            connection.execute(
                update(verdicts)
                .where(verdicts.c.verdict_id == verdict.verdict_id)
                .values(case_id=case_id, **values)
            )

    def take_comparison(self, connection: Connection, post: ComparedPost) -> None:
        """Ask people about a post that a candidate judged, too. Where its verdict has not come, they are asked then."""
        name = self._tried.keep(connection, post)
        if name is None:
            return
        row = connection.execute(select(verdicts).where(verdicts.c.verdict_id == name)).one()
        text = connection.execute(
            select(posts.c.near_key, posts.c.reach).where(posts.c.post_key == row.post_key)
        ).one()
        self._open(connection, row, _Text(text.near_key, text.reach))

    def take_resolution(self, connection: Connection, resolution: Resolution) -> None:
        """Note that a decision has reached its topic, and follow one that was made elsewhere."""
        connection.execute(
            update(outbox)
            .where(outbox.c.record_id == resolution.resolution_id, outbox.c.sent_at.is_(None))
            .values(sent_at=time.time(), value=None)
        )
        if not keep_resolution(connection, resolution):
            return
        of_post = {"tenant": resolution.tenant, "post_id": resolution.post_id}
        rows = connection.execute(_OF_POST, of_post).all()
        judged = [Verdict.model_validate_json(row.body) for row in rows]
        counts, machine = self._standing(connection, resolution.tenant, resolution.post_id, judged)
        mine = next((row for row in rows if row.verdict_id == machine), None)
        if counts.reopens and mine is not None:
            self._ask_again(connection, mine, [row for row in rows if row is not mine])
            return
        for row in rows:
            if row.counts and row.verdict_id != counts.name:
                self._leave(connection, [row], "decided elsewhere")

    def _ask_again(self, connection: Connection, row: Row[Any], others: Sequence[Row[Any]]) -> None:
        """Let a verdict count again, because a decision was withdrawn elsewhere, and ask about it."""
        if not row.counts:
            case = locked(connection, row.case_id)
            # A case of others is theirs; one that was closed is opened like a new one.
            alone = (
                case is not None and case.state == "decided" and not count_members(connection, case.case_id)
            )
            _change(connection, row, counts=True, case_id=row.case_id if alone else None)
        self._supersede(connection, Verdict.model_validate_json(row.body), others)
        row = connection.execute(select(verdicts).where(verdicts.c.verdict_id == row.verdict_id)).one()
        case = locked(connection, row.case_id)
        if case is not None and case.state in OPEN_STATES:
            return
        if case is not None and case.state == "decided" and count_members(connection, case.case_id) == 1:
            open_again(connection, case)
            note(connection, MACHINE, MACHINE, "case reopened", case.case_id)
            return
        _change(connection, row, case_id=None)
        text = connection.execute(_TEXT_OF, {"key": row.post_key}).first()
        if row.cause and text is not None:  # one without its text is opened by the sweep
            self._open(connection, row, _Text(text.near_key, text.reach))

    def sweep(self, connection: Connection, now: float, most: int = 1_000) -> bool:
        """Open cases whose text did not come in time, and drop texts that were kept long enough.

        Args:
            connection: A transaction.
            now: Unix seconds.
            most: Cases that are opened now.

        Returns:
            Whether some may be left.
        """
        self._tried.sweep(connection, now, most)
        late = now - self._settings.join_wait_s
        waiting = connection.execute(
            select(verdicts)
            .where(
                verdicts.c.case_id.is_(None),
                verdicts.c.counts,
                verdicts.c.cause != "",
                verdicts.c.came_at < late,
            )
            .order_by(verdicts.c.came_at)
            .limit(most)
        ).all()
        for row in waiting:
            if is_blind(row.cause):  # who sees neither verdict nor text has nothing to judge by
                _change(connection, row, cause="")
                continue
            verdict = Verdict.model_validate_json(row.body)
            self._open(connection, row, _Text(_exact(verdict.tenant, verdict.content_hash), 1.0))
        old = now - self._settings.text_s
        connection.execute(delete(posts).where(posts.c.came_at < old))
        # The model's reason is in them. By then the topics have them no longer, either.
        connection.execute(delete(verdicts).where(UNUSED, verdicts.c.came_at < old))
        return len(waiting) == most

    def _cause(self, verdict: Verdict) -> str | None:
        """Why a person should look; None if nobody needs to."""
        if verdict.action is Action.REVIEW:
            if verdict.breaker is not None:
                return ResolutionCause.BREAKER.value
            return (ResolutionCause.FAILURE if verdict.failure is not None else ResolutionCause.REVIEW).value
        names = (verdict.tenant, verdict.post_id, verdict.revision, verdict.content_hash)
        if chance("audit", *names) < self._settings.audit_share:
            return ResolutionCause.AUDIT.value
        if is_close(verdict) and chance("margin", *names) < self._settings.margin_share:
            return ResolutionCause.MARGIN.value
        new = is_new(verdict, self._settings.familiar_languages)
        picked = new and chance("novelty", *names) < self._settings.novelty_share
        return ResolutionCause.NOVELTY.value if picked else None

    def _counts(
        self, connection: Connection, verdict: Verdict, known: Sequence[Row[Any]]
    ) -> tuple[bool, bool]:
        """Whether a verdict is what counts for its post, and whether it would be if no person had spoken."""
        others = [Verdict.model_validate_json(row.body) for row in known]
        counts, machine = self._standing(connection, verdict.tenant, verdict.post_id, [*others, verdict])
        is_newest = machine == verdict.verdict_id
        return counts.name == verdict.verdict_id or (counts.reopens and is_newest), is_newest

    def _standing(
        self, connection: Connection, tenant: str, post_id: str, judged: Sequence[Verdict]
    ) -> tuple[precedence.Claim, str | None]:
        """What counts for a post, and the machine's newest verdict on the content that counts, where it is known."""
        passed = self._passed.get((tenant, post_id))
        people = decided_on(connection, tenant, post_id)
        machine: precedence.Claims = () if passed is None else (passed,)
        for one in map(precedence.claim, judged):
            machine = precedence.add(machine, one)
        people += self._untold(connection, tenant, post_id)
        claims = machine
        for one in map(precedence.claim, people):
            claims = precedence.add(claims, one)
        counts = precedence.standing(claims)
        # A case that was reopened is the machine's again. Of an older verdict, no case is opened then.
        same = [
            one.name for one in machine if (one.revision, one.content) == (counts.revision, counts.content)
        ]
        return counts, same[0] if same else None

    @staticmethod
    def _untold(connection: Connection, tenant: str, post_id: str) -> list[Resolution]:
        """Decisions that a post, one of many copies, is told of soon: they count from when they were made."""
        found = connection.execute(_UNTOLD, {"tenant": tenant, "post_id": post_id}).all()
        made = []
        for row in found:
            verdict, template = (
                Verdict.model_validate_json(row.body),
                Resolution.model_validate_json(row.template),
            )
            name = resolution_id(
                verdict_id=verdict.verdict_id,
                content=verdict.content_hash,
                decision=row.decision_id,
                action=template.action,
            )
            of_verdict = {
                "resolution_id": name,
                "revision": verdict.revision,
                "content_hash": verdict.content_hash,
                "verdict_judged_at": verdict.judged_at,
            }
            made.append(template.model_copy(update=of_verdict))
        return made

    def _pass(self, connection: Connection, verdict: Verdict, key: str) -> None:
        """Remember a verdict that asks nobody, of a post that nobody looks at, and drop its text."""
        if not connection.execute(delete(posts).where(posts.c.post_key == key)).rowcount:
            self._unwanted[key] = None
            if len(self._unwanted) > _UNWANTED_MOST:
                self._unwanted.popitem(last=False)
        post = verdict.tenant, verdict.post_id
        before = self._passed.pop(post, None)
        claims = precedence.add(() if before is None else (before,), precedence.claim(verdict))
        self._passed[post] = precedence.standing(claims)
        if len(self._passed) > _UNWANTED_MOST:
            self._passed.popitem(last=False)

    def _supersede(self, connection: Connection, verdict: Verdict, older: Sequence[Row[Any]]) -> None:
        """Take posts' older verdicts out of their cases. A later verdict on the same content inherits the case."""
        for row in older:
            if not row.counts:
                continue
            before = Verdict.model_validate_json(row.body)
            same = before.content_hash == verdict.content_hash and before.revision == verdict.revision
            asks = self._cause(verdict) is not None
            if same and asks and row.case_id is not None and self._inherits(connection, row, verdict):
                connection.execute(
                    update(verdicts)
                    .where(verdicts.c.verdict_id == verdict.verdict_id)
                    # In its place: a decision may be on its way to the verdicts of the case, in their order.
                    .values(case_id=row.case_id, came_at=row.came_at)
                )
                connection.execute(
                    update(verdicts).where(verdicts.c.verdict_id == row.verdict_id).values(counts=False)
                )
                continue
            why = "another text or revision came"
            if same:
                why = "judged again, for another cause" if asks else "judged again, and nobody needs to look"
            self._leave(connection, [row], why)

    def _inherits(self, connection: Connection, row: Row[Any], verdict: Verdict) -> bool:
        """Let a case be about a later verdict on its post; False if a case of its own has to be opened.

        A case of one post becomes what the later verdict says, and a reviewer at work looks again where its cause or policy
        is another one. A case of several copies stays what it is: nothing is lifted or decided for another cause's sake.
        """
        case = locked(connection, row.case_id)
        cause = self._cause(verdict)
        if case is None or case.state not in OPEN_STATES:
            return True
        changed = (case.cause, case.policy) != (cause, verdict.policy.digest)
        if case.copies > 1:
            return case.cause == cause and not (case.breaker and changed)
        weighed = terms(verdict, case.reach, self._settings.sla_s)
        weighed = weighed._replace(due_at=min(case.due_at, weighed.due_at))
        changes: dict[str, Any] = {
            **self._told(verdict, cause or ""),
            "rank": weighed.rank(self._settings.half_life_s),
            **weighed._asdict(),
        }
        if case.cause != cause or (case.breaker and changed):
            changes |= {"version": case.version + 1}
            details = {"before": case.cause, "now": cause}
            note(connection, MACHINE, MACHINE, "case has another cause", case.case_id, details)
        connection.execute(update(cases).where(cases.c.case_id == case.case_id).values(changes))
        return True

    def _told(self, verdict: Verdict, cause: str) -> dict[str, Any]:
        """What a case has of its verdict."""
        return {
            "category": next(iter(verdict.categories), ""),
            "cause": cause,
            "breaker": cause == ResolutionCause.BREAKER,
            "policy": verdict.policy.digest,
            "probability": self._probability(verdict, cause),
        }

    def _probability(self, verdict: Verdict, cause: str) -> float:
        """How likely a verdict was to be picked for this cause. What an earlier draw took is not left for the next."""
        audit, margin = self._settings.audit_share, self._settings.margin_share
        if cause == ResolutionCause.AUDIT:
            return audit
        if cause == ResolutionCause.MARGIN:
            return (1 - audit) * margin
        if cause == ResolutionCause.NOVELTY:
            return (1 - audit) * (1 - margin if is_close(verdict) else 1) * self._settings.novelty_share
        return 1.0

    def _leave(self, connection: Connection, rows: Sequence[Row[Any]], why: str) -> None:
        """Take verdicts out of their cases; a case without any is closed."""
        for row in rows:
            shown = None if row.case_id is None else first_member(connection, row.case_id)
            _change(connection, row, counts=False)
            if row.case_id is None:
                continue
            left = count_members(connection, row.case_id)
            case = locked(connection, row.case_id)
            if case is None or case.state not in OPEN_STATES:
                continue
            changes: dict[str, Any] = {"copies": left}
            if left and shown is not None and shown.verdict_id == row.verdict_id:
                changes |= {"version": case.version + 1}  # a reviewer at work was shown another post
            if not left:
                changes |= {
                    "state": "withdrawn",
                    "version": case.version + 1,
                    "closed_at": time.time(),
                    "holder": None,
                    "held_until": None,
                }
                note(connection, MACHINE, MACHINE, "case withdrawn", row.case_id, {"why": why})
            connection.execute(update(cases).where(cases.c.case_id == row.case_id).values(changes))

    def _open(self, connection: Connection, row: Row[Any], text: _Text) -> None:
        """Put a verdict into the open case of its near copies, or open one."""
        verdict = Verdict.model_validate_json(row.body)
        weighed = terms(verdict, text.reach, self._settings.sla_s)
        there = connection.execute(_NEAR, {"near_key": text.near_key, "cause": row.cause}).first()
        if there is None:
            self._insert(connection, row, verdict, text, weighed)
            return
        newest = connection.execute(
            select(func.max(verdicts.c.came_at)).where(verdicts.c.case_id == there.case_id, verdicts.c.counts)
        ).scalar()
        # Behind the others: the first one is what a reviewer looks at.
        joined_at = max(time.time(), (newest or 0.0) + _TICK_S)
        _change(connection, row, case_id=there.case_id, came_at=joined_at)
        # A case of many copies reaches all of their readers.
        both = RankTerms(
            max(there.harm, weighed.harm),
            max(there.uncertainty, weighed.uncertainty),
            there.reach + text.reach,
            min(there.due_at, weighed.due_at),
        )
        connection.execute(
            update(cases)
            .where(cases.c.case_id == there.case_id)
            .values(
                copies=there.copies + 1,
                rank=both.rank(self._settings.half_life_s),
                **both._asdict(),
            )
        )

    def _insert(
        self, connection: Connection, row: Row[Any], verdict: Verdict, text: _Text, weighed: RankTerms
    ) -> None:
        name, before = self._name(connection, row)
        picked = row.cause in (ResolutionCause.AUDIT, ResolutionCause.MARGIN, ResolutionCause.NOVELTY)
        values = {
            "tenant": verdict.tenant,
            "language": verdict.language or "",
            "near_key": text.near_key,
            "state": "open",
            "round": 0 if before is None else before.round + 1,
            "version": 1 if before is None else before.version + 1,
            "copies": 1,
            # Whoever is shown the verdict of what chance picked would find little wrong.
            "blind": picked or is_blind(row.cause) or chance("blind", name) < self._settings.blind_share,
            "double": chance("double", name) < self._settings.double_share,
            "golden": False,
            **self._told(verdict, row.cause),
            "rank": weighed.rank(self._settings.half_life_s),
            "opened_at": time.time(),
            "closed_at": None,
            "holder": None,
            "held_until": None,
            **weighed._asdict(),
        }
        if is_blind(row.cause):
            values["probability"] = self._tried.probability(connection, row.post_key)
        if before is None:
            connection.execute(
                _ADD_CASE,
                {
                    "case_id": name,
                    **values,
                },
            )
        else:
            connection.execute(update(cases).where(cases.c.case_id == name).values(values))
        _change(connection, row, case_id=name)
        note(connection, MACHINE, MACHINE, "case opened", name, {"cause": row.cause})

    @staticmethod
    def _name(connection: Connection, row: Row[Any]) -> tuple[str, Row[Any] | None]:
        """The id for a verdict's case, and the closed case that has it.

        A case that people decided keeps its id and its copies: what is asked anew about one of them is another case.
        """
        for number in count():
            name = str(uuid5(_CASES, row.post_key if not number else f"{row.post_key} {number}"))
            before = connection.execute(_CASE, {"case_id": name}).first()
            if before is None or before.state == "withdrawn":
                return name, before
        raise AssertionError  # numbers do not end


def members(connection: Connection, case_id: str) -> list[Row[Any]]:
    """The verdicts that a case is about now: its first one first."""
    return list(connection.execute(_MEMBERS, {"case_id": case_id}))


def first_member(connection: Connection, case_id: str) -> Row[Any] | None:
    """The first verdict that a case is about now; None where it has none left."""
    return connection.execute(_FIRST_MEMBER, {"case_id": case_id}).first()


def count_members(connection: Connection, case_id: str) -> int:
    """How many verdicts a case is about now."""
    found: int = connection.execute(
        select(func.count()).where(verdicts.c.case_id == case_id, verdicts.c.counts)
    ).scalar_one()
    return found


def open_again(connection: Connection, case: Row[Any]) -> None:
    """Open a decided case for another round."""
    connection.execute(
        update(cases)
        .where(cases.c.case_id == case.case_id)
        .values(
            state="open",
            round=case.round + 1,
            version=case.version + 1,
            copies=count_members(connection, case.case_id),
            closed_at=None,
            golden=False,
            holder=None,
            held_until=None,
        )
    )


def locked(connection: Connection, case_id: str | None) -> Row[Any] | None:
    """A case, locked until the transaction ends; None if there is none."""
    return connection.execute(_CASE_LOCKED, {"case_id": case_id}).first()


def _change(connection: Connection, row: Row[Any], **values: Any) -> None:
    connection.execute(_CHANGE_VERDICT, {"of": row.verdict_id, **values})


def decided_on(connection: Connection, tenant: str, post_id: str) -> list[Resolution]:
    """What people decided on a post, in no order."""
    bodies = connection.execute(_DECIDED_ON, {"tenant": tenant, "post_id": post_id}).scalars()
    return [Resolution.model_validate_json(body) for body in bodies]


def keep_resolution(connection: Connection, resolution: Resolution) -> bool:
    """Keep a resolution; False if it is there already."""
    if connection.execute(_KEPT, {"name": resolution.resolution_id}).first() is not None:
        return False
    # Precedence asks for no author, and whoever is erased must not stand here.
    body = encode(resolution.model_copy(update={"author_id": None})).decode()
    values = {"tenant": resolution.tenant, "post_id": resolution.post_id, "body": body}
    connection.execute(_ADD_RESOLUTION, {"resolution_id": resolution.resolution_id, **values})
    return True
