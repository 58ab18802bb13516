"""Layouts: what every layout is made of and answers, and the compact one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import orjson

from sluicegate.schemas import Kind, Post

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


# The labels are named so that a model that was never adapted has something to go by.
_TASK: dict[Kind, str] = {
    "post": "<|im_start|>system\nRate the post: Safe, Controversial or Unsafe.",
    "prompt": "<|im_start|>system\nRate the prompt: Safe, Controversial or Unsafe.",
    "response": "<|im_start|>system\nRate the response: Safe, Controversial or Unsafe.",
}
_REGION = "\nRegion:"
_LANGUAGE = "\nLanguage:"
_USER = "<|im_end|>\n<|im_start|>user\n"
_ASSISTANT = "<|im_end|>\n<|im_start|>assistant\n"


class CompactLayout:
    """Chat turns between control tokens, which are the only delimiters.

    Nothing an author types can close a turn, so nothing in the text needs to be changed.
    The judged text is the last turn before the answer: an assistant's for a response,
    a user's otherwise. Earlier turns of the context stand before it.
    """

    name = "compact"

    def __init__(self) -> None:
        self.digest = static_digest([self.name, _TASK, _REGION, _LANGUAGE, _USER, _ASSISTANT, LABEL_HEAD])

    def content(self, text: str) -> str:
        """The text itself."""
        return text

    def render(self, post: Post) -> list[Piece]:
        """Pieces of one prompt; see :class:`~sluicegate.engines.layouts.layout.Layout`."""
        pieces: list[Piece] = [Static(_TASK[post.kind])]
        if post.region:
            pieces += [Static(_REGION), Hint(f" {post.region}")]
        if post.language:
            pieces += [Static(_LANGUAGE), Hint(f" {post.language}")]
        for turn in post.turns:
            pieces += [Static(_USER if turn.role == "user" else _ASSISTANT), Content(turn.text)]
        pieces += [Static(_ASSISTANT if post.kind == "response" else _USER), Content(post.text)]
        pieces.append(Static(_ASSISTANT + LABEL_HEAD))
        return pieces
