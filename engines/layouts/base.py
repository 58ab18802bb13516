"""What a layout is made of, and what every layout answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import orjson

if TYPE_CHECKING:
    from sluicegate.schemas import Post

LABEL_HEAD = "Safety:"
"""Every prompt ends in this, with no space after it: the label's own token brings the space."""


@dataclass(frozen=True, slots=True)
class Static:
    """Our own text. Control tokens in it act."""

    text: str


@dataclass(frozen=True, slots=True)
class Hint:
    """A short value the producer set, such as a region. Part of the shared prefix; control tokens never act."""

    text: str


@dataclass(frozen=True, slots=True)
class Content:
    """Text of an author: the post or its context. Control tokens never act."""

    text: str


Piece: TypeAlias = Static | Hint | Content


class Layout(Protocol):
    """Places a post between static texts. Pure: equal posts give equal pieces."""

    @property
    def name(self) -> str:
        """The layout's name, as a bundle's manifest gives it."""
        ...

    @property
    def digest(self) -> str:
        """``sha256:…`` over all text of ours. Another digest is another prompt for every post."""
        ...

    def content(self, text: str) -> str:
        """What a text of an author becomes in a prompt; nowhere shorter than it was."""
        ...

    def render(self, post: Post) -> list[Piece]:
        """Pieces of one prompt, in order.

        Pieces are tokenised one by one, so that a static piece has the same ids in every
        prompt. The last one is static and ends in :data:`LABEL_HEAD`.
        """
        ...


def static_digest(form: object) -> str:
    """Digest of a layout's static form, given as plain JSON values."""
    return f"sha256:{hashlib.sha256(orjson.dumps(form, option=orjson.OPT_SORT_KEYS)).hexdigest()}"
