"""The pages of the queue and of a case."""

import time
from typing import Annotated, Any, cast, get_args

from fastapi import Depends, FastAPI, Form, HTTPException, Query, Request
from sqlalchemy import select
from starlette.responses import JSONResponse, RedirectResponse, Response

from sluicegate.pipeline.review.cases import open_counts
from sluicegate.pipeline.review.decisions import AnswerOutcome, CaseAnswer
from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.journal import note
from sluicegate.pipeline.review.queue import QueueFilter
from sluicegate.pipeline.review.tables import cases
from sluicegate.pipeline.review.web.evidence import CaseEvidence, gather, queue_names
from sluicegate.pipeline.review.web.rendering import LANGUAGES, page, spelt_out, unseen
from sluicegate.pipeline.review.web.sessions import ReviewSession, Sessions, is_of
from sluicegate.schemas import Action, Severity

_LISTED = 50
_CATEGORIES_MOST = 16
_REASON_CHARACTERS = 400


_TOLD = {"settled", "first", "disagreed", "measured", "repeated", "skipped", "empty"}
"""What a page may say of the case before."""


def _filter(
    tenant: Annotated[str, Query(max_length=64)] = "",
    language: Annotated[str, Query(max_length=35)] = "",
    category: Annotated[str, Query(max_length=64)] = "",
) -> QueueFilter:
    """The part of the queue that an address names."""
    return QueueFilter(tenant, language, category)


