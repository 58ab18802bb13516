"""The pages of a case: what is shown of it, and what a person says."""

import time
from functools import partial
from typing import Annotated, Any, cast, get_args

from fastapi import Depends, FastAPI, Form, HTTPException, Query, Request
from sqlalchemy import select
from starlette.responses import JSONResponse, RedirectResponse, Response

from sluicegate.pipeline.review.decisions import AnswerOutcome, CaseAnswer
from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.journal import note_view
from sluicegate.pipeline.review.queue import QueueFilter
from sluicegate.pipeline.review.rights import Right
from sluicegate.pipeline.review.tables import cases
from sluicegate.pipeline.review.unseen import spelt_out, unseen
from sluicegate.pipeline.review.web.evidence import CaseEvidence, gather
from sluicegate.pipeline.review.web.queue_pages import TOLD, Wanted, address, go_on
from sluicegate.pipeline.review.web.rendering import page, translated
from sluicegate.pipeline.review.web.sessions import ReviewSession, Sessions
from sluicegate.schemas import Action, Severity

_CATEGORIES_MOST = 16
_REASON_CHARACTERS = 400
_TICK_S = 1e-3


class _AnswerForm:
    """The form of an answer as it came. Nothing in it is believed before :meth:`answer`."""

    def __init__(  # noqa: PLR0913, PLR0917 - the fields of a form
        self,
        wanted: Wanted,
        version: Annotated[int, Form()],
        action: Annotated[Action, Form()],
        severity: Annotated[str, Form()],
        shown_at: Annotated[float, Form()],
        disposition: Annotated[str, Form()] = "none",
        reason: Annotated[str, Form()] = "",
        category: Annotated[list[str], Form()] = [],  # noqa: B006 - FastAPI copies it
    ) -> None:
        self.wanted = wanted
        self.version = version
        self.action = action
        self.severity = severity
        self.shown_at = shown_at
        self.disposition = disposition
        self.reason = " ".join(reason.split())[:_REASON_CHARACTERS]
        self.categories = tuple(dict.fromkeys(category))[:_CATEGORIES_MOST]

    def answer(self, evidence: CaseEvidence) -> CaseAnswer:
        """What it says.

        Raises:
            HTTPException: A field holds what its page does not offer, or no database keeps.
        """
        if "\0" in self.reason:
            raise HTTPException(422)
        if self.severity not in get_args(Severity) or self.action is Action.REVIEW:
            raise HTTPException(422)
        offered = {*evidence.categories, *(evidence.proposal.categories if evidence.proposal else ())}
        if not offered.issuperset(self.categories):
            raise HTTPException(422)
        blind = evidence.verdict is None
        seen = ["text"] if evidence.post is not None else []
        return CaseAnswer(
            version=self.version,
            action=self.action,
            severity=cast("Severity", self.severity),
            categories=() if self.severity == "safe" else self.categories,
            disposition=self.disposition,
            reason=self.reason or None,
            blind=blind,
            seen=(*seen, *(() if blind else ("verdict",)), "history"),
            seconds=min(max(0.0, time.time() - self.shown_at), 86_400.0),
        )


