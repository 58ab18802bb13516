"""Login by an OpenID Connect issuer: authorization code with PKCE. The issuer knows names; the desk keeps a pseudonym."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import Any

import httpx2
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy import delete, insert, select

from sluicegate.pipeline.review.rights import RIGHTS
from sluicegate.pipeline.review.store import ReviewStore
from sluicegate.pipeline.review.tables import logins
from sluicegate.pipeline.settings.tree import ReviewSettings

CALLBACK = "/login/back"
_LOGIN_S = 600.0
_ANSWER_S = 10.0
_LEEWAY_S = 60
_ALGORITHMS = ["RS256", "ES256", "PS256", "EdDSA"]
"""Never ``none``, and no shared secret: only the issuer can sign."""
_ORDER = ("lead", "reviewer", "policy_editor", "auditor", "administrator")
"""Of several roles the first."""


class LoginRefusedError(Exception):
    """Somebody may not log in, or the issuer's answer cannot be trusted. The message is for the log."""


@dataclass(frozen=True, slots=True)
class Identified:
    """Who the issuer says it is."""

    pseudonym: str
    role: str
    tenants: tuple[str, ...]


class Issuer:
    """Sends people to the issuer, and reads what comes back.

    Args:
        settings: The desk's, with an issuer.
        store: Where logins wait that have not come back.
    """

    def __init__(self, settings: ReviewSettings, store: ReviewStore) -> None:
        assert settings.key is not None  # noqa: S101 - the settings see to it
        self._settings = settings
        self._store = store
        self._key = settings.key.get_secret_value().encode()
        self._found: dict[str, Any] | None = None

    def begin(self) -> tuple[str, str]:
        """The issuer's address to send a browser to, and the state that its cookie must hold on the way back.

        Raises:
            LoginRefusedError: The issuer does not answer.
        """
        state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
        now = time.time()
        with self._store.writing() as connection:
            connection.execute(delete(logins).where(logins.c.begun_at < now - _LOGIN_S))
            connection.execute(
                insert(logins).values(state_hash=_hashed(state), nonce=nonce, verifier=verifier, begun_at=now)
            )
        with self._client() as client:
            address, _ = client.create_authorization_url(
                self._endpoint("authorization_endpoint"), state=state, nonce=nonce, code_verifier=verifier
            )
        return str(address), state

    def finish(self, code: str, state: str, kept: str) -> Identified:
        """Who came back.

        Args:
            code: Of the issuer.
            state: As the address has it.
            kept: The same, as the browser's cookie has it.

        Raises:
            LoginRefusedError: It is nobody whom this browser sent, or the issuer's answer cannot be trusted.
        """
        if not state or not hmac.compare_digest(state.encode(), kept.encode()):
            raise LoginRefusedError("the browser did not begin this login")
        with self._store.writing() as connection:
            row = connection.execute(select(logins).where(logins.c.state_hash == _hashed(state))).first()
            connection.execute(delete(logins).where(logins.c.state_hash == _hashed(state)))
        if row is None or row.begun_at < time.time() - _LOGIN_S:
            raise LoginRefusedError("the login took too long, or was used before")
        try:
            with self._client() as client:
                token = client.fetch_token(
                    self._endpoint("token_endpoint"), code=code, code_verifier=row.verifier
                )
            keys = _read(self._endpoint("jwks_uri"))
            claims = self._claims(token.get("id_token"), keys, row.nonce)
        except (OAuthError, JoseError, httpx2.HTTPError, ValueError) as error:
            raise LoginRefusedError(f"the issuer's answer cannot be used ({type(error).__name__})") from error
        return self._identified(claims)

    def _client(self) -> OAuth2Client:
        secret = self._settings.oidc_client_secret
        return OAuth2Client(
            self._settings.oidc_client_id,
            None if secret is None else secret.get_secret_value(),
            scope="openid",
            redirect_uri=f"{self._settings.public_url}{CALLBACK}",
            code_challenge_method="S256",
            token_endpoint_auth_method="none" if secret is None else "client_secret_basic",
            timeout=_ANSWER_S,
        )

    def _endpoint(self, name: str) -> str:
        if self._found is None:
            issuer = self._settings.oidc_issuer
            place = f"{str(issuer).rstrip('/')}/.well-known/openid-configuration"
            try:
                found = _read(place)
            except (httpx2.HTTPError, ValueError) as error:
                raise LoginRefusedError(f"the issuer does not answer ({type(error).__name__})") from error
            if found.get("issuer") != issuer:
                raise LoginRefusedError("the issuer calls itself otherwise than review.oidc_issuer does")
            self._found = found
        return str(self._found[name])

    def _claims(self, token: object, keys: Any, nonce: str) -> dict[str, Any]:
        found = jwt.decode(str(token), KeySet.import_key_set(keys), algorithms=_ALGORITHMS)
        checks = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": str(self._settings.oidc_issuer)},
            aud={"essential": True, "value": str(self._settings.oidc_client_id)},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        checks.validate(found.claims)
        return dict(found.claims)

    def _identified(self, claims: dict[str, Any]) -> Identified:
        named = {*_texts(claims.get(self._settings.oidc_role_claim))} & RIGHTS.keys()
        role = next((one for one in _ORDER if one in named), None)
        pseudonym = self._pseudonym(str(claims["sub"]))
        if role is None:
            raise LoginRefusedError(f"{pseudonym} has no role of the desk")
        claim = self._settings.oidc_tenant_claim
        tenants = tuple(_texts(claims.get(claim))) if claim is not None else ()
        if claim is not None and not tenants:  # none of them would be all of them
            raise LoginRefusedError(f"{pseudonym} has no tenant")
        return Identified(pseudonym, role, tenants)

    def _pseudonym(self, subject: str) -> str:
        parts = f"reviewer\x00{self._settings.oidc_issuer}\x00{subject}".encode()
        return f"r-{hmac.new(self._key, parts, hashlib.sha256).hexdigest()[:12]}"


def _read(place: str) -> Any:
    return httpx2.get(place, timeout=_ANSWER_S).raise_for_status().json()


def _texts(claim: object) -> list[str]:
    """A claim of one text, or of several."""
    if isinstance(claim, str):
        return claim.split()
    return [one for one in claim if isinstance(one, str)] if isinstance(claim, list) else []


def _hashed(state: str) -> str:
    return hashlib.sha256(state.encode()).hexdigest()
