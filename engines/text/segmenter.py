"""Long posts: judged in overlapping segments that end at sentences, so that no part goes unread.

The same for a post's folded form (``engines.text.forms``), which is judged beside the original. For a model that
overlooks one sentence among many, the riskiest passages of each are judged apart, too (``engines.text.passages``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.engines.text.forms import fold
from sluicegate.engines.text.forms.invisible import hides_something, joined_alike
from sluicegate.engines.text.prompting import PassageFinder, Prompter
from sluicegate.schemas import FailureCode, Post, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence


# One mark and what must follow it: matching is linear in the text, whatever an author repeats.
_SENTENCE_END = re.compile(r"[.!?…।؟][\s\"'”’)]|[。！？\n]")
_PIECE_CHARACTERS = 120  # shorter sentences are joined: 256 KiB of "a. a. a." must not be 85,000 pieces
_OVERLAP_SHARE = (
    8  # an eighth of a segment is read twice: a sentence pair at a seam stands whole in one of them
)
_CONTEXT_SHARE = 4  # of a prompt that is too long, the context keeps at most a quarter
_MARGIN_TOKENS = 16  # pieces tokenised apart and together differ by a token or so at each seam
_ATTEMPTS = 4


@dataclass(frozen=True, slots=True)
class LengthLimits:
    """What a tenant lets be judged at most."""

    tokens: int
    """Of the post's own text."""
    segments: int


@dataclass(slots=True)  # frozen, each would take twice as long to make
class Part:
    """One segment: its prompt, and the half-open range of characters of the text that it judges. Nobody changes it."""

    prompt: Prompt
    start: int
    end: int
    folded: bool = False
    """True if the text is the post's folded form, not the post as it came."""
    least_unsafe: float = 0.0
    """Of a passage: what is found counts only with this P(unsafe) or more."""


@dataclass(slots=True)  # as a part
class Parts:
    """Everything that is to be judged of one post, in order. Together the original's parts cover the text."""

    parts: tuple[Part, ...]
    context_cut_characters: int = 0
    """How much was cut from the oldest side of the context."""
    rules: tuple[str, ...] = ()
    """The rules that folded the text, where parts of the folded form follow the original's."""
    turns: tuple[Turn, ...] | None = None
    """What was kept of the context; None for all of it."""

    @property
    def least_unsafe(self) -> dict[int, float]:
        """By number of a part: the P(unsafe) below which it does not decide. Parts that always count are not in it."""
        return {number: part.least_unsafe for number, part in enumerate(self.parts) if part.least_unsafe > 0}


