"""Work: the one owner of a post between its look-up and its answer.

A prompt that several posts need is asked once (single flight). A near duplicate of a post in work waits for what is
found of that one: single flight under a second key. All of it is synchronous, without I/O, clock and metrics: times and
the policy in force are arguments. What it returns is settled: to be decided at once, by that same policy.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt
from sluicegate.pipeline.flow.decision import assess
from sluicegate.pipeline.flow.in_work import Found, PostInWork, PromptInWork
from sluicegate.pipeline.flow.planner import Line
from sluicegate.pipeline.flow.routes import Route
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.shortcuts.cache import AssessmentCache, Stored
from sluicegate.pipeline.shortcuts.near_duplicates import Index, KnownText, NearKey
from sluicegate.schemas import AssessedBy, Assessment, FailureCode

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence


Outcome: TypeAlias = "Explanation | ItemFailure"
"""What the engine answered beside scores."""
Counted: TypeAlias = tuple[Literal["hit", "folded"], str]
"""A shortcut's hit, by how; or a part of a folded form that is found, by whom."""

_AWAY = ItemFailure(FailureCode.ENGINE_UNAVAILABLE)
_OVERLOAD = ItemFailure(FailureCode.OVERLOAD)
_UNASKED = ItemFailure(FailureCode.INTERNAL, "the policy changed after the engine was asked")


class Learned(NamedTuple):
    """What may be reused of one prompt, once those that it settled are decided."""

    prompt: PromptInWork
    assessment: Assessment


@dataclass(slots=True)
class Told:
    """What follows from answers of the engine."""

    settled: list[PostInWork] = field(default_factory=list)
    """To be decided now."""
    learned: list[Learned] = field(default_factory=list)
    """To be kept for other posts."""
    wanted: list[PromptInWork] = field(default_factory=list)
    """To be explained."""
    late: list[PromptInWork] = field(default_factory=list)
    """Those, and all that wait with them: to be told of the explanations."""
    aside: list[PromptInWork] = field(default_factory=list)
    """Not answered, and waited for: to be begun again."""


@dataclass(slots=True, eq=False)
class _Lead:
    """A post that goes to the engine, and its near duplicates that wait for what is found of it."""

    post: PostInWork
    followers: list[PostInWork] = field(default_factory=list)