def add_case_pages(app: FastAPI, desk: ReviewDesk, sessions: Sessions) -> None:
    """Add the pages of a case.

    Args:
        app: To it.
        desk: It runs.
        sessions: Who asks.
    """
    Asking = Annotated[ReviewSession, Depends(sessions.asking(Right.VIEW))]  # noqa: N806 - a type
    Sending = Annotated[ReviewSession, Depends(sessions.sending(Right.DECIDE))]  # noqa: N806 - a type

    @app.get("/cases/{case_id}")
    def case(
        session: Asking,
        case_id: str,
        wanted: Wanted,
        reveal: bool = False,
        told: Annotated[str, Query(max_length=16)] = "",
    ) -> Response:
        with desk.store.writing() as connection:
            evidence = _evidence(desk, connection, session, case_id)
            name, role = session.reviewer.name, session.reviewer.role
            note_view(connection, name, role, case_id, verdict=evidence.verdict is not None)
        told = told if told in TOLD else ""
        return _case_page(desk, session, evidence, wanted, reveal=reveal, told=told)

    @app.post("/cases/{case_id}/answer")
    def answer(
        session: Sending, case_id: str, given: Annotated[_AnswerForm, Depends(_AnswerForm)]
    ) -> Response:
        with desk.store.writing() as connection:
            evidence = _evidence(desk, connection, session, case_id, beside=False)
            said = given.answer(evidence)
            if said.disposition in _dispositions(desk, evidence):
                outcome = desk.decisions.answer(connection, case_id, session.reviewer, said)
            else:  # the verdict that suggested it was replaced, or no page offered it
                outcome = AnswerOutcome(
                    "refused", "The case has changed since it was shown. Look at it again."
                )
            if outcome.kind == "refused":  # its page shows the case as it is now
                evidence = _evidence(desk, connection, session, case_id)
                name, role = session.reviewer.name, session.reviewer.role
                note_view(connection, name, role, case_id, verdict=evidence.verdict is not None)
            else:
                following = go_on(connection, desk, session, given.wanted, outcome.kind)
        desk.metrics.answers.labels(outcome.kind).inc()
        if outcome.kind == "refused":
            # What was typed stays on the page: nobody writes it twice.
            return _case_page(desk, session, evidence, given.wanted, refused=outcome, given=given)
        desk.outbox.wake()
        return following

    @app.post("/cases/{case_id}/skip")
    def skip(session: Sending, case_id: str, wanted: Wanted) -> Response:
        with desk.store.writing() as connection:
            desk.queue.skip(connection, case_id, session.reviewer)
            return go_on(connection, desk, session, wanted, "skipped")

    @app.post("/cases/{case_id}/hold")
    def hold(request: Request, session: Sending, case_id: str, wanted: Wanted) -> Response:
        with desk.store.writing() as connection:
            until = desk.queue.hold(connection, case_id, session.reviewer)
        if "application/json" not in request.headers.get("accept", ""):
            return RedirectResponse(address(wanted, f"/cases/{case_id}"), 303)
        left_s = None if until is None else until - time.time()
        return JSONResponse({"left_s": left_s}, 409 if until is None else 200)

    @app.post("/cases/{case_id}/release")
    def release(session: Sending, case_id: str, wanted: Wanted) -> Response:
        with desk.store.writing() as connection:
            desk.queue.release(connection, case_id, session.reviewer)
        return RedirectResponse(address(wanted, "/queue"), 303)


def _evidence(
    desk: ReviewDesk, connection: Any, session: ReviewSession, case_id: str, *, beside: bool = True
) -> CaseEvidence:
    """All that this reviewer may see of a case, or all that its form is made of.

    Raises:
        HTTPException: There is no such case for this reviewer.
    """
    row = connection.execute(select(cases).where(cases.c.case_id == case_id)).first()
    tenants = session.reviewer.tenants
    if row is None or (tenants and row.tenant not in tenants):
        raise HTTPException(404)
    found = gather(
        connection,
        desk.vault,
        row,
        half_life_s=desk.settings.half_life_s,
        leads=session.reviewer.leads,
        beside=beside,
    )
    if found is None:
        raise HTTPException(410)
    return found


def _case_page(  # noqa: PLR0913 - what a page shows
    desk: ReviewDesk,
    session: ReviewSession,
    evidence: CaseEvidence,
    wanted: QueueFilter,
    *,
    reveal: bool = False,
    told: str = "",
    refused: AnswerOutcome | None = None,
    given: _AnswerForm | None = None,
) -> Response:
    text = "" if evidence.post is None else evidence.post.text
    case = evidence.case
    left_s = max(0, int(case.held_until - time.time())) if case.holder == session.reviewer.name else None
    if case.golden and case.state == "decided":  # nobody holds it, and it looks like one that is held
        left_s = int(desk.settings.lease_s - _TICK_S)
    values = {
        "session": session,
        "evidence": evidence,
        "case": evidence.case,
        "at": partial(address, wanted),
        "may_decide": session.may(Right.DECIDE),
        "parts": [(spelt_out(one.text) if reveal else one.text, one.decided) for one in evidence.parts],
        "turns": [] if evidence.post is None else evidence.post.turns,
        "unseen": unseen(text),
        "reveal": reveal,
        "left_s": left_s,
        "told": told,
        "refused": "" if refused is None else translated(session.language, refused.changed),
        "given": _filled(evidence, given),
        "dispositions": _dispositions(desk, evidence),
        "severities": get_args(Severity),
        "shown_at": time.time(),
    }
    return page("case.html", session.language, values, status=200 if refused is None else 409)


def _filled(evidence: CaseEvidence, given: _AnswerForm | None) -> dict[str, Any]:
    """What the form is filled in with: what was typed, or what the verdict suggests, or nothing."""
    if given is not None:
        names = ("action", "severity", "categories", "disposition", "reason")
        return {name: getattr(given, name) for name in names}
    proposal = evidence.proposal
    if proposal is None:
        return {"action": "", "severity": "", "categories": (), "disposition": "none", "reason": ""}
    return {
        "action": proposal.action,
        "severity": proposal.severity,
        "categories": proposal.categories,
        "disposition": proposal.disposition,
        "reason": "",
    }


def _dispositions(desk: ReviewDesk, evidence: CaseEvidence) -> list[str]:
    suggested = [] if evidence.proposal is None else [evidence.proposal.disposition]
    return list(dict.fromkeys([*desk.settings.dispositions, *suggested]))
