"""What only leads do: reopen a case, make one golden, lift a flood."""

from typing import Annotated

from fastapi import Depends, FastAPI, Form, HTTPException
from starlette.responses import RedirectResponse, Response

from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.review.rights import Right
from sluicegate.pipeline.review.web.sessions import ReviewSession, Sessions
from sluicegate.schemas import Action

_LIFTED = 200


def add_lead_pages(app: FastAPI, desk: ReviewDesk, sessions: Sessions) -> None:
    """Add what leads do.

    Args:
        app: To it.
        desk: It runs.
        sessions: Who asks.
    """
    Sending = Annotated[ReviewSession, Depends(sessions.sending(Right.LEAD))]  # noqa: N806 - a type

    @app.post("/cases/{case_id}/reopen")
    def reopen(session: Sending, case_id: str) -> Response:
        with desk.store.writing() as connection:
            done = desk.decisions.reopen(connection, case_id, session.reviewer)
        desk.outbox.wake()
        return RedirectResponse(f"/cases/{case_id}" if done else "/queue", 303)

    @app.post("/cases/{case_id}/golden")
    def make_golden(session: Sending, case_id: str) -> Response:
        with desk.store.writing() as connection:
            desk.decisions.make_golden(connection, case_id, session.reviewer)
        return RedirectResponse(f"/cases/{case_id}", 303)

    @app.post("/lift")
    def lift(
        session: Sending,
        tenant: Annotated[str, Form(max_length=64)],
        policy: Annotated[str, Form(max_length=128)],
        action: Annotated[Action, Form()],
    ) -> Response:
        """Decide what the button named, and nothing else: a sample may say something else by now."""
        allowed = session.reviewer.tenants
        if allowed and tenant not in allowed:
            raise HTTPException(403)
        size = desk.settings.lift_sample
        decided, done = 0, _LIFTED
        while done == _LIFTED:  # some hundreds a transaction: others go on meanwhile
            with desk.store.writing() as connection:
                done = desk.decisions.lift(
                    connection,
                    tenant,
                    session.reviewer,
                    policy=policy,
                    action=action,
                    size=size,
                    most=_LIFTED,
                )
            decided += done
            desk.outbox.wake()
        return RedirectResponse(f"/queue?told={'lifted' if decided else 'not_lifted'}", 303)
