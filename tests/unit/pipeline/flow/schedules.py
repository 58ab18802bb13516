"""Random schedules for the owner of all posts in work, against a model that knows only who must be answered.

A schedule is bytes, so that a run of it can be kept and made small. The model knows of each post: it is open, answered or
given back. And it knows what the engine would say of each prompt. All else follows from that.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt
from sluicegate.engines.text.segmenter import Part, Parts
from sluicegate.pipeline.flow.in_work import Found, PostInWork, PromptInWork
from sluicegate.pipeline.flow.planner import BatchLimits, plan
from sluicegate.pipeline.flow.work import Told, Work
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Slot
from sluicegate.pipeline.shortcuts.cache import AssessmentCache, Stored
from sluicegate.pipeline.shortcuts.near_duplicates import Index, KnownText, NearKey
from sluicegate.schemas import AssessedBy, Assessment, FailureCode, Post, Scores
from unit.pipeline.fakes import MemoryDelivery

if TYPE_CHECKING:
    from collections.abc import Iterable

_TENANTS = ("calm", "keen", "hasty")


def _policy(version: int, rules: dict[str, Any]) -> Policy:
    tenants = {
        "keen": {"rules": {"explain_at": 0.0}},
        "hasty": {"rules": {"max_wait_seconds": 3.0, "failure_mode": "block"}},
    }
    return Policy.parse({"name": "p", "version": str(version), "rules": rules, "tenants": tenants})


POLICIES = (
    _policy(1, {"explain_at": 0.99}),
    _policy(2, {"explain_at": 0.05}),
    _policy(3, {"explain_at": 0.2, "categories": {"PII": {"block_at": {"unsafe": 0.1}}}}),
)
_SAFE, _ODD = (
    Scores(safe=0.98, controversial=0.01, unsafe=0.01),
    Scores(safe=0.6, controversial=0.1, unsafe=0.3),
)
_BAD, _HARSH = (
    Scores(safe=0.1, controversial=0.1, unsafe=0.8),
    Scores(safe=0.2, controversial=0.7, unsafe=0.1),
)
GROUPS = {
    b"a0": b"near a",
    b"a1": b"near a",
    b"a2": b"near a",
    b"a3": b"near b",
    b"a4": b"near b",
    b"b0": b"near c",
    b"b1": b"near c",
    b"b2": b"near c",
}
"""What prompts have in common whose posts are near duplicates."""
TRUTH = {
    **dict.fromkeys((b"a0", b"a1", b"a2", b"b4"), _SAFE),
    **dict.fromkeys((b"a3", b"a4"), _BAD),
    **dict.fromkeys((b"b0", b"b1", b"b2"), _HARSH),
    b"a5": _ODD,
}
"""What the engine says of each prompt. The first letter names its route."""
_FAILED = ItemFailure(FailureCode.ENGINE_ERROR)


@dataclass(eq=False)
class Route:
    """Stands in for an adapter's route."""

    adapter: str
    up: bool = True
    info: Any = field(default_factory=lambda: SimpleNamespace(reasons=False))
    """Of an engine that gives no reasons."""

    def is_at_work_on(self, _prompt: object) -> bool:
        return self.up

    def calibrated(self, scores: Scores, _post: Post) -> Scores:
        return scores


@dataclass(eq=False)
class Late:
    """A micro-batch whose explanations are awaited."""

    prompts: list[PromptInWork]
    wanted: list[PromptInWork]
    failures: dict[PromptInWork, ItemFailure]


