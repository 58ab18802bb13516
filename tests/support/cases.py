"""Cases for tests of the review desk: posts with their verdicts, taken into a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from sluicegate.pipeline.review.cases import Cases, members
from sluicegate.pipeline.review.decisions import AnswerOutcome, CaseAnswer, Decisions
from sluicegate.pipeline.review.queue import CaseQueue, QueueFilter, Reviewer
from sluicegate.pipeline.review.tables import cases, outbox
from sluicegate.pipeline.review.vault import TextVault
from sluicegate.pipeline.settings.tree import CandidateSettings, ReviewSettings
from sluicegate.pipeline.shadow.records import ComparedPost
from sluicegate.schemas import Action, Post, Resolution, Verdict
from unit.pipeline.client_fakes import verdict_on

if TYPE_CHECKING:
    from sqlalchemy import Row

    from sluicegate.pipeline.review.store import ReviewStore

HERON, MAGPIE, OWL = (
    Reviewer("heron", "reviewer"),
    Reviewer("magpie", "reviewer"),
    Reviewer("owl", "lead"),
)
UNSURE = {"safe": 0.2, "controversial": 0.5, "unsafe": 0.3}


def post(name: str = "a", text: str = "", **changes: Any) -> Post:
    """A post whose text is like no other's."""
    return Post(id=name, text=text or f"Some disputed words about {name}", **changes)


def judged(of: Post, at: float = 0, **changes: Any) -> Verdict:
    """The machine asks for a person."""
    given: dict[str, Any] = {
        "name": f"{of.tenant} {of.text} {at}",
        "action": "review",
        "author_id": of.author_id,
        "language": of.language,
        "severity": "controversial",
        "scores": UNSURE,
        **changes,
    }
    return verdict_on(of, at=at, **given)


class Bench:
    """A desk without threads: a test says what comes, and when."""

    def __init__(
        self, store: ReviewStore, /, candidate: CandidateSettings | None = None, **settings: Any
    ) -> None:
        given = {"blind_share": 0, "double_share": 0, "audit_share": 0, "golden_share": 0, **settings}
        self.settings = ReviewSettings(**given)
        self.store = store
        self.vault = TextVault("k" * 32)
        self.cases = Cases(self.settings, self.vault, candidate)
        self.queue = CaseQueue(self.settings)
        self.decisions = Decisions(self.vault)

    def take(self, *events: Post | Verdict | Resolution | ComparedPost) -> None:
        """Records come, each in a transaction of its own."""
        for one in events:
            with self.store.writing() as connection:
                if isinstance(one, Post):
                    self.cases.take_post(connection, one)
                elif isinstance(one, Verdict):
                    self.cases.take_verdict(connection, one)
                elif isinstance(one, ComparedPost):
                    self.cases.take_comparison(connection, one)
                else:
                    self.cases.take_resolution(connection, one)

    def next(self, reviewer: Reviewer = HERON, **wanted: Any) -> str | None:
        with self.store.writing() as connection:
            return self.queue.next(connection, reviewer, QueueFilter(**wanted))

    def answer(
        self, case_id: str, reviewer: Reviewer = HERON, action: str = "allow", **changes: Any
    ) -> AnswerOutcome:
        """A reviewer answers what stands in the store now, unless ``version`` says otherwise."""
        given: dict[str, Any] = {
            "version": self.case(case_id).version,
            "severity": "safe" if action == "allow" else "unsafe",
            **changes,
        }
        with self.store.writing() as connection:
            return self.decisions.answer(
                connection, case_id, reviewer, CaseAnswer(action=Action(action), **given)
            )

    def case(self, case_id: str) -> Row[Any]:
        with self.store.reading() as connection:
            return connection.execute(select(cases).where(cases.c.case_id == case_id)).one()

    def verdict(self, case_id: str) -> Verdict:
        """The first one of a case."""
        with self.store.reading() as connection:
            return Verdict.model_validate_json(members(connection, case_id)[0].body)

    def all(self, state: str = "open") -> list[Row[Any]]:
        with self.store.reading() as connection:
            return list(
                connection.execute(select(cases).where(cases.c.state == state).order_by(cases.c.rank))
            )

    def sent(self, kind: str = "resolution") -> list[Row[Any]]:
        """What stands in the outbox, in its order."""
        with self.store.reading() as connection:
            return list(
                connection.execute(select(outbox).where(outbox.c.kind == kind).order_by(outbox.c.number))
            )

    def resolutions(self) -> list[Resolution]:
        return [Resolution.model_validate_json(row.value) for row in self.sent()]
