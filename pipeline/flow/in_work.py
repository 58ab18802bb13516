"""What is in work: posts that arrived, what was found of their parts, and the prompts that they share. Only ``Work`` writes here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.engines.text.segmenter import Parts
from sluicegate.pipeline.flow.planner import WaitingPrompt
from sluicegate.pipeline.flow.routes import Cut, Route
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.rules import explains
from sluicegate.pipeline.records import Slot
from sluicegate.pipeline.shortcuts.cache import Stored
from sluicegate.pipeline.shortcuts.near_duplicates import KnownText, NearKey
from sluicegate.pipeline.shortcuts.screening import Sample
from sluicegate.schemas import AssessedBy, Assessment, Post, Scores, Severity


@dataclass(slots=True, eq=False)
class Arrival:
    """A decoded post in the window."""

    slot: Slot
    post: Post
    tried: Policy | None = None
    """The policy of a second judge, where that one judges the post: as long as the post is in the window."""

    @property
    def over(self) -> bool:
        """True once it was given back."""
        return self.slot.released

    def decided_by(self, policy: Policy) -> Policy:
        """Whose rules are for this post: those of its second judge, or of the policy in force."""
        return policy if self.tried is None else self.tried


@dataclass(slots=True, eq=False)
class Found:
    """What was found of one part of a post."""

    finding: Assessment | ItemFailure
    by: AssessedBy
    origin: PromptInWork | Stored | KnownText | None = None
    """Where it was found; None for a failure that is this post's alone."""
    sent_at: float | None = None
    """Monotonic seconds of the hand-over to the engine; None if nothing was asked of it."""

    @property
    def reused_from(self) -> str | None:
        """The verdict whose assessment is reused."""
        if self.origin is None or self.by is AssessedBy.ENGINE:
            return None
        return self.origin.verdict_id


@dataclass(slots=True, eq=False)
class PostInWork:
    """A decoded post, its place in the window, and what was found of its parts so far. Only :class:`Work` writes here."""

    slot: Slot
    post: Post
    route: Route
    """Of the adapter that the policy named when the post was taken; another policy does not move it."""
    parts: Parts | None
    """None where it could not be cut."""
    keys: tuple[bytes, ...]
    """Of each part, in the cache."""
    sample: Sample | None = None
    """What the screen would have said, where the engine judges to be compared with it."""
    tried: Policy | None = None
    """As for :class:`Arrival`."""
    near: NearKey | None = None
    """None where no near duplicate is sought."""
    found: list[Found | None] = field(init=False)
    """Of each part; whole once the post is settled."""
    deciding: int | None = None
    """The part that decides, where a finding stands in for all; None: the worst."""
    unasked: bool = False
    """True if the policy that decides asks for an explanation that nobody asked for."""
    answered: bool = False
    policy: Policy | None = None
    """The one whose wishes all that is found fulfils; None where nobody knows."""
    left: int = field(init=False)
    """Parts that are not found."""

    def __post_init__(self) -> None:
        self.left = len(self.keys)
        self.found = [None] * self.left

    @classmethod
    def of(cls, arrival: Arrival, cut: Cut, sample: Sample | None) -> Self:
        """A post that arrived, cut into prompts if it can be."""
        if isinstance(cut.parts, ItemFailure):
            return cls.refused(arrival.slot, arrival.post, cut.route, cut.parts, arrival.tried)
        return cls(arrival.slot, arrival.post, cut.route, cut.parts, cut.keys, sample, arrival.tried)

    @classmethod
    def refused(
        cls, slot: Slot, post: Post, route: Route, failure: ItemFailure, tried: Policy | None = None
    ) -> Self:
        """A post that cannot be cut into prompts: nothing is left to be found of it."""
        refused = cls(slot, post, route, None, (), tried=tried)
        refused.found = [Found(failure, AssessedBy.NONE)]
        return refused

    @property
    def over(self) -> bool:
        """True once it may not be answered any more: it is settled, or was given back."""
        return self.answered or self.slot.released

    def decided_by(self, policy: Policy) -> Policy:
        """As for :class:`Arrival`. All that asks a policy about this post asks this one."""
        return policy if self.tried is None else self.tried

    def explain_as(self, policy: Policy, scores: Scores) -> Severity | None:
        """The severity that an explanation is to begin with, once these scores are calibrated; None for none."""
        decider = self.decided_by(policy).decider(self.post)
        return decider.explain_as(self.route.calibrated(scores, self.post))

    def wants_text(self, policy: Policy, scores: Scores) -> bool:
        """True if an explanation is asked for that the model has to write out."""
        return self.decided_by(policy).wants_text(
            self.post, self.route.calibrated(scores, self.post), reasons=self.route.info.reasons
        )

    def suffices(self, policy: Policy, finding: Assessment) -> bool:
        """True if a finding has the explanation that a policy asks for, or that one was asked for and failed.

        An explanation that began with safe says nothing of categories; any other one serves everybody.
        """
        if finding.explanation_failure is not None:
            return True
        wanted = self.explain_as(policy, finding.scores)
        if wanted is None:
            return True
        return explains(finding, wanted, text=self.wants_text(policy, finding.scores))

    def is_decided(self, policy: Policy, finding: Assessment) -> bool:
        """True if a policy can decide by a finding: its explanation tells all that could change what follows, or it failed."""
        if finding.explanation_failure is not None:
            return True
        scores = self.route.calibrated(finding.scores, self.post)
        decider = self.decided_by(policy).decider(self.post)
        wanted = decider.explain_as(scores)
        return wanted is None or decider.is_explained(scores, wanted, finding)

    def note(self, number: int, found: Found, policy: Policy | None) -> bool:
        """Keep what was found of one part; true once that was the last."""
        self.policy = policy if self.left == len(self.keys) or self.policy is policy else None
        if self.found[number] is None:
            self.left -= 1
        self.found[number] = found
        return not self.left


