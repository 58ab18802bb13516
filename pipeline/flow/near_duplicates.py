"""Reuse: which key a text shares with its near duplicates, and what of an answer may stand for them.

Beside the exact cache, asked after it and before the engine. A finding goes from the engine to other
posts and never on from there, so no chain of small differences leads away from what was judged. Who waits for whom is
:class:`Work`'s.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from sluicegate.engines.text.segmenter import Parts
from sluicegate.pipeline.flow.in_work import PostInWork
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.sections import NearDuplicateSettings
from sluicegate.pipeline.shortcuts.near_duplicates import Index, KnownText, NearKey, is_sure, reduced_form
from sluicegate.schemas import AssessedBy, Assessment

if TYPE_CHECKING:
    from collections.abc import Sequence


_log = structlog.get_logger(__name__)


class NearDuplicates:
    """What is known of near duplicates among the posts of one worker. One event loop; only ``keys`` waits.

    Args:
        settings: Bounds, and whether anything is done at all.
    """

    def __init__(self, settings: NearDuplicateSettings) -> None:
        self._settings = settings
        self.index = Index(settings.entries, settings.bytes)

    async def keys(self, posts: Sequence[PostInWork], policy: Policy) -> dict[PostInWork, NearKey]:
        """The key of each post that another one may stand in for; in a thread, as tokenising is."""
        if not self._settings.enabled:
            return {}
        # A sample is judged for its own sake: nothing stands in for it.
        wanted = [one for one in posts if one.sample is None and _is_one_part(one.parts)]
        found = await asyncio.to_thread(lambda: [_key(one, one.decided_by(policy).digest) for one in wanted])
        return {one: key for one, key in zip(wanted, found, strict=True) if key is not None}

    def learn(
        self, post: PostInWork, deciding: int | None, verdict_id: str, policy: Policy, now: float
    ) -> KnownText | None:
        """What may be reused of an answer: what the engine found, now or before, all parts read and explained.

        Args:
            post: The post.
            deciding: The part that decided; None where a fault of ours did.
            verdict_id: Of its verdict.
            policy: The one in force.
            now: Monotonic seconds.
        """
        policy = post.decided_by(policy)
        found = None if deciding is None else post.found[deciding]
        if post.near is None or post.parts is None or deciding is None or found is None:
            return None
        if not post.near.stands or found.by not in {AssessedBy.ENGINE, AssessedBy.CACHE}:
            return None
        finding, read = found.finding, [one for one in post.found if one is not None]
        if not isinstance(finding, Assessment) or finding.explanation_failure is not None:
            return None
        # How far from the bars of another policy than the key's a score is, nobody has looked at.
        if post.near.policy != policy.digest or not all(isinstance(one.finding, Assessment) for one in read):
            return None
        if (known := self.index.get(post.near.key, now)) is not None:
            return known
        sure = is_sure(
            post.post, post.route.finding(finding, post.post), policy, least=self._settings.confidence
        )
        source, folded = found.reused_from or verdict_id, post.parts.parts[deciding].folded
        expires_at = now + self._settings.ttl_s
        known = KnownText(finding if sure else None, source, expires_at, folded=folded)
        self.index.put(post.near.key, known)
        return known


def _is_one_part(parts: Parts | None) -> bool:
    """True for a post that is judged whole, in its own form, in its folded form, or in both."""
    if parts is None:
        return False
    folded = sum(part.folded for part in parts.parts)
    return not parts.context_cut_characters and len(parts.parts) - folded <= 1 and folded <= 1


def _key(one: PostInWork, policy_digest: str) -> NearKey | None:
    """The key of a post; a fault of ours costs no post its judgement."""
    post, info = one.post, one.route.info
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
    folded = one.parts is not None and bool(one.parts.rules)
    key = hashlib.blake2b(same, digest_size=24).digest()
    return NearKey(key, stands=folded or reduced == post.text, policy=policy_digest)
