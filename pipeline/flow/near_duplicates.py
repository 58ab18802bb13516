"""Reuse: a near duplicate of a judged post is answered with its finding, and of one in work waits for it.

Beside the exact cache, asked after it and before the engine. A finding goes from the engine to other
posts and never on from there, so no chain of small differences leads away from what was judged.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.segmenter import Parts
from sluicegate.pipeline.flow.answers import Answer, Answers
from sluicegate.pipeline.flow.work import Asked, Found, NearKey, PartInWork, PostInWork
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shortcuts.near_duplicates import Index, KnownText, is_sure, reduced_form
from sluicegate.schemas import AssessedBy, Assessment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_log = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class _Lead:
    """A post that goes to the engine, and its near duplicates that wait for what it finds."""

    arrival: PostInWork
    followers: list[Asked] = field(default_factory=list)


class NearDuplicates:
    """Finds near duplicates among the posts of one worker. One event loop; nothing here waits but ``read``.

    Args:
        settings: ``cache.near_duplicates``: bounds, and whether anything is done at all.
        policy: The policy in force.
        instruments: What watches.
        answers: Makes the answers.
        known: Whether the exact cache, or a judgement in work, has an exact key.
        look_up: The way to the engine for one part.
    """

    def __init__(
        self,
        settings: Settings,
        policy: Callable[[], Policy],
        instruments: Instruments,
        answers: Answers,
        known: Callable[[bytes], bool],
        look_up: Callable[[PartInWork, bytes, Prompt], list[Answer]],
    ) -> None:
        self._settings = settings.cache.near_duplicates
        self._policy = policy
        self._clock = instruments.clock
        self._hits = instruments.metrics.cache_hits
        self._answers = answers
        self._is_known = known
        self._look_up = look_up
        self._index = Index(self._settings.entries, self._settings.bytes)
        self._leading: dict[bytes, _Lead] = {}

    async def read(self, arrivals: Sequence[PostInWork]) -> None:
        """Note the key of each post that another one may stand in for; in a thread, as tokenising is."""
        if not self._settings.enabled:
            return
        digest = self._policy().digest
        short = [arrival for arrival in arrivals if arrival.parts is not None and _is_one_part(arrival.parts)]
        for arrival, key in zip(short, await asyncio.to_thread(_keys, short, digest), strict=True):
            arrival.near = key

    def look_up(self, asked: Asked) -> list[Answer]:
        """Answer a post from a near duplicate, let it wait for one in work, or ask for every part."""
        arrival = asked[0][0].arrival
        if arrival.over:
            return []
        near = arrival.near
        if near is None or all(self._is_known(key) for _, key, _ in asked):
            return self._ask(asked)
        known = self._index.get(near.key, self._clock.monotonic())
        if known is not None:
            return self._reuse(arrival, known) or self._ask(asked)
        lead = self._leading.get(near.key)
        # One that was answered a moment ago is on its way to ``follow``, where those that wait are seen to.
        if lead is not None and not lead.arrival.slot.released:
            lead.followers.append(asked)
            return []
        if near.stands:
            self._leading[near.key] = _Lead(arrival)
        return self._ask(asked)

    def follow(self, answered: Sequence[Answer]) -> list[Answer]:
        """Learn from what was answered, before it is published; the answers of those that waited for it.

        Where it was no use to them, because it failed or is unsure, all that waited are asked for at once.
        """
        more: list[Answer] = []
        for answer in answered:
            arrival = answer.arrival
            if arrival is None or arrival.near is None:
                continue
            known = self._learn(answer, arrival, arrival.near)
            lead = self._leading.get(arrival.near.key)
            if lead is None or lead.arrival is not arrival:
                continue
            del self._leading[arrival.near.key]
            for asked in lead.followers:
                follower = asked[0][0].arrival
                if not follower.over:
                    more += (known is not None and self._reuse(follower, known)) or self._ask(asked)
        return more

    def give_back(self) -> None:
        """Forget who waits: all of them were given back."""
        self._leading.clear()

    def _ask(self, asked: Asked) -> list[Answer]:
        return [answer for part in asked for answer in self._look_up(*part)]

    def _reuse(self, arrival: PostInWork, known: KnownText) -> list[Answer]:
        """The answer with what is known; none where it does not suffice."""
        assessment = known.assessment
        if assessment is None or arrival.parts is None or not self._is_of_policy(arrival.near):
            return []
        if not PartInWork(arrival, 0).suffices(self._policy(), assessment):
            return []
        self._hits.labels("near").inc()
        found = Found(assessment, AssessedBy.NEAR_DUPLICATE, reused_from=known.verdict_id)
        return [self._answers.stand_in(arrival, found, folded=known.folded)]

    def _is_of_policy(self, near: NearKey | None) -> bool:
        """False under another policy than the key's: how far from its bars a score is, nobody has looked at."""
        return near is not None and near.policy == self._policy().digest

    def _learn(self, answer: Answer, arrival: PostInWork, near: NearKey) -> KnownText | None:
        """What may be reused of an answer: what the engine found, now or before, all parts read and explained."""
        found = answer.found
        if not near.stands or found is None or found.by not in {AssessedBy.ENGINE, AssessedBy.CACHE}:
            return None
        if not self._is_of_policy(near):
            return None
        finding, now = found.finding, self._clock.monotonic()
        read = all(isinstance(one.finding, Assessment) for one in arrival.found.values())
        if not isinstance(finding, Assessment) or finding.explanation_failure is not None or not read:
            return None
        if (known := self._index.get(near.key, now)) is not None:
            return known
        calibrated = arrival.route.finding(finding, arrival.post)
        sure = is_sure(arrival.post, calibrated, self._policy(), least=self._settings.confidence)
        source = found.reused_from or answer.event_id
        expires_at = now + self._settings.ttl_s
        known = KnownText(finding if sure else None, source, expires_at, folded=_is_folded(arrival, found))
        self._index.put(near.key, known)
        return known


def _is_folded(arrival: PostInWork, found: Found) -> bool:
    """True if what decided was found of the folded form."""
    parts = arrival.parts.parts if arrival.parts is not None else []
    return any(part.folded and arrival.found.get(number) is found for number, part in enumerate(parts))


def _is_one_part(parts: Parts) -> bool:
    """True for a post that is judged whole; its folded form, whole as well, may stand beside it."""
    folded = sum(part.folded for part in parts.parts)
    return not parts.context_cut_characters and len(parts.parts) - folded == 1 and folded <= 1


def _keys(arrivals: Sequence[PostInWork], policy_digest: str) -> list[NearKey | None]:
    return [_key(arrival, policy_digest) for arrival in arrivals]


def _key(arrival: PostInWork, policy_digest: str) -> NearKey | None:
    """The key of a post; a fault of ours costs no post its judgement."""
    post, info = arrival.post, arrival.route.info
    try:
        reduced = reduced_form(post.text)
    except Exception as error:  # noqa: BLE001 - see above
        _log.error("near_duplicate_fault", post=post.id, where=frames(error))
        return None
    if reduced is None:
        return None
    turns = [[turn.role, turn.text] for turn in post.turns]
    record: list[Any] = [post.tenant, post.kind, post.region, post.language, turns, reduced]
    same = orjson.dumps([policy_digest, info.digest, info.adapter, *record])
    folded = arrival.parts is not None and bool(arrival.parts.rules)
    key = hashlib.blake2b(same, digest_size=24).digest()
    return NearKey(key, stands=folded or reduced == post.text, policy=policy_digest)