class Schedule:
    """One run. Raises where the promise is broken."""

    def __init__(self, steps: bytes) -> None:
        self._steps = iter(steps)
        self._cache = AssessmentCache(3, 10**6)
        self._texts = Index(2, 10**6)
        self.work = Work(self._cache, self._texts)
        self._routes = {"a": Route("a"), "b": Route("b")}
        self._policy = POLICIES[0]
        self._now = 100.0
        self._open: list[PostInWork] = []
        self._sent: list[list[PromptInWork]] = []
        self._late: list[Late] = []
        self._aside: list[PromptInWork] = []
        self._failed: set[bytes] = set()
        self._judged: set[PromptInWork] = set()
        self._verdicts: dict[str, tuple[bytes, ...]] = {}
        self._posts = 0
        self.answered = 0
        self.met: Counter[str] = Counter()
        """What came about, so that a run of many can show that it met everything."""

    def run(self) -> None:
        """Take every step, then let everything come to its end."""
        steps = (
            self._enter,
            self._enter,
            self._enter,
            self._send,
            self._send,
            self._score,
            self._score,
            self._explain,
            self._begin_again,
            self._give_up,
            self._give_back,
            self._change_policy,
            self._change_policy,
            self._turn,
        )
        while (step := self._draw(len(steps) + 1)) is not None:
            if step < len(steps):
                steps[step]()
            self._now += 0.5
            self._check_who_waits()
        self._end()

    def _draw(self, most: int) -> int | None:
        drawn = next(self._steps, None)
        return None if drawn is None else drawn % most

    def _pick(self, most: int) -> int:
        return self._draw(most) or 0

    def _enter(self) -> None:
        posts, near = [], {}
        for _ in range(1 + self._pick(3)):
            route = self._routes["ab"[self._pick(2)]]
            known = [key for key in TRUTH if key.decode().startswith(route.adapter)]
            keys = tuple(known[self._pick(len(known))] for _ in range(1 + self._pick(8) // 5))
            parts = tuple(
                Part(Prompt((number,), "post", 0, (0, 1)), 0, 1, folded=number > 0)
                for number in range(len(keys))
            )
            self._posts += 1
            slot = Slot(MemoryDelivery(self._posts), 1, self._now)
            post = Post(id=f"p{self._posts}", text="x", tenant=_TENANTS[max(0, self._pick(6) - 3)])
            posts.append(PostInWork(slot, post, route, Parts(parts), keys))  # type: ignore[arg-type] # stands in for it
            if keys[0] in GROUPS and self._pick(3):
                key = GROUPS[keys[0]] + post.tenant.encode()
                near[posts[-1]] = NearKey(key, stands=self._pick(6) > 0, policy=self._policy.digest)
        self._open += posts
        self._decide(self.work.enter(posts, self._policy, self._now, near))

    def _send(self) -> None:
        limits = BatchLimits(1 + self._pick(3), 10, 0.0)
        planned = plan(self.work.line, now=self._now, free=1 + self._pick(2), idle=True, limits=limits)
        for numbers in planned.micro_batches:
            self._sent.append(self.work.send(numbers, self._now))

    def _score(self) -> None:
        if not self._sent:
            return
        batch = self._sent.pop(self._pick(len(self._sent)))
        failures = {}
        for prompt in batch:
            how = self._pick(8)
            if prompt.scores is None and how > 1:
                prompt.note_scores(TRUTH[prompt.key])
            elif prompt.scores is None and how:
                failures[prompt] = _FAILED
                self._failed.add(prompt.key)
        told = self.work.scored(batch, failures, self._policy, self._now)
        if told.wanted:
            self._late.append(Late(told.late, told.wanted, failures))
        self._settle(told)

    def _explain(self) -> None:
        if not self._late:
            return
        late = self._late.pop(self._pick(len(self._late)))
        outcomes: dict[PromptInWork, Explanation | ItemFailure] = {**late.failures}
        for prompt in late.wanted:
            self.met["explained"] += 1
            if prompt.live:
                outcomes[prompt] = _FAILED if self._pick(5) == 1 else Explanation(("PII",))
        self._settle(self.work.explained(late.prompts, outcomes, self._policy, self._now))

    def _begin_again(self) -> None:
        if self._aside:
            self.work.again(self._aside.pop(self._pick(len(self._aside))), self._now)

    def _give_up(self) -> None:
        gone: set[Any] = {route for route in self._routes.values() if not self._pick(4)}
        waiting, scored = set(), []
        for prompt in self.work._prompts.values():
            if prompt.scores is not None:
                scored += prompt.members
            if prompt.sent_at is None or not self._routes[prompt.key[:1].decode()].up:
                waiting |= set(prompt.posts)
        settled = self.work.give_up(self._policy, self._now, gone=gone)
        for post in settled:
            assert post in waiting, "a post was given up that the engine has in hand"
            told = [number for one, number in scored if one is post]
            found = [post.found[number] for number in told]
            assert all(one is not None and isinstance(one.finding, Assessment) for one in found), (
                "scores are lost"
            )
            patient = post.post.tenant != "hasty" or self._now - post.slot.taken_at < 3.0
            assert post.route in gone or not patient, "a post was given up that waits"
        self._decide(settled, given_up=True)

    def _give_back(self) -> None:
        if not self._pick(3):
            return
        self.met["given back"] += len(self._open)
        for post in self._open:
            post.slot.released = True
        self._open.clear()
        if self._pick(2):
            self.work.release()
            assert self.work.followers == 0

    def _change_policy(self) -> None:
        self._policy = POLICIES[self._pick(len(POLICIES))]

    def _turn(self) -> None:
        route = self._routes["ab"[self._pick(2)]]
        route.up = not route.up

    def _settle(self, told: Told) -> None:
        self._decide(told.settled)
        for prompt, assessment in told.learned:
            assert assessment.explanation_failure is None, "a failed explanation is kept for others"
            assert assessment.scores == TRUTH[prompt.key]
            self._cache.put(prompt.key, Stored(assessment, prompt.verdict_id))
        self._aside += told.aside
        self.met["aside"] += len(told.aside)

    def _decide(self, settled: Iterable[PostInWork], *, given_up: bool = False) -> None:
        left = list(settled)
        while left:
            followers: list[PostInWork] = []
            for post in left:
                self._check(post, given_up=given_up)
                self._open.remove(post)
                self.answered += 1
                verdict_id = f"v{self.answered}"
                number = post.deciding if post.deciding is not None else self._pick(len(post.keys))
                by = post.found[number]
                assert by is not None
                self._verdicts[verdict_id] = post.keys
                known = self._learn(post, by, verdict_id)
                followers += self.work.answered(
                    post, number, verdict_id, known, policy=self._policy, now=self._now
                )
            self.met["followed"] += len(followers)
            left, given_up = followers, False

    def _learn(self, post: PostInWork, by: Found, verdict_id: str) -> KnownText | None:
        near = post.near
        if near is None or not near.stands or by.by not in {AssessedBy.ENGINE, AssessedBy.CACHE}:
            return None
        for one in post.found:
            if one is None or isinstance(one.finding, ItemFailure) or one.finding.explanation_failure:
                return None
        assert isinstance(by.finding, Assessment)
        if near.policy != self._policy.digest or len(post.keys) > 1:
            return None
        known = KnownText(by.finding, by.reused_from or verdict_id, self._now + 2.0)
        self._texts.put(near.key, known)
        return known

    def _check(self, post: PostInWork, *, given_up: bool) -> None:
        """What holds of every post that is settled."""
        assert post in self._open, "a post is answered twice, or was given back"
        assert post.over
        assert len(post.found) == len(post.keys)
        for key, one in zip(post.keys, post.found, strict=True):
            assert one is not None, "a part was not found"
            if isinstance(one.finding, ItemFailure):
                assert given_up or key in self._failed, "a failure that nobody met"
                self.met["given up" if given_up else "failed"] += 1
                continue
            self.met[one.by.value] += 1
            self.met["unasked"] += post.unasked
            self.met["scored and given up"] += given_up
            # A near duplicate's finding stands for all parts.
            keys = post.keys if one.by is AssessedBy.NEAR_DUPLICATE else (key,)
            texts = {GROUPS.get(one, one) for one in keys}
            assert one.finding.scores in [
                scores for other, scores in TRUTH.items() if GROUPS.get(other, other) in texts
            ], "another text's scores"
            assert post.is_decided(self._policy, one.finding), "an explanation is missing in silence"
            if one.reused_from is not None:
                of = self._verdicts[one.reused_from]
                assert texts & {GROUPS.get(other, other) for other in of}, (
                    "a verdict on another text is named"
                )
            if one.by is AssessedBy.ENGINE and not given_up:
                assert one.reused_from is None
                assert one.origin not in self._judged, "two posts pass for the one that was judged"
                assert isinstance(one.origin, PromptInWork)
                assert one.origin.origin is None, "an earlier post was judged"
                self._judged.add(one.origin)

    def _check_who_waits(self) -> None:
        """Every post that is open waits, for each part that is not found or for a near duplicate."""
        waits: dict[PostInWork, list[int]] = {}
        for prompt in self.work._prompts.values():
            for post, number in prompt.members:
                waits.setdefault(post, []).append(number)
        followers = {post for lead in self.work._leads.values() for post in lead.followers}
        for post in self._open:
            missing = [number for number, one in enumerate(post.found) if one is None]
            assert missing, "a post that is found is not answered"
            assert sorted(waits.get(post, [])) == ([] if post in followers else missing), (
                "nobody asks for a part"
            )
        at_work = [prompt for batch in self._sent for prompt in batch]
        at_work += [prompt for late in self._late for prompt in late.prompts] + self._aside
        assert len(at_work) + self.work.waiting == self.work.prompts, "a prompt is nowhere"
        assert len({prompt.key for prompt in at_work}) == len(at_work), "a prompt is asked twice at once"

    def _end(self) -> None:
        for route in self._routes.values():
            route.up = True
        for _ in range(100):
            if not self.work.prompts:
                break
            self._send()
            while self._sent:
                for prompt in self._sent[0]:
                    prompt.note_scores(TRUTH[prompt.key])
                self._score()
            while self._late:
                self._explain()
            while self._aside:
                self._begin_again()
            self._check_who_waits()
        assert self._open == [], "a post is lost"
        self.work.release()
        assert (self.work.prompts, self.work.waiting, self.work.followers, self.work.members) == (0, 0, 0, 0)
        assert self.work.line.heads(None) == {}
        assert self.work._leads == {}
