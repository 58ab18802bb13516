"""Posts to prompts: layout, token ids, the length limit, and the passages that are judged apart."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from sluicegate.engines.bundle.tokenizer import TextTokenizer
from sluicegate.engines.layouts import Content, Layout, Piece, Static
from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.schemas import FailureCode, Kind, Post

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


Frames: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
"""Tokens before a text, and those after it."""

_CACHED_PIECES = 4096  # hints are the producer's: many values, yet bounded


class Prompter:
    """Builds prompts for one tokenizer and one layout.

    Blocking and thread-safe; meant for a thread pool. Static pieces are encoded once, and joined once for each kind,
    region and language.

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
        self._hint_ids = lru_cache(_CACHED_PIECES)(lambda text: tuple(tokenizer.encode_text(text)))
        self._frame = lru_cache(_CACHED_PIECES)(self._around)

    def build(self, post: Post) -> Prompt | ItemFailure:
        """The prompt of one post, or ``too_long``."""
        return self.build_many([post])[0]

    def build_many(self, posts: Sequence[Post]) -> list[Prompt | ItemFailure]:
        """Prompts of many posts, tokenised as one batch: ``n`` in, ``n`` out, in order.

        The costliest record found, 256 KiB of digits, takes 0.3 to 0.7 s before it is refused as
        too long; other threads paused for at most 0.16 s meanwhile (measured on two busy cores).
        """
        rendered = [None if post.context is None else self.layout.render(post) for post in posts]
        texts: list[str] = []
        for post, pieces in zip(posts, rendered, strict=True):
            if pieces is None:
                texts.append(self.layout.said(post.text).text)
            else:
                texts += [piece.text for piece in pieces if isinstance(piece, Content)]
        encoded = iter(self.tokenizer.encode_texts(texts))
        return [
            self._framed(post, next(encoded)) if pieces is None else self._assemble(post, pieces, encoded)
            for post, pieces in zip(posts, rendered, strict=True)
        ]

    def _framed(self, post: Post, content: list[int]) -> Prompt | ItemFailure:
        """The prompt of a post without a context, as most are: only its text is not known beforehand."""
        before, after = self._frame(post.kind, post.region, post.language)
        first, tokens = len(before), len(content)
        if first + tokens + len(after) > self.max_prompt_tokens:
            return self._too_long(first + tokens + len(after))
        return Prompt(
            (*before, *content, *after), post.kind, shared_tokens=first, content=(first, first + tokens)
        )

    def _around(self, kind: Kind, region: str | None, language: str | None) -> Frames:
        """Tokens before and after the text of every post of this kind and these hints, where it has no context."""
        sides: tuple[list[int], list[int]] = [], []
        side = 0
        for piece in self.layout.render(
            Post(id="any", text="any", kind=kind, region=region, language=language)
        ):
            if isinstance(piece, Content):
                side = 1
            else:
                ids = self._static_ids if isinstance(piece, Static) else self._hint_ids
                sides[side].extend(ids(piece.text))
        return tuple(sides[0]), tuple(sides[1])

    def _too_long(self, tokens: int) -> ItemFailure:
        return ItemFailure(
            FailureCode.TOO_LONG, f"{tokens} prompt tokens; the limit is {self.max_prompt_tokens}"
        )

    def _assemble(
        self, post: Post, pieces: list[Piece], encoded: Iterator[list[int]]
    ) -> Prompt | ItemFailure:
        ids: list[int] = []
        first, last = -1, -1
        for piece in pieces:
            if isinstance(piece, Content):
                first = len(ids) if first < 0 else first
                ids += next(encoded)
                last = len(ids)
            elif isinstance(piece, Static):
                ids += self._static_ids(piece.text)
            else:
                ids += self._hint_ids(piece.text)
        if len(ids) > self.max_prompt_tokens:
            return self._too_long(len(ids))
        return Prompt(token_ids=tuple(ids), kind=post.kind, shared_tokens=first, content=(first, last))