class Segmenter:
    """Builds the prompts of posts of any length. Blocking and thread-safe; meant for a thread pool.

    Args:
        prompter: Builds one prompt.
        folds: Also build the prompts of a post's folded form, where it differs in substance.
        passages: Finds what is judged apart; None for a model that does not need it.
    """

    def __init__(
        self, prompter: Prompter, *, folds: bool = False, passages: PassageFinder | None = None
    ) -> None:
        self._prompter = prompter
        self._folds = folds
        self._passages = passages

    def build_many(self, posts: Sequence[Post], limits: Sequence[LengthLimits]) -> list[Parts | ItemFailure]:
        """Prompts of many posts: ``n`` in, ``n`` out, in order.

        A post that fits is one part, built with the others in one batch. A longer one is cut into
        segments; one beyond its limits is ``too_long``. A folded form may take as many segments again, and twice
        the tokens. A post whose folded form takes more is ``too_long``: what ordinary letters stand for
        is hardly ever longer, so somebody wants it unread. Where the two forms look the same, and people are to read
        them, the folded form alone is asked about.
        """
        found = self._build_many(posts, limits)
        return self._with_folded(posts, limits, found) if self._folds else found

    def _with_folded(
        self, posts: Sequence[Post], limits: Sequence[LengthLimits], found: list[Parts | ItemFailure]
    ) -> list[Parts | ItemFailure]:
        wanted: dict[int, tuple[Post, LengthLimits, tuple[str, ...]]] = {}
        read_so: set[int] = set()
        for number, (post, limit, parts) in enumerate(zip(posts, limits, found, strict=True)):
            if isinstance(parts, ItemFailure):
                continue
            folded = fold(post.text)
            if folded.differs and folded.text.strip():
                changed = post.model_copy(update={"text": folded.text})
                wanted[number] = changed, LengthLimits(2 * limit.tokens, limit.segments), folded.rules
                # People read a post; an LLM reads prompts and responses as they came.
                if (
                    post.kind == "post"
                    and folded.looks_the_same
                    and not hides_something(post.text)
                    and joined_alike(post.text, folded.text)
                ):
                    read_so.add(number)
        built = self._build_many(
            [post for post, *_ in wanted.values()], [limit for _, limit, _ in wanted.values()]
        )
        for (number, (_, _, rules)), second in zip(wanted.items(), built, strict=True):
            first = found[number]
            if isinstance(second, ItemFailure):
                found[number] = replace(second, detail=f"folded form: {second.detail}")
            elif isinstance(first, Parts):
                found[number] = _together(first, second, rules, instead=number in read_so)
        return found

    def _build_many(self, posts: Sequence[Post], limits: Sequence[LengthLimits]) -> list[Parts | ItemFailure]:
        built = self._prompter.build_many(posts)
        found = [
            self._whole(post, prompt, limit) if isinstance(prompt, Prompt) else self._cut(post, limit)
            for post, prompt, limit in zip(posts, built, limits, strict=True)
        ]
        return found if self._passages is None else self._with_passages(posts, found, self._passages)

    def _with_passages(
        self, posts: Sequence[Post], found: list[Parts | ItemFailure], passages: PassageFinder
    ) -> list[Parts | ItemFailure]:
        """Add the passages of each post that has parts. They count towards no limit: the whole text is read without them."""
        wanted = [
            (number, span)
            for number, parts in enumerate(found)
            if isinstance(parts, Parts)
            for span in passages.riskiest(posts[number].text)
        ]
        built = self._prompter.build_many(
            [
                _part_of(posts[number], _turns_of(posts[number], found[number]), *span[:2])
                for number, span in wanted
            ]
        )
        for (number, span), prompt in zip(wanted, built, strict=True):
            parts = found[number]
            if isinstance(parts, Parts) and isinstance(prompt, Prompt):
                apart = Part(prompt, span.start, span.end, least_unsafe=span.least_unsafe)
                found[number] = replace(parts, parts=(*parts.parts, apart))
        return found

    def _whole(self, post: Post, prompt: Prompt, limit: LengthLimits) -> Parts | ItemFailure:
        first, last = prompt.content
        # What is content holds the context, too: the text is counted alone only where it may be too long.
        if last - first > limit.tokens and (tokens := self._count([post.text])[0]) > limit.tokens:
            return _beyond(tokens, limit)
        return Parts((Part(prompt, 0, len(post.text)),))

    def _cut(self, post: Post, limit: LengthLimits) -> Parts | ItemFailure:
        room = self._prompter.max_prompt_tokens - self._overhead(post, ())
        if (tokens := self._count([post.text])[0]) > limit.tokens:
            return _beyond(
                tokens, limit
            )  # before the search for pieces, which counts everything several times
        pieces = self._pieces(post.text, max(1, room // _OVERLAP_SHARE))
        counts = self._count_content([post.text[start:end] for start, end in pieces])
        tokens = max(tokens, sum(counts))
        turns = self._cut_context(post, max(room - tokens, room // _CONTEXT_SHARE))
        cut = sum(len(turn.text) for turn in post.turns) - sum(len(turn.text) for turn in turns)
        budget = self._prompter.max_prompt_tokens - self._overhead(post, turns)
        for attempt in range(1, _ATTEMPTS + 1):
            spans = _pack(counts, budget - _MARGIN_TOKENS * attempt)
            if len(spans) > limit.segments:
                return ItemFailure(
                    FailureCode.TOO_LONG, f"{len(spans)} segments; the limit is {limit.segments}"
                )
            ranges = [(pieces[first][0], pieces[last - 1][1]) for first, last in spans]
            prompts = self._prompter.build_many([_part_of(post, turns, *span) for span in ranges])
            parts = [
                Part(prompt, *span)
                for prompt, span in zip(prompts, ranges, strict=True)
                if isinstance(prompt, Prompt)
            ]
            if len(parts) == len(ranges):
                return Parts(tuple(parts), cut, turns=turns)
        return ItemFailure(FailureCode.TOO_LONG, "no segment fits beside the context")

    def _overhead(self, post: Post, turns: tuple[Turn, ...]) -> int:
        """Tokens of a prompt beside the text: everything of ours, the hints and the context."""
        bare = self._prompter.build(_part_of(post.model_copy(update={"text": "."}), turns, 0, 1))
        return len(bare.token_ids) if isinstance(bare, Prompt) else self._prompter.max_prompt_tokens

    def _pieces(self, text: str, most_tokens: int) -> list[tuple[int, int]]:
        """Cut a text into ranges that end at sentences where they can, none above ``most_tokens``."""
        whole = _sentences(text)
        done: list[tuple[int, int]] = []
        while whole:
            counts = self._count_content([text[start:end] for start, end in whole])
            halves: list[tuple[int, int]] = []
            for (start, end), count in zip(whole, counts, strict=True):
                if count <= most_tokens or end - start < 2:
                    done.append((start, end))
                else:
                    middle = _near_space(text, start, end)
                    halves += [(start, middle), (middle, end)]
            whole = halves
        return sorted(done)

    def _cut_context(self, post: Post, budget_tokens: int) -> tuple[Turn, ...]:
        """Keep the newest turns that fit; of the newest, if it alone is too long, its end."""
        if not post.turns:
            return ()
        # What a turn costs beside its text, from a turn of one token.
        frame = self._overhead(post, (Turn(role="user", text="."),)) - self._overhead(post, ()) - 1
        kept: list[Turn] = []
        counts = self._count_content([turn.text for turn in post.turns])
        for turn, count in zip(reversed(post.turns), reversed(counts), strict=True):
            if count + frame <= budget_tokens:
                kept.insert(0, turn)
                budget_tokens -= count + frame
                continue
            if not kept:
                text = turn.text
                while len(text) > 1 and self._count_content([text])[0] + frame > budget_tokens:
                    text = text[-(len(text) // 2) :]
                kept = [Turn(role=turn.role, text=text)]
            break
        return tuple(kept)

    def _count_content(self, texts: list[str]) -> list[int]:
        """As they stand in a prompt: a layout may make them longer."""
        return self._count([self._prompter.layout.content(text) for text in texts])

    def _count(self, texts: list[str]) -> list[int]:
        return [len(ids) for ids in self._prompter.tokenizer.encode_texts(texts)]


def _together(original: Parts, folded: Parts, rules: tuple[str, ...], *, instead: bool) -> Parts:
    """The original's parts, and those of the folded form that ask something else of the engine.

    Args:
        original: Of the text as it came.
        folded: Of its folded form.
        rules: What folded it.
        instead: True if the folded form is the text as everybody reads it: the other one is not asked about.
    """
    if instead:
        return replace(folded, parts=tuple(replace(part, folded=True) for part in folded.parts), rules=rules)
    asked: dict[tuple[int, ...], float] = {}
    for part in original.parts:
        asked[part.prompt.token_ids] = min(
            part.least_unsafe, asked.get(part.prompt.token_ids, part.least_unsafe)
        )
    # A passage of the original that counts less often than this part stands for it in nothing but the question.
    added = tuple(
        replace(part, folded=True)
        for part in folded.parts
        if (known := asked.get(part.prompt.token_ids)) is None or known > part.least_unsafe
    )
    return replace(original, parts=original.parts + added, rules=rules) if added else original


def _turns_of(post: Post, parts: Parts | ItemFailure) -> tuple[Turn, ...]:
    """The context that a post's parts are judged with."""
    kept = parts.turns if isinstance(parts, Parts) else None
    return post.turns if kept is None else kept


def _part_of(post: Post, turns: tuple[Turn, ...], start: int, end: int) -> Post:
    return post.model_copy(update={"text": post.text[start:end], "context": turns or None})


def _sentences(text: str) -> list[tuple[int, int]]:
    """Ranges of at least ``_PIECE_CHARACTERS`` that end at sentences; together they are the text."""
    found: list[tuple[int, int]] = []
    start = 0
    for match in _SENTENCE_END.finditer(text):
        if match.end() - start >= _PIECE_CHARACTERS:
            found.append((start, match.end()))
            start = match.end()
    if start < len(text):
        found.append((start, len(text)))
    return found


def _near_space(text: str, start: int, end: int) -> int:
    """The middle of a range, moved to just after a space where one stands in its middle half."""
    middle, quarter = (start + end) // 2, (end - start) // 4
    space = text.find(" ", middle, middle + quarter)
    if space < 0:
        space = text.rfind(" ", middle - quarter, middle)
    return space + 1 if space >= 0 else middle


def _beyond(tokens: int, limit: LengthLimits) -> ItemFailure:
    return ItemFailure(FailureCode.TOO_LONG, f"{tokens} tokens; the limit is {limit.tokens}")


def _pack(counts: list[int], budget_tokens: int) -> list[tuple[int, int]]:
    """Pack pieces into segments of at most ``budget_tokens``, each beginning with the end of the last."""
    spans: list[tuple[int, int]] = []
    first = 0
    while True:
        last, used = first, 0
        while last < len(counts) and (last == first or used + counts[last] <= budget_tokens):
            used += counts[last]
            last += 1
        spans.append((first, last))
        if last == len(counts):
            return spans
        back, overlap = last, 0
        # At least one piece, or a text without sentences would have seams that nothing is read across.
        while back - 1 > first and (
            back == last or overlap + counts[back - 1] <= budget_tokens // _OVERLAP_SHARE
        ):
            back -= 1
            overlap += counts[back]
        first = back