class Work:
    """All posts in work.

    Args:
        cache: What is known of exact prompts.
        texts: What is known of near duplicates.
    """

    def __init__(self, cache: AssessmentCache, texts: Index) -> None:
        self._cache = cache
        self._texts = texts
        self._numbers = count()
        self._prompts: dict[bytes, PromptInWork] = {}
        self._waiting: dict[int, PromptInWork] = {}
        self._leads: dict[bytes, _Lead] = {}
        self._counts: Counter[Counted] = Counter()
        self.line = Line()
        """What waits, for the planner to read."""

    @property
    def prompts(self) -> int:
        """Prompts that wait or are in hand."""
        return len(self._prompts)

    @property
    def waiting(self) -> int:
        """Prompts that wait for the planner."""
        return len(self._waiting)

    @property
    def members(self) -> int:
        """Parts that wait for a prompt in work."""
        return sum(len(prompt.members) for prompt in self._prompts.values())

    @property
    def followers(self) -> int:
        """Posts that wait for a near duplicate in work."""
        return sum(len(lead.followers) for lead in self._leads.values())

    def knows(self, keys: Iterable[bytes]) -> bool:
        """True if any of these prompts is known or in work."""
        return any(key in self._prompts or key in self._cache for key in keys)

    def counts(self) -> Counter[Counted]:
        """What was counted since the last call."""
        counts, self._counts = self._counts, Counter()
        return counts

    def enter(
        self,
        posts: Iterable[PostInWork],
        policy: Policy,
        now: float,
        near: Mapping[PostInWork, NearKey],
    ) -> list[PostInWork]:
        """Begin with posts that were looked up; those that are settled at once.

        Args:
            posts: In order. One that was given back meanwhile is left out.
            policy: The policy in force.
            now: Monotonic seconds.
            near: The keys of those that a near duplicate may stand in for.
        """
        settled: list[PostInWork] = []
        for post in posts:
            if post.over:
                continue
            post.near = near.get(post)
            if not post.left:
                settled.append(post)
            elif post.near is None:
                self._ask(post, policy, now, settled)
            else:
                self._ask_once(post, post.near, policy, now, settled)
        return _all_settled(settled, policy)

    def send(self, numbers: Iterable[int], now: float) -> list[PromptInWork]:
        """Take prompts out of the line, for the engine."""
        sent = [self._leave_line(self._waiting[number]) for number in numbers]
        for prompt in sent:
            prompt.sent_at = now
        return sent

    def scored(
        self,
        prompts: Sequence[PromptInWork],
        failures: Mapping[PromptInWork, ItemFailure],
        policy: Policy,
        now: float,
    ) -> Told:
        """Take in the scores of a micro-batch: what is settled by them, and what is to be explained.

        No part of a post is settled before a part of the same micro-batch that is to be explained.
        """
        told = Told()
        for prompt in prompts:
            prompt.explained_as = prompt.explain_as(policy)
            prompt.policy, prompt.counted = policy, len(prompt.members)
            if prompt.explained_as is not None:
                prompt.in_text = prompt.wants_text(policy)
                told.wanted.append(prompt)
        held = {post for prompt in told.wanted for post, _ in prompt.members}
        for prompt in prompts:
            if held and any(post in held for post, _ in prompt.members):
                told.late.append(prompt)
            else:
                self._conclude(prompt, failures.get(prompt), policy, now, told)
        _all_settled(told.settled, policy)
        return told

    def explained(
        self,
        prompts: Iterable[PromptInWork],
        outcomes: Mapping[PromptInWork, Outcome],
        policy: Policy,
        now: float,
    ) -> Told:
        """Take in the explanations of those that :meth:`scored` called late."""
        told = Told()
        for prompt in prompts:
            self._conclude(prompt, outcomes.get(prompt), policy, now, told)
        _all_settled(told.settled, policy)
        return told

    def again(self, prompt: PromptInWork, now: float) -> None:
        """Let a prompt that was set aside wait for the planner once more, if anybody still waits for it."""
        del self._prompts[prompt.key]
        if prompt.live:
            self._begin(prompt.key, prompt.prompt, prompt.members, now)

    def answered(
        self,
        post: PostInWork,
        deciding: int | None,
        verdict_id: str,
        known: KnownText | None,
        *,
        policy: Policy,
        now: float,
    ) -> list[PostInWork]:
        """Take in a verdict; settle the posts that waited for it, or ask for them where it is no use to them.

        Args:
            post: What it is on.
            deciding: The part that decided; None where a fault of ours did. A verdict carries nothing of the others.
            verdict_id: Its id.
            known: What may be reused of it for near duplicates.
            policy: The policy in force.
            now: Monotonic seconds.
        """
        by = None if deciding is None else post.found[deciding]
        if by is not None and isinstance(by.origin, PromptInWork) and by.origin.first is None:
            by.origin.first = verdict_id
        lead = self._leads.get(post.near.key) if post.near is not None else None
        if lead is None or lead.post is not post or post.near is None:
            return []
        del self._leads[post.near.key]
        settled: list[PostInWork] = []
        for follower in lead.followers:
            if follower.over:
                continue
            if known is not None and self._stands_in(follower, known, policy):
                settled.append(follower)
            else:
                self._ask(follower, policy, now, settled)
        return _all_settled(settled, policy)

    def give_up(self, policy: Policy, now: float, *, gone: Collection[Route]) -> list[PostInWork]:
        """Settle the posts whose tenants wait no longer, with what was found so far.

        While its engine is away that is every post that was in the window for its tenant's ``max_wait_seconds``. While
        it is at work it is those whose turn has not come: what the engine has in hand will be answered, or time out.
        What was sent and is not in its hands waits while suspects are asked one at a time, or is set aside: to its
        tenant the engine is away.

        Args:
            policy: The policy in force.
            now: Monotonic seconds.
            gone: Routes whose posts wait no longer at all.
        """
        over: dict[PostInWork, ItemFailure] = {}
        for prompt in self._prompts.values():
            # A long wait may see many rebalances, each of which gives posts back and takes them again.
            prompt.members, prompt.counted = _still_open(prompt)
            at_work = prompt.route.is_at_work_on(prompt)
            if at_work and prompt.sent_at is not None:
                continue
            for post, _ in prompt.members:
                if prompt.route in gone or _waited_out(post, post.decided_by(policy), now):
                    over.setdefault(post, _OVERLOAD if at_work else _AWAY)
        if over:
            self._note_scores(over)
        for post, failure in over.items():
            failed = Found(failure, AssessedBy.NONE)
            post.found = [one or failed for one in post.found]
            _settle(post, policy, failure)
        self._drop_abandoned()
        return list(over)

    def recall(self, is_recalled: Callable[[PostInWork], bool]) -> list[PostInWork]:
        """Close posts that get no verdict here, since another judge is to judge them from the beginning.

        What the engine still says of them counts for nothing. Their places in the window stay taken.

        Args:
            is_recalled: Whether a post is one of them.
        """
        waiting = dict.fromkeys(post for prompt in self._prompts.values() for post, _ in prompt.members)
        waiting |= dict.fromkeys(post for lead in self._leads.values() for post in lead.followers)
        recalled = dict.fromkeys(post for post in waiting if not post.over and is_recalled(post))
        for lead in self._leads.values():
            if lead.post in recalled:
                # Nobody would answer a post that followed it, whosever that one is: a smaller share may split the two.
                recalled |= dict.fromkeys(post for post in lead.followers if not post.over)
        for post in recalled:
            post.answered = True
        self._leads = {key: lead for key, lead in self._leads.items() if not lead.post.over}
        self._drop_abandoned()
        return [*recalled]

    def release(self) -> None:
        """Forget what was given back."""
        self._leads.clear()
        self._drop_abandoned()

    def _ask_once(
        self, post: PostInWork, near: NearKey, policy: Policy, now: float, settled: list[PostInWork]
    ) -> None:
        """Settle a post with what is known of a near duplicate, let it wait for one in work, or ask."""
        if not all(key in self._prompts or key in self._cache for key in post.keys):
            text = self._texts.get(near.key, now)
            if text is not None and self._stands_in(post, text, policy):
                settled.append(post)
                return
            lead = self._leads.get(near.key)
            if text is None and lead is not None and not lead.post.over:
                lead.followers.append(post)
                return
            if text is None and near.stands:
                self._leads[near.key] = _Lead(post)
        self._ask(post, policy, now, settled)

    def _ask(self, post: PostInWork, policy: Policy, now: float, settled: list[PostInWork]) -> None:
        """For each part: take it from the cache, join the same prompt, or begin one."""
        for number, key in enumerate(post.keys):
            stored = self._cache.get(key)
            if stored is not None and post.suffices(policy, stored.assessment):
                self._counts["hit", stored.how] += 1
                self._note(
                    post, number, Found(stored.assessment, AssessedBy.CACHE, stored), policy, now, settled
                )
            elif (prompt := self._prompts.get(key)) is not None:
                self._counts["hit", "joined"] += 1
                prompt.members.append((post, number))
            elif post.parts is not None:
                self._begin(key, post.parts.parts[number].prompt, [(post, number)], now, stored)

    def _begin(
        self,
        key: bytes,
        prompt: Prompt,
        members: list[tuple[PostInWork, int]],
        now: float,
        stored: Stored | None = None,
    ) -> PromptInWork:
        post = members[0][0]
        tokens, route = len(prompt.token_ids), post.route
        begun = PromptInWork(
            next(self._numbers), tokens, post.post.tenant, route.adapter, now, key, prompt, route, members
        )
        if stored is not None:  # only its explanation is missing
            begun.scores, begun.origin = stored.assessment.scores, stored
        self._prompts[key] = self._waiting[begun.number] = begun
        self.line.add(begun)
        return begun

    def _conclude(
        self, prompt: PromptInWork, outcome: Outcome | None, policy: Policy, now: float, told: Told
    ) -> None:
        """Settle every member, and begin again for those that joined late and whom it does not suffice."""
        finding = _finding(prompt, outcome)
        if finding is None:
            if prompt.live:  # set aside; or abandoned, and joined again before this line
                told.aside.append(prompt)
            else:
                del self._prompts[prompt.key]
            return
        del self._prompts[prompt.key]
        members, prompt.members = prompt.members, []
        by = AssessedBy.ENGINE if prompt.origin is None else AssessedBy.CACHE
        found = Found(finding, by, prompt, prompt.sent_at)
        unexplained: list[tuple[PostInWork, int]] = []
        for place, (post, number) in enumerate(members):
            if post.over:
                continue
            asked_for = prompt.policy
            if place >= prompt.counted:  # it joined after the policy was asked
                asked_for = policy
                if isinstance(finding, Assessment) and not post.suffices(policy, finding):
                    unexplained.append((post, number))
                    continue
            self._note(post, number, found, asked_for, now, told.settled)
            if found.by is AssessedBy.ENGINE and len(members) > 1:
                found = replace(found, by=AssessedBy.CACHE)  # for all others
        if isinstance(finding, Assessment):
            # A failed explanation is never stored; the scores beside it are good.
            kept = finding if finding.explanation_failure is None else assess(finding.scores, None)
            told.learned.append(Learned(prompt, kept))
            if unexplained:
                begun = self._begin(prompt.key, prompt.prompt, unexplained, now)
                begun.scores, begun.origin = kept.scores, prompt

    def _note(
        self,
        post: PostInWork,
        number: int,
        found: Found,
        policy: Policy | None,
        now: float,
        settled: list[PostInWork],
    ) -> None:
        post.slot.moved_at = now
        if post.parts is not None and post.parts.parts[number].folded:
            self._counts["folded", found.by.value] += 1
        if post.note(number, found, policy):
            settled.append(post)

    def _stands_in(self, post: PostInWork, text: KnownText, policy: Policy) -> bool:
        """Let what is known of a near duplicate stand for all parts of a post; false where it does not suffice."""
        assessment = text.assessment
        # How far from the bars of another policy than the key's a score is, nobody has looked at.
        of_policy = post.near is not None and post.near.policy == post.decided_by(policy).digest
        if assessment is None or post.parts is None or not of_policy or not post.suffices(policy, assessment):
            return False
        found = Found(assessment, AssessedBy.NEAR_DUPLICATE, text)
        forms = [part.folded for part in post.parts.parts]
        self._counts["hit", "near"] += 1
        self._counts["folded", found.by.value] += sum(forms)
        # Where it was found of a folded form, this post's decides, too, if it has one.
        post.deciding = forms.index(text.folded) if text.folded in forms else 0
        post.found, post.left, post.policy = [found] * len(forms), 0, policy
        return True

    def _note_scores(self, over: Collection[PostInWork]) -> None:
        """Keep what the engine said of any part of these posts, in hand or not: at most explanations are missing."""
        for prompt in self._prompts.values():
            if prompt.scores is None:
                continue
            by = AssessedBy.ENGINE if prompt.origin is None else AssessedBy.CACHE
            found = Found(assess(prompt.scores, None), by, prompt, prompt.sent_at)
            for post, number in prompt.members:
                if post in over:
                    post.note(number, found, None)

    def _drop_abandoned(self) -> None:
        for prompt in [one for one in self._waiting.values() if not one.live]:
            del self._prompts[self._leave_line(prompt).key]

    def _leave_line(self, prompt: PromptInWork) -> PromptInWork:
        self.line.remove(prompt)
        return self._waiting.pop(prompt.number)