@dataclass(slots=True, eq=False)
class PromptInWork(WaitingPrompt):
    """One distinct prompt in work, and everything that shares its answer. Only :class:`Work` writes here.

    The first member's tenant stands for all.
    """

    key: bytes
    """In the cache."""
    prompt: Prompt
    route: Route
    members: list[tuple[PostInWork, int]]
    """Each post that waits, with the number of its part."""
    scores: Scores | None = None
    """As the engine gave them, not calibrated. Known beforehand where only the explanation is missing."""
    origin: PromptInWork | Stored | None = None
    """Where the scores come from, if they were known beforehand."""
    sent_at: float | None = None
    """Monotonic seconds of the hand-over to the engine."""
    explained_as: Severity | None = None
    """What its explanation is made to begin with, once one is asked for."""
    in_text: bool = True
    """Whether that is to be written out; else its likeliest category is enough."""
    policy: Policy | None = None
    """The one that said whether to explain it."""
    counted: int = 0
    """Members that this policy was asked for; those behind joined later."""
    first: str | None = None
    """The first verdict that carried what was found."""

    @property
    def verdict_id(self) -> str | None:
        """The verdict that first carried its scores; None while that one waits for its other parts."""
        return (self.origin.verdict_id if self.origin is not None else None) or self.first

    @property
    def live(self) -> bool:
        """False once nobody waits for the answer any more."""
        for post, _ in self.members:  # noqa: SIM110 - a generator costs more, and this is asked thrice for every post
            if not post.over:
                return True
        return False

    @property
    def posts(self) -> list[PostInWork]:
        """The posts that wait for it; one that has several parts may come several times."""
        return [post for post, _ in self.members]

    def note_scores(self, scores: Scores) -> None:
        """Keep what the engine says, as soon as it does: nothing else may lose it."""
        self.scores = scores

    def explain_as(self, policy: Policy) -> Severity | None:
        """What its explanation is to begin with; None if it is not scored, or no member asks for one.

        One that begins with another severity than safe serves those that want no category, too.
        """
        scores = self.scores
        wanted: Severity | None = None
        if scores is not None:
            for post, _ in self.members:
                wanted = post.explain_as(policy, scores) or wanted
                if wanted is not None and wanted != "safe":
                    break
        return wanted

    def wants_text(self, policy: Policy) -> bool:
        """True if some member asks for an explanation that is written out: it serves the others, too."""
        scores = self.scores
        return scores is not None and any(post.wants_text(policy, scores) for post, _ in self.members)
