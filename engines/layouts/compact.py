"""The compact layout: as few tokens of ours as possible, nearly all of them before the post."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sluicegate.engines.layouts.base import LABEL_HEAD, Content, Hint, Static, static_digest

if TYPE_CHECKING:
    from sluicegate.engines.layouts.base import Piece
    from sluicegate.schemas import Kind, Post

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
        """Pieces of one prompt; see :class:`~sluicegate.engines.layouts.base.Layout`."""
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
