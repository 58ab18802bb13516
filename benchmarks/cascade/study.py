"""What a small guard before a large one saves. **Simulated**, no GPU.

Both guards are fake engines. The large one imitates an 8B guard on an H100, the small one a 0.6B guard on the same card. They
draw by lot what they find, and find the same: this tells engine seconds, and nothing of harm. Seconds are what the
accelerators were booked for, by their own count, as in the comparison.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from compare.contenders.whole_answers import ANSWER_TOKENS, vendor_prompter
from sluicegate.engines.adapt.report import ruled
from sluicegate.engines.backends.fake import FakeEngine, fake_prompter
from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.engines.backends.open import Backend
from sluicegate.engines.protocol import Prompt, Scored
from sluicegate.engines.screen import GuardManifest, GuardScreen, ScreenGroup, scripts, spoken
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.shortcuts.cache import cache_key
from sluicegate.pipeline.shortcuts.screening import action_of, is_sampled
from sluicegate.schemas import CATEGORIES, Post, content_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGE = replace(FakeProfile.h100(), in_flight_batching=True, concurrent_calls=64)
TIMES_SMALLER = 15.8
"""Linear parameters of Qwen3-8B over those of Qwen3-0.6B: work a token."""
SMALL = replace(
    LARGE,
    prefill_tokens_per_s=LARGE.prefill_tokens_per_s * TIMES_SMALLER,
    decode_tokens_per_s=LARGE.decode_tokens_per_s * TIMES_SMALLER,
)
BARS = (None, 0.75, 0.80, 0.85, 0.90, 0.95)
"""P(safe) from which on the small guard answers; None: there is none."""
_TOLERANCE = 0.01
_SAMPLE_SHARE = 0.01
_CHUNK, _CALL = 1024, 64
_CALL_S = 600.0
_LIMITS = LengthLimits(32_768, 64)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a stream cost."""

    bar: float | None
    answered: float
    """Share of the posts that the small guard answered."""
    small_s: float
    """Its seconds per post."""
    large_s: float
    """Those of the large guard."""

    @property
    def both_s(self) -> float:
        """Of both."""
        return self.small_s + self.large_s


def groups_of(posts: Sequence[Post], bar: float) -> tuple[ScreenGroup, ...]:
    """A group for every kind and language of a stream, all sure from one score on."""
    found: defaultdict[tuple[Any, str], Counter[str]] = defaultdict(Counter)
    for post in posts:
        if post.language is not None:
            found[post.kind, spoken(post.language)].update(scripts(post.text))
    return tuple(
        ScreenGroup(
            kind=kind,
            language=language,
            rows=1,
            longest=4096,
            least_known=0,
            scripts=tuple(name for name, _ in seen.most_common(32)),
            safe=((bar, _TOLERANCE),),
        )
        for (kind, language), seen in found.items()
        if seen
    )


def small_guard(posts: Sequence[Post], bar: float) -> tuple[GuardScreen, FakeEngine]:
    """A small guard that answers from a score on."""
    engine = FakeEngine(SMALL)
    digest = engine.info.digest
    manifest = GuardManifest(
        name="small", guard=digest, backend="fake", data=digest, rows=1, groups=groups_of(posts, bar)
    )
    segmenter = Segmenter(fake_prompter(SMALL), folds=True)
    return (
        GuardScreen(manifest, engine, segmenter, calibration=None, timeout_s=_CALL_S, clock=time.monotonic),
        engine,
    )


async def cost(posts: Sequence[Post], bar: float | None) -> Cost:
    """Judge a stream as a worker does: the exact cache, the small guard, then the large one."""
    policy = Policy.parse({"name": "p", "version": "1", "rules": {"screen": {"tolerance": _TOLERANCE}}})
    large, screen, small = FakeEngine(LARGE), None, None
    if bar is not None:
        screen, small = small_guard(posts, bar)
    segmenter = Segmenter(fake_prompter(LARGE), folds=True)
    known: set[bytes] = set()
    answered = 0
    for first in range(0, len(posts), _CHUNK):
        chunk = posts[first : first + _CHUNK]
        cut = segmenter.build_many(chunk, [_LIMITS] * len(chunk))
        to_ask = [
            (post, {cache_key(part.prompt, large.info): part.prompt for part in parts.parts})
            for post, parts in zip(chunk, cut, strict=True)
            if isinstance(parts, Parts)
        ]
        if screen is not None:
            # Of what is known in any form, the large guard knows more.
            new = [post for post, keyed in to_ask if known.isdisjoint(keyed)]
            said = dict(zip((post.id for post in new), await screen.ask(new), strict=True))
            sure = {
                post.id
                for post in new
                if action_of(post, said[post.id], policy) is not None
                and not is_sampled(content_hash(post), _SAMPLE_SHARE)
            }
            answered += len(sure)
            to_ask = [one for one in to_ask if one[0].id not in sure]
        asked = {
            key: (post, prompt) for post, keyed in to_ask for key, prompt in keyed.items() if key not in known
        }
        known |= set(asked)
        await _judge(large, policy, list(asked.values()))
    per = len(posts)
    return Cost(bar, answered / per, (small.counts.work_s if small else 0.0) / per, large.counts.work_s / per)


async def _judge(engine: FakeEngine, policy: Policy, asked: Sequence[tuple[Post, Prompt]]) -> None:
    async def call(part: Sequence[tuple[Post, Prompt]]) -> None:
        scored = await engine.score([prompt for _, prompt in part], timeout_s=_CALL_S)
        wanted = [
            (prompt, severity, policy.wants_text(post, one.scores, reasons=engine.info.reasons))
            for (post, prompt), one in zip(part, scored, strict=True)
            if isinstance(one, Scored) and (severity := policy.explain_as(post, one.scores))
        ]
        if wanted:
            prompts, severities, texts = zip(*wanted, strict=True)
            await engine.explain(prompts, severities, timeout_s=_CALL_S, texts=texts)

    await asyncio.gather(*(call(asked[at : at + _CALL]) for at in range(0, len(asked), _CALL)))


async def always(posts: Sequence[Post]) -> float:
    """Seconds per post of generate-always: the vendor's prompt, and the shortest whole answer for each post."""
    engine = FakeEngine(LARGE)
    prompter = vendor_prompter(Backend(engine, fake_prompter(LARGE), CATEGORIES), LARGE.bytes_per_token)
    plain = [post.model_copy(update={"region": None, "language": None}) for post in posts]
    prompts = [one for one in prompter.build_many(plain) if isinstance(one, Prompt)]
    parts = [prompts[at : at + _CALL] for at in range(0, len(prompts), _CALL)]
    await asyncio.gather(
        *(engine.generate(part, tokens=ANSWER_TOKENS - 1, timeout_s=_CALL_S) for part in parts)
    )
    return engine.counts.work_s / len(prompts)


def table(costs: Sequence[Cost], always_s: float) -> str:
    """The costs as Markdown."""
    rows = [
        (
            "no small guard" if one.bar is None else f"P(safe) ≥ {one.bar:.2f}",
            f"{100 * one.answered:.1f} %",
            f"{1000 * one.small_s:.3f}",
            f"{1000 * one.large_s:.3f}",
            f"{1000 * one.both_s:.3f}",
            f"{one.both_s / always_s:.3f}",
        )
        for one in costs
    ]
    head = (
        "the small guard answers from",
        "posts that it answers",
        "small, ms a post",
        "large, ms a post",
        "both, ms a post",
        "over generate-always",
    )
    return ruled(head, rows, [False, True, True, True, True, True])
