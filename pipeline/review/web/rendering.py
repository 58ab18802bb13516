"""Rendering: templates, message catalogues, and hostile text as nothing but text."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

_HERE = Path(__file__).parent
LANGUAGES = ("en", "zh")
STATIC = _HERE / "static"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    # With `no-referrer`, Chromium calls the origin of our own forms null, and they would be refused.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every answer: nothing is loaded from elsewhere, framed, or kept by the browser."""


@cache
def messages(language: str) -> Mapping[str, str]:
    """The catalogue of a language; English where there is none."""
    name = language if language in LANGUAGES else LANGUAGES[0]
    found: dict[str, str] = orjson.loads((_HERE / "messages" / f"{name}.json").read_bytes())
    return found


def translated(language: str, sentence: str) -> str:
    """A sentence of the desk's own in a language; as it is where the catalogue does not have it."""
    return messages(language).get(sentence, sentence)


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(template: str, language: str, values: Mapping[str, Any], *, status: int = 200) -> HTMLResponse:
    """A page.

    Args:
        template: Its file.
        language: Of the messages on it.
        values: What it shows.
        status: Of the answer.
    """
    catalogue = messages(language)

    def say(name: str, **parts: object) -> str:
        return catalogue[name].format(**parts)

    text = _environment().get_template(template).render(say=say, language=language, **values)
    return HTMLResponse(text, status_code=status)
