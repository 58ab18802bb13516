"""Tokens for Kafka's own check of unsigned ones, as ``kafka.security.oauth_callback`` names it."""

from __future__ import annotations

import base64
import json
import os
import time

_LASTS_S = 5.0  # so that a test sees a second one
USER = "guard"
FAULT = "TOKEN_FAULT"
"""An environment variable: with it no token is given, and the fault quotes it."""


def token(_config: str) -> tuple[str, float]:
    """A token for the user, and when it expires."""
    if fault := os.environ.get(FAULT):
        raise ValueError(fault)
    now = time.time()
    claims = {"sub": USER, "iat": now - 1, "exp": now + _LASTS_S}
    return f"{_part({'alg': 'none'})}.{_part(claims)}.", now + _LASTS_S


def _part(content: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()
