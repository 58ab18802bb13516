"""The floor of CPU time: what any such pipeline has to compute of a post, frozen as it was first measured.

C divides a worker's CPU time by this loop's. So the loop must not change when the product gets faster: what it does post
by post is written out here, slow as it was, and calls none of the product's functions that are made faster. What it
shares with the product is what a post and a verdict are (the models of ``schemas``), the rules of a policy, the layout of
a prompt, the stages of folding and the tokenizer. A test compares its verdicts with the product's.
"""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

import orjson

from sluicegate.engines.layouts import Content, Static
from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.forms.chinese import plain_chinese
from sluicegate.engines.text.forms.folding import RULES, Folded
from sluicegate.engines.text.forms.invisible import without_invisible
from sluicegate.engines.text.forms.leet import without_leet
from sluicegate.engines.text.forms.letters import plain_letters, without_lookalikes
from sluicegate.engines.text.forms.stretched import joined, without_repeats
from sluicegate.engines.text.segmenter import LengthLimits, Part, Parts
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import (
    Action,
    AssessedBy,
    EngineRef,
    Post,
    Scores,
    Segments,
    Timings,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sluicegate.engines.backends import Backend

SAFE = Scores(safe=0.98, controversial=0.01, unsafe=0.01)
"""What the floor finds of every post: it asks no engine."""
TIMES = Timings(queued_ms=1.0, engine_ms=1.0, total_ms=2.0)

_POST_BYTES = 262_144
_NAMESPACE = UUID("5f0e9c0e-9d0b-5b7e-8a50-9f1f1f3f6c11")
_STAGES = (
    without_invisible,
    plain_letters,
    without_lookalikes,
    plain_chinese,
    joined,
    without_leet,
    without_repeats,
)
_ROUNDS = 4


class Floor:
    """Decodes and validates, tokenises, hashes, and makes and encodes a verdict.

    Args:
        backend: Its tokenizer and layout make the prompts; its engine is named, and not asked.
        folds: Also look for a folded form, and tokenise it: what the worker does by default.
    """

    def __init__(self, backend: Backend, *, folds: bool) -> None:
        info = backend.engine.info
        self._info = info
        self._prompts = _Prompts(backend)
        self._folds = folds
        self._policy = Policy.load(None)
        self._resolved: dict[Any, Any] = {}
        self.to_explain = 0
        """Posts that the policy would have explained. The floor asks no engine."""
        self._engine = EngineRef(
            digest=info.digest,
            backend=info.backend,
            model=info.model,
            adapter=info.adapter,
            layout_digest=info.layout_digest,
        )
        self._same: dict[str, Any] = {
            "severity": "safe",
            "scores": SAFE,
            "assessed_by": AssessedBy.ENGINE,
            "engine": self._engine,
            "segments": Segments(),
            "timings": TIMES,
        }

    def verdicts(self, values: Sequence[bytes]) -> list[bytes]:
        """A verdict for each record."""
        posts = [_decode(value) for value in values]
        for prompt in self.asked(posts):
            self.key(prompt)
        return [self._verdict(post) for post in posts]

    def asked(self, posts: list[Post]) -> list[Prompt]:
        """The prompt of each post, and that of its folded form; a post that is too long has none."""
        prompts = self._prompts.build_many(posts)
        if not self._folds:
            return [prompt for prompt in prompts if prompt is not None]
        found = [
            None if prompt is None else Parts((Part(prompt, 0, len(post.text)),))
            for post, prompt in zip(posts, prompts, strict=True)
        ]
        changed: dict[int, tuple[Post, LengthLimits, tuple[str, ...]]] = {}
        for number, (post, parts) in enumerate(zip(posts, found, strict=True)):
            if parts is None:
                continue
            folded = _fold(post.text)
            if folded.differs and folded.text.strip():
                other = post.model_copy(update={"text": folded.text})
                changed[number] = other, LengthLimits(2 * 32_768, 64), folded.rules
        built = self._prompts.build_many([post for post, *_ in changed.values()])
        for (number, (post, _, rules)), prompt in zip(changed.items(), built, strict=True):
            first = found[number]
            if prompt is not None and first is not None:
                part = Part(prompt, 0, len(post.text), folded=True)
                found[number] = replace(first, parts=(*first.parts, part), rules=rules)
        return [part.prompt for parts in found if parts is not None for part in parts.parts]

    def key(self, prompt: Prompt) -> bytes:
        """The key of a prompt in a cache of assessments."""
        head = f"{self._info.digest}\0{self._info.adapter or ''}\0{prompt.kind}\0".encode()
        return hashlib.blake2b(head + array("I", prompt.token_ids).tobytes(), digest_size=24).digest()

    def _verdict(self, post: Post) -> bytes:
        action, rule, disposition = self._decide(post)
        turns = [[turn.role, turn.text] for turn in post.turns]
        hashed = orjson.dumps([post.text, post.kind, turns, post.region, post.language])
        content = f"sha256:{hashlib.sha256(hashed).hexdigest()}"
        named = [
            post.tenant,
            post.id,
            post.revision,
            content,
            self._policy.digest,
            self._engine.digest,
            self._engine.adapter,
            "judged",
            action.value,
        ]
        verdict = Verdict(
            verdict_id=str(uuid5(_NAMESPACE, orjson.dumps(named).decode())),
            post_id=post.id,
            revision=post.revision,
            tenant=post.tenant,
            kind=post.kind,
            content_hash=content,
            author_id=post.author_id,
            language=post.language,
            region=post.region,
            action=action,
            disposition=disposition,
            policy=self._policy.reference(rule),
            judged_at=datetime.now(UTC),
            **self._same,
        )
        return verdict.model_dump_json().encode()

    def _decide(self, post: Post) -> tuple[Action, str, str]:
        """The action, the rule and the disposition."""
        context = self._policy.scope.context_of(post)
        rules = self._resolved.get(context)
        if rules is None:
            rules = self._resolved[context] = self._policy.rules(post)
        self.to_explain += (
            (post.kind == "response" and rules.explain_responses)
            or SAFE.unsafe + SAFE.controversial >= rules.explain_at
            or any(bars.outcome(SAFE)[0] is not Action.ALLOW for bars in (rules, *rules.categories.values()))
        )
        action, rule = rules.outcome(SAFE)
        return action, rule, rules.dispositions[action].name


def _decode(value: bytes) -> Post:
    if len(value) > _POST_BYTES:
        raise ValueError("an oversize record; give a stream of posts")
    document = orjson.loads(value)
    if not isinstance(document, dict) or document.get("text") == "":
        raise ValueError("a record that is no post; give a stream of posts")
    return Post.model_validate(document)


def _fold(text: str) -> Folded:
    """Every stage in turn, until nothing changes."""
    fired: set[str] = set()
    for _ in range(_ROUNDS):
        before = text
        for stage in _STAGES:
            text, rules = stage(text)
            fired.update(rules)
        if text == before:
            break
    return Folded(text, tuple(rule for rule in RULES if rule in fired))


class _Prompts:
    """Each post's pieces, rendered and joined one by one."""

    def __init__(self, backend: Backend) -> None:
        self._layout = backend.prompter.layout
        self._tokenizer = backend.prompter.tokenizer
        self._most = backend.prompter.max_prompt_tokens
        self._static: dict[str, tuple[int, ...]] = {}
        self._hints: dict[str, tuple[int, ...]] = {}
        self._ids: dict[int, int] = {}

    def build_many(self, posts: Sequence[Post]) -> list[Prompt | None]:
        rendered = [self._layout.render(post) for post in posts]
        texts = [piece.text for pieces in rendered for piece in pieces if isinstance(piece, Content)]
        encoded = iter(self._tokenizer.encode_texts(texts))
        return [self._assemble(post, pieces, encoded) for post, pieces in zip(posts, rendered, strict=True)]

    def _assemble(self, post: Post, pieces: Sequence[Any], encoded: Iterator[list[int]]) -> Prompt | None:
        ids: list[int] = []
        first, last = -1, -1
        for piece in pieces:
            if isinstance(piece, Content):
                first = len(ids) if first < 0 else first
                found = next(encoded)
                ids += map(self._ids.setdefault, found, found)
                last = len(ids)
            elif isinstance(piece, Static):
                known = self._static.get(piece.text)
                if known is None:
                    known = self._static[piece.text] = tuple(self._tokenizer.encode_static(piece.text))
                ids += known
            else:
                known = self._hints.get(piece.text)
                if known is None:
                    known = self._hints[piece.text] = tuple(self._tokenizer.encode_text(piece.text))
                ids += known
        if len(ids) > self._most:
            return None
        return Prompt(token_ids=tuple(ids), kind=post.kind, shared_tokens=first, content=(first, last))
