"""The same post twice, two texts under one id, and revisions that arrive in the wrong order."""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from faults.scenario import scenario
from sluicegate.pipeline.client.consumer import Freshness, Newest
from sluicegate.schemas import Post, Verdict, content_hash

if TYPE_CHECKING:
    import random

    from faults.stage import Stage

KILLS = 8
_RATE_PER_S = 200.0


def again(number: int, _rng: random.Random) -> dict[str, Any]:
    """Five records to an id: a text, the same again, another text, then revision 2 and after it revision 1."""
    group, place = divmod(number, 5)
    if place < 3:
        return {"id": f"twice-{group}", "text": f"text {group}" if place < 2 else f"other text {group}"}
    revision = 5 - place
    return {"id": f"revised-{group}", "revision": revision, "text": f"text {group} as of {revision}"}


@scenario(number=12, name="same-post-twice", short=True)
def same_post_twice(stage: Stage) -> None:
    """Equal records give one id, different contents two, and the highest revision counts; workers are killed meanwhile."""
    made: list[dict[str, Any]] = []

    def make(number: int, rng: random.Random) -> dict[str, Any]:
        made.append(again(number, rng))
        return made[-1]

    stage.expect(one_action=False)  # two texts under one id may well be judged differently
    stage.lane.set_fake(call_overhead_s=0.03)
    kubelet = stage.kubelet(2, {"kafka.session_timeout_s": "1.5"})
    kubelet.wait_ready()
    load = stage.load(_RATE_PER_S, make=make)
    kills = 0
    while kills < stage.scaled(KILLS):
        time.sleep(stage.rng.uniform(1.5, 4.0))
        kills += kubelet.kill_one(stage.rng)
    load.stop()
    stage.wait_settled()
    verdicts = [Verdict.model_validate(one.body, strict=False) for one in stage.lane.read()]
    stage.note(
        "killed", kills=kills, texts=_check_ids(stage, made, verdicts), newest=_check_newest(stage, verdicts)
    )


def _check_ids(stage: Stage, made: list[dict[str, Any]], verdicts: list[Verdict]) -> int:
    """One id and one action for each distinct content of a post and revision, and no other; how many there are."""
    found: defaultdict[tuple[str, int, str], set[tuple[str, str]]] = defaultdict(set)
    for verdict in verdicts:
        content = verdict.post_id, verdict.revision, verdict.content_hash
        found[content].add((verdict.verdict_id, verdict.action))
    wanted = {
        (post.id, post.revision, content_hash(post)) for post in (Post.model_validate(one) for one in made)
    }
    stage.require(not wanted - set(found), f"{len(wanted - set(found))} contents without a verdict")
    stage.require(not set(found) - wanted, "verdicts on contents that were never sent")
    several = [content for content, ids in found.items() if len(ids) > 1]
    stage.require(not several, f"{len(several)} contents with more than one id")
    ids = {verdict_id for every in found.values() for verdict_id, _action in every}
    stage.require(len(ids) == len(found), "contents that share an id")
    return len(found)


def _check_newest(stage: Stage, verdicts: list[Verdict]) -> int:
    """Whoever follows the consumer's rule ends at the highest revision of each post; how many posts."""
    counts: dict[str, int] = {}
    newest = Newest(len(verdicts) + 1)
    for verdict in verdicts:
        if newest.freshness(verdict) is Freshness.NEW:
            newest.apply(verdict)
            counts[verdict.post_id] = verdict.revision
    highest: dict[str, int] = {}
    for sent in stage.sent:
        if sent.post_id is not None:
            highest[sent.post_id] = max(sent.revision, highest.get(sent.post_id, 0))
    stage.require(counts == highest, "the highest revision does not count")
    return len(counts)
