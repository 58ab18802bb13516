"""An OpenID Connect issuer of a test's own: it asks nobody for a password, and can be told to lie."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI, Request
from joserfc import jwt
from joserfc.jwk import RSAKey
from starlette.responses import JSONResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = RSAKey.generate_key(2048, {"kid": "first"})


@dataclass
class TestIssuer:
    """What the issuer says."""

    __test__ = False  # no test of pytest's

    address: str = ""
    claims: dict[str, Any] = field(
        default_factory=lambda: {"sub": "alice@example.org", "roles": ["reviewer"]}
    )
    lies: dict[str, Any] = field(default_factory=dict)
    """Claims that replace the right ones, such as another ``aud``."""
    key: RSAKey = field(default_factory=lambda: KEY)
    asked: dict[str, dict[str, str]] = field(default_factory=dict)
    """What each code was asked for with."""


@contextmanager
def issuing() -> Iterator[TestIssuer]:
    """An issuer on a loopback port."""
    issuer = TestIssuer()
    app = FastAPI()

    @app.get("/.well-known/openid-configuration")
    def found() -> dict[str, str]:
        names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return {"issuer": issuer.address, **{name: f"{issuer.address}/{at}" for name, at in names.items()}}

    @app.get("/authorize")
    def authorize(request: Request) -> Response:
        asked = dict(request.query_params)
        code = f"code-{len(issuer.asked)}"
        issuer.asked[code] = asked
        return RedirectResponse(
            f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"
        )

    @app.post("/token")
    async def token(request: Request) -> Response:
        form = await request.form()
        asked = issuer.asked.get(str(form["code"]), {})
        verifier = hashlib.sha256(str(form.get("code_verifier", "")).encode()).digest()
        if base64.urlsafe_b64encode(verifier).rstrip(b"=").decode() != asked.get("code_challenge"):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        right = {
            "iss": issuer.address,
            "aud": asked["client_id"],
            "exp": now + 60,
            "iat": now,
            "nonce": asked["nonce"],
        }
        signed = jwt.encode(
            {"alg": "RS256", "kid": "first"}, {**right, **issuer.claims, **issuer.lies}, issuer.key
        )
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": signed})

    @app.get("/keys")
    def keys() -> dict[str, Any]:
        return {"keys": [KEY.as_dict(private=False)]}

    with socket.create_server(("127.0.0.1", 0)) as listening:
        issuer.address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield issuer
        finally:
            server.should_exit = True
            thread.join()