class _AnswerForm:
    """The form of an answer as it came. Nothing in it is believed before :meth:`answer`."""

    def __init__(  # noqa: PLR0913, PLR0917 - the fields of a form
        self,
        wanted: Annotated[QueueFilter, Depends(_filter)],
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
            HTTPException: A field holds what its page does not offer.
        """
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


def add_pages(app: FastAPI, desk: ReviewDesk, sessions: Sessions) -> None:  # noqa: C901 - one function a route
    """Add the pages of the queue and of a case.

    Args:
        app: To it.
        desk: It runs.
        sessions: Who asks.
    """

    def asking(request: Request) -> ReviewSession:
        session = sessions.find(request)
        if session is None:
            raise HTTPException(401)
        return session

    def sending(
        session: Annotated[ReviewSession, Depends(asking)], csrf: Annotated[str, Form()]
    ) -> ReviewSession:
        if not is_of(session, csrf):
            raise HTTPException(403)
        return session

    Asking = Annotated[ReviewSession, Depends(asking)]  # noqa: N806 - a type
    Sending = Annotated[ReviewSession, Depends(sending)]  # noqa: N806 - a type

    @app.get("/")
    def root() -> Response:
        return RedirectResponse("/queue", 303)

    @app.get("/queue")
    def queue(
        session: Asking,
        wanted: Annotated[QueueFilter, Depends(_filter)],
        told: Annotated[str, Query(max_length=16)] = "",
    ) -> Response:
        with desk.store.reading() as connection:
            values = {
                "session": session,
                "rows": desk.queue.listing(connection, session.reviewer, wanted, _LISTED),
                "counts": open_counts(connection),
                "queues": queue_names(connection, ("open",)),
                "wanted": wanted,
                "told": told if told in _TOLD else "",
                "now": time.time(),
            }
        return page("queue.html", session.language, values)

    @app.post("/next")
    def take_next(session: Sending, wanted: Annotated[QueueFilter, Depends(_filter)]) -> Response:
        return _next(desk, session, wanted)

    @app.get("/cases/{case_id}")
    def case(
        session: Asking,
        case_id: str,
        reveal: bool = False,
        told: Annotated[str, Query(max_length=16)] = "",
    ) -> Response:
        with desk.store.writing() as connection:
            evidence = _evidence(desk, connection, session, case_id)
            note(connection, session.reviewer.name, session.reviewer.role, "case viewed", case_id)
        return _case_page(desk, session, evidence, reveal=reveal, told=told if told in _TOLD else "")

    @app.post("/cases/{case_id}/answer")
    def answer(
        session: Sending, case_id: str, given: Annotated[_AnswerForm, Depends(_AnswerForm)]
    ) -> Response:
        with desk.store.writing() as connection:
            evidence = _evidence(desk, connection, session, case_id)
            outcome = desk.decisions.answer(connection, case_id, session.reviewer, given.answer(evidence))
        desk.outbox.wake()
        if outcome.kind == "refused":
            # What was typed stays on the page: nobody writes it twice.
            return _case_page(desk, session, evidence, refused=outcome, given=given)
        return _next(desk, session, given.wanted, outcome.kind)

    @app.post("/cases/{case_id}/skip")
    def skip(session: Sending, case_id: str, wanted: Annotated[QueueFilter, Depends(_filter)]) -> Response:
        with desk.store.writing() as connection:
            desk.queue.skip(connection, case_id, session.reviewer)
        return _next(desk, session, wanted, "skipped")

    @app.post("/cases/{case_id}/hold")
    def hold(request: Request, session: Sending, case_id: str) -> Response:
        with desk.store.writing() as connection:
            until = desk.queue.hold(connection, case_id, session.reviewer)
        if "application/json" not in request.headers.get("accept", ""):
            return RedirectResponse(f"/cases/{case_id}", 303)
        left_s = None if until is None else until - time.time()
        return JSONResponse({"left_s": left_s}, 409 if until is None else 200)

    @app.post("/cases/{case_id}/release")
    def release(session: Sending, case_id: str) -> Response:
        with desk.store.writing() as connection:
            desk.queue.release(connection, case_id, session.reviewer)
        return RedirectResponse("/queue", 303)

    @app.post("/cases/{case_id}/reopen")
    def reopen(session: Sending, case_id: str) -> Response:
        if not session.reviewer.leads:
            raise HTTPException(403)
        with desk.store.writing() as connection:
            done = desk.decisions.reopen(connection, case_id, session.reviewer)
        desk.outbox.wake()
        return RedirectResponse(f"/cases/{case_id}" if done else "/queue", 303)

    @app.post("/preferences")
    def prefer(
        session: Sending,
        language: Annotated[str, Form()] = "",
        keys: Annotated[str, Form()] = "",
        veil: Annotated[str, Form()] = "",
    ) -> Response:
        chosen = {"keys": keys == "on", "veil": veil == "on"}
        if language in LANGUAGES:
            chosen |= {"language": language}  # type: ignore[dict-item]  # values differ by name
        sessions.prefer(session, chosen)
        return RedirectResponse("/queue", 303)


def _next(desk: ReviewDesk, session: ReviewSession, wanted: QueueFilter, told: str = "") -> RedirectResponse:
    """Go to the next case, or to the queue where there is none."""
    with desk.store.writing() as connection:
        case_id = desk.queue.next(connection, session.reviewer, wanted)
    place = "/queue?told=empty" if case_id is None else f"/cases/{case_id}?told={told}"
    return RedirectResponse(place, 303)


def _evidence(desk: ReviewDesk, connection: Any, session: ReviewSession, case_id: str) -> CaseEvidence:
    """All that this reviewer may see of a case.

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
    )
    if found is None:
        raise HTTPException(410)
    return found


def _case_page(
    desk: ReviewDesk,
    session: ReviewSession,
    evidence: CaseEvidence,
    *,
    reveal: bool = False,
    told: str = "",
    refused: AnswerOutcome | None = None,
    given: _AnswerForm | None = None,
) -> Response:
    text = "" if evidence.post is None else evidence.post.text
    mine = evidence.case.holder == session.reviewer.name
    values = {
        "session": session,
        "evidence": evidence,
        "case": evidence.case,
        "parts": [(spelt_out(one.text) if reveal else one.text, one.decided) for one in evidence.parts],
        "turns": [] if evidence.post is None else evidence.post.turns,
        "unseen": unseen(text),
        "reveal": reveal,
        "left_s": max(0, int(evidence.case.held_until - time.time())) if mine else None,
        "told": told,
        "refused": "" if refused is None else refused.changed,
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
