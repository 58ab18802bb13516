"""Login by an issuer: who gets in, as whom, and every answer that is not believed."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from joserfc.jwk import RSAKey
from pydantic import SecretStr, ValidationError
from sqlalchemy import select

from sluicegate.pipeline.review.tables import events, sessions
from sluicegate.pipeline.review.web.login import add_login
from sluicegate.pipeline.review.web.oidc import Identified, Issuer, LoginRefusedError
from sluicegate.pipeline.review.web.sessions import Sessions
from sluicegate.pipeline.settings.tree import ReviewSettings
from support.issuer import TestIssuer, issuing
from support.review_store import opened

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sluicegate.pipeline.review.store import ReviewStore

PUBLIC = "https://review.example"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ReviewStore]:
    with opened(f"sqlite:///{tmp_path / 'review.db'}") as made:
        yield made


@contextmanager
def asked(store: ReviewStore, **settings: Any) -> Iterator[tuple[TestIssuer, Issuer]]:
    with issuing() as there:
        given = {
            "oidc_issuer": there.address,
            "oidc_client_id": "desk",
            "public_url": PUBLIC,
            "key": SecretStr("k" * 32),
            **settings,
        }
        yield there, Issuer(ReviewSettings(**given), store)


def sent(address: str) -> tuple[str, str]:
    """What the issuer sends the browser back with: code and state."""
    back = httpx.get(address, follow_redirects=False).headers["location"]
    assert back.startswith(f"{PUBLIC}/login/back?")
    query = httpx.URL(back).params
    return query["code"], query["state"]


def log_in(issuer: Issuer) -> Identified:
    address, state = issuer.begin()
    code, returned = sent(address)
    return issuer.finish(code, returned, state)


def test_somebody_with_a_role_gets_in_under_a_pseudonym_that_stays(store: ReviewStore) -> None:
    with asked(store) as (_, issuer):
        first, again = log_in(issuer), log_in(issuer)
    assert first == again
    assert (first.role, first.tenants) == ("reviewer", ())
    assert first.pseudonym.startswith("r-")
    assert "alice" not in first.pseudonym


def test_the_code_is_asked_for_with_pkce_and_a_nonce(store: ReviewStore) -> None:
    with asked(store) as (there, issuer):
        log_in(issuer)
        (request,) = there.asked.values()
    assert (request["code_challenge_method"], request["response_type"]) == ("S256", "code")
    assert len(request["code_challenge"]) == 43
    assert len(request["nonce"]) > 40


@pytest.mark.parametrize(
    "lie",
    [
        {"aud": "another"},
        {"iss": "https://evil.example"},
        {"exp": int(time.time()) - 3600},
        {"nonce": "stolen"},
        {"sub": None},
    ],
    ids=lambda lie: next(iter(lie)),
)
def test_a_token_that_is_not_for_this_login_is_refused(store: ReviewStore, lie: dict[str, Any]) -> None:
    with asked(store) as (there, issuer):
        there.lies = lie
        with pytest.raises(LoginRefusedError):
            log_in(issuer)


def test_a_token_that_somebody_else_signed_is_refused(store: ReviewStore) -> None:
    with asked(store) as (there, issuer):
        there.key = RSAKey.generate_key(2048, {"kid": "first"})
        with pytest.raises(LoginRefusedError, match="cannot be used"):
            log_in(issuer)


@pytest.mark.parametrize("roles", [[], ["root"], "chief", None, {"reviewer": True}])
def test_who_has_no_role_of_the_desk_stays_outside(store: ReviewStore, roles: Any) -> None:
    with asked(store) as (there, issuer):
        there.claims["roles"] = roles
        with pytest.raises(LoginRefusedError, match="no role"):
            log_in(issuer)


def test_of_several_roles_the_one_that_decides_most_counts_and_tenants_come_from_their_claim(
    store: ReviewStore,
) -> None:
    with asked(store, oidc_tenant_claim="forums") as (there, issuer):
        there.claims |= {"roles": "auditor reviewer lead", "forums": ["one", "two"]}
        assert (log_in(issuer).role, log_in(issuer).tenants) == ("lead", ("one", "two"))
        there.claims["forums"] = []
        with pytest.raises(LoginRefusedError, match="no tenant"):
            log_in(issuer)


def test_a_login_that_another_browser_began_or_that_was_used_is_refused(store: ReviewStore) -> None:
    with asked(store) as (_, issuer):
        address, state = issuer.begin()
        code, returned = sent(address)
        for kept in ("", "another"):
            with pytest.raises(LoginRefusedError, match="did not begin"):
                issuer.finish(code, returned, kept)
        issuer.finish(code, returned, state)
        with pytest.raises(LoginRefusedError, match="used before"):
            issuer.finish(code, returned, state)


def test_an_issuer_that_is_away_or_calls_itself_otherwise_is_told(store: ReviewStore) -> None:
    away = ReviewSettings(
        oidc_issuer="http://127.0.0.1:1",
        oidc_client_id="desk",
        public_url=PUBLIC,
        key=SecretStr("k" * 32),
    )
    with pytest.raises(LoginRefusedError, match="does not answer"):
        Issuer(away, store).begin()
    with asked(store) as (there, issuer):
        there.address += "/other"
        with pytest.raises(LoginRefusedError):
            issuer.begin()


def test_an_issuer_without_what_it_needs_is_refused_by_the_settings() -> None:
    with pytest.raises(ValidationError, match=r"public_url"):
        ReviewSettings(oidc_issuer="https://login.example", oidc_client_id="desk")


def test_a_browser_goes_there_and_back_and_has_a_session_with_a_cookie_for_this_host_alone(
    store: ReviewStore,
) -> None:
    with asked(store) as (_, issuer):
        app = FastAPI()
        add_login(app, Sessions(store, secure=True), issuer, demo=False)
        transport = _Direct(app)
        start = transport.get("/login/start")
        kept = start.headers["set-cookie"].partition(";")[0]
        assert kept.startswith("__Host-sluicegate-review-login=")
        code, state = sent(start.headers["location"])
        back = transport.get(f"/login/back?code={code}&state={state}", cookie=kept)
        given = [value for name, value in back.headers.multi_items() if name == "set-cookie"]
        (cookie,) = [one for one in given if one.startswith("__Host-sluicegate-review=")]
        for word in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
            assert word in cookie
        assert transport.get(f"/login/back?code={code}&state=forged", cookie=kept).status_code == 403
    with store.reading() as connection:
        (who,) = connection.execute(select(sessions.c.reviewer)).scalars()
        told = connection.execute(select(events.c.what)).scalars().all()
    assert who.startswith("r-")
    assert told == ["logged in"]


class _Direct:
    """Asks an application without a port."""

    def __init__(self, app: FastAPI) -> None:
        self._transport = httpx.ASGITransport(app)

    def get(self, place: str, cookie: str = "") -> httpx.Response:
        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url=PUBLIC) as client:
                return await client.get(place, headers={"cookie": cookie} if cookie else {})

        return asyncio.run(ask())