def _finding(prompt: PromptInWork, outcome: Outcome | None) -> Assessment | ItemFailure | None:
    """What the engine's answers come to; None where there is none."""
    if prompt.scores is not None:
        return assess(prompt.scores, outcome, prompt.explained_as)
    return outcome if isinstance(outcome, ItemFailure) else None


def _all_settled(posts: list[PostInWork], policy: Policy) -> list[PostInWork]:
    for post in posts:
        _settle(post, policy, _UNASKED)
    return posts


def _settle(post: PostInWork, policy: Policy, missing: ItemFailure) -> None:
    """Close a post. An explanation that the policy in force asks for, and that is not there, has failed: none is asked again."""
    post.answered = True
    if post.policy is policy:
        return
    for number, one in enumerate(post.found):
        if one is None or isinstance(one.finding, ItemFailure) or post.is_decided(policy, one.finding):
            continue
        post.found[number] = replace(one, finding=assess(one.finding.scores, missing))
        post.unasked = missing is _UNASKED


def _still_open(prompt: PromptInWork) -> tuple[list[tuple[PostInWork, int]], int]:
    """The members that still wait, and how many of them the policy was asked for."""
    places = [place for place, (post, _) in enumerate(prompt.members) if not post.over]
    return [prompt.members[place] for place in places], sum(place < prompt.counted for place in places)


def _waited_out(post: PostInWork, policy: Policy, now: float) -> bool:
    waited_s, least_s = now - post.slot.taken_at, policy.least_wait_seconds
    if least_s is None or waited_s < least_s:  # spares most posts the look into the policy
        return False
    longest_s = policy.rules(post.post).max_wait_seconds
    return longest_s is not None and waited_s >= longest_s
