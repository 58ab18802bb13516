"""Posts to prompts: layout, token ids, the length limit, and the passages that are judged apart."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol

from sluicegate.engines.bundle.tokenizer import TextTokenizer
from sluicegate.engines.layouts import Content, Layout, Piece, Static
from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.schemas import FailureCode, Post

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Passage(NamedTuple):
    """A half-open range of characters that is to be judged apart."""

    start: int
    end: int
    least_unsafe: float = 0.0
    """What is found of it counts only with this P(unsafe) or more."""


class PassageFinder(Protocol):
    """Says which passages of a text are to be judged apart."""

    def riskiest(self, text: str) -> Sequence[Passage]:
        """The riskiest first; none of most texts."""
        ...


_CACHED_PIECES = 4096  # hints are the producer's: many values, yet bounded


class Prompter:
    """Builds prompts for one tokenizer and one layout.

    Blocking and thread-safe; meant for a thread pool. Static pieces are encoded once.

    Args:
        tokenizer: Encodes static text and content.
        layout: Places the post between static texts.
        max_prompt_tokens: Longest prompt, our own tokens included.
    """

    def __init__(self, tokenizer: TextTokenizer, layout: Layout, *, max_prompt_tokens: int) -> None:
        self.tokenizer = tokenizer
        self.layout = layout
        self.max_prompt_tokens = max_prompt_tokens
        self._static_ids = lru_cache(_CACHED_PIECES)(lambda text: tuple(tokenizer.encode_static(text)))
        self._ids: dict[int, int] = {}  # one object for each token of the vocabulary, as they come
        self._hint_ids = lru_cache(_CACHED_PIECES)(lambda text: tuple(tokenizer.encode_text(text)))

    def build(self, post: Post) -> Prompt | ItemFailure:
        """The prompt of one post, or ``too_long``."""
        return self.build_many([post])[0]

    def build_many(self, posts: Sequence[Post]) -> list[Prompt | ItemFailure]:
        """Prompts of many posts, tokenised as one batch: ``n`` in, ``n`` out, in order.

        The costliest record found, 256 KiB of digits, takes 0.3 to 0.7 s before it is refused as
        too long; other threads paused for at most 0.16 s meanwhile (measured on two busy cores).
        """
        rendered = [self.layout.render(post) for post in posts]
        texts = [piece.text for pieces in rendered for piece in pieces if isinstance(piece, Content)]
        encoded = iter(self.tokenizer.encode_texts(texts))
        return [self._assemble(post, pieces, encoded) for post, pieces in zip(posts, rendered, strict=True)]

    def _assemble(
        self, post: Post, pieces: list[Piece], encoded: Iterator[list[int]]
    ) -> Prompt | ItemFailure:
        ids: list[int] = []
        first, last = -1, -1
        for piece in pieces:
            if isinstance(piece, Content):
                first = len(ids) if first < 0 else first
                found = next(encoded)
                # Every int that the tokenizer gives is a new object, and a window holds millions of tokens.
                ids += map(self._ids.setdefault, found, found)
                last = len(ids)
            elif isinstance(piece, Static):
                ids += self._static_ids(piece.text)
            else:
                ids += self._hint_ids(piece.text)
        if len(ids) > self.max_prompt_tokens:
            return ItemFailure(
                FailureCode.TOO_LONG, f"{len(ids)} prompt tokens; the limit is {self.max_prompt_tokens}"
            )
        return Prompt(token_ids=tuple(ids), kind=post.kind, shared_tokens=first, content=(first, last))
