"""What is in work: a post, its parts, and each prompt that the engine is asked about once for all who wait for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self, TypeAlias

from sluicegate.engines.protocol import Explanation, ItemFailure, Prompt
from sluicegate.engines.text.segmenter import Parts
from sluicegate.pipeline.flow.planner import WaitingPrompt
from sluicegate.pipeline.flow.routes import Route
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.rules import explains
from sluicegate.pipeline.records import Slot
from sluicegate.pipeline.shortcuts.cache import cache_key
from sluicegate.pipeline.shortcuts.screening import Sample
from sluicegate.schemas import AssessedBy, Assessment, Post, Scores, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence


Asked: TypeAlias = "list[tuple[PartInWork, bytes, Prompt]]"
"""All parts of one post, each with its key in the cache and its prompt."""
Outcome: TypeAlias = "Explanation | ItemFailure"
"""What a call leaves of a judgement beside its scores."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one part of a post."""

    finding: Assessment | ItemFailure
    by: AssessedBy
    sent_at: float | None = None
    """Monotonic seconds of the hand-over to the engine; None if nothing was asked of it."""
    reused_from: str | None = None
    """The verdict whose assessment is reused."""


@dataclass(frozen=True, slots=True)
class NearKey:
    """What two posts have in common where one may stand in for the other."""

    key: bytes
    stands: bool
    """False if this one's finding may stand for no other: no engine read its reduced form."""
    policy: str
    """Digest of the policy that the key is of."""


@dataclass(slots=True, eq=False)
class PostInWork:
    """A decoded post, its place in the window, and what was found of its parts so far."""

    slot: Slot
    post: Post
    route: Route
    """Of the adapter that the policy named when the post was taken; another policy does not move it."""
    parts: Parts | None = None
    found: dict[int, Found] = field(default_factory=dict)
    again: set[int] = field(default_factory=set)
    """Parts that are found, and asked about again for their explanation."""
    answered: bool = False
    near: NearKey | None = None
    """None where no near duplicate is sought."""
    sample: Sample | None = None
    """What the screen would have said, where the engine judges to be compared with it."""

    @property
    def over(self) -> bool:
        """True once it was answered or given back: nothing more is to be done for it."""
        return self.answered or self.slot.released

    @property
    def asked(self) -> Asked:
        """Every part with its key in the cache and its prompt."""
        prompts = [part.prompt for part in self.parts.parts] if self.parts is not None else []
        info = self.route.info
        return [
            (PartInWork(self, number), cache_key(prompt, info), prompt)
            for number, prompt in enumerate(prompts)
        ]

    def lacking(self, policy: Policy) -> set[int]:
        """The parts found without the explanation that a policy asks for, since another one was in force then."""
        return {
            number
            for number, one in self.found.items()
            if isinstance(one.finding, Assessment)
            and not PartInWork(self, number).suffices(policy, one.finding)
        }

    def asked_again(self, policy: Policy) -> Asked:
        """Those parts, once all others are found, and once each: what is found of them stays until there is more."""
        if self.parts is None or len(self.found) < len(self.parts.parts):
            return []
        wanted = self.lacking(policy) - self.again
        self.again |= wanted
        return [asked for asked in self.asked if asked[0].part in wanted] if wanted else []


@dataclass(frozen=True, slots=True, eq=False)
class PartInWork:
    """One part of a post that waits for a judgement; most posts have one part."""

    arrival: PostInWork
    part: int

    def explain_as(self, policy: Policy, scores: Scores) -> Severity | None:
        """The severity that its explanation is to begin with, once these scores are calibrated; None for none."""
        post = self.arrival.post
        return policy.explain_as(post, self.arrival.route.calibrated(scores, post))

    def suffices(self, policy: Policy, finding: Assessment) -> bool:
        """True if a finding has the explanation that its policy asks for, or that one was asked for and failed.

        An explanation that began with safe says nothing of categories; any other one serves everybody.
        """
        if finding.explanation_failure is not None:
            return True
        wanted = self.explain_as(policy, finding.scores)
        return wanted is None or explains(finding, wanted)


@dataclass(slots=True, eq=False)
class PromptInWork:
    """One distinct prompt in work, and everything that shares its answer (single flight)."""

    key: bytes
    prompt: Prompt
    route: Route
    waiting: WaitingPrompt
    """What the planner sees of it. The first member's tenant stands for all."""
    members: list[PartInWork] = field(default_factory=list)
    scores: Scores | None = None
    """As the engine gave them, not calibrated. Known beforehand where only the explanation is missing."""
    reused: bool = False
    """True if the scores were known beforehand: another post was scored for them."""
    explained_as: Severity | None = None
    """What its explanation is made to begin with, once one is asked for."""
    scored_in: str | None = None
    """The verdict that first carried those scores; None while that one waits for its other parts."""
    sent_at: float | None = None
    """Monotonic seconds of the hand-over to the engine."""

    @classmethod
    def begun(
        cls, number: int, key: bytes, prompt: Prompt, members: list[PartInWork], *, since: float
    ) -> Self:
        """One that waits for the planner from now on."""
        arrival = members[0].arrival
        waiting = WaitingPrompt(
            number, len(prompt.token_ids), arrival.post.tenant, arrival.route.adapter, since
        )
        return cls(key, prompt, arrival.route, waiting, members)

    @property
    def live(self) -> bool:
        """False once nobody waits for the answer any more."""
        for member in self.members:  # noqa: SIM110 - a generator costs more, and this is asked thrice for every post
            if not member.arrival.over:
                return True
        return False

    @property
    def posts(self) -> list[PostInWork]:
        """The posts that wait for it; one that has several parts may come several times."""
        return [member.arrival for member in self.members]

    def explain_as(self, policy: Policy) -> Severity | None:
        """What its explanation is to begin with; None if it is not scored, or no member asks for one.

        One that begins with another severity than safe serves those that want no category, too.
        """
        scores = self.scores
        wanted: Severity | None = None
        if scores is not None:
            for member in self.members:
                wanted = member.explain_as(policy, scores) or wanted
                if wanted is not None and wanted != "safe":
                    break
        return wanted


def parted(
    judgements: Sequence[PromptInWork], policy: Policy
) -> tuple[list[PromptInWork], list[PromptInWork], list[PromptInWork]]:
    """Part scored judgements: those to be explained, those that wait for none of these, and all the others.

    What waits is a post: none of its parts is settled before the part that is to be explained.
    """
    for one in judgements:
        one.explained_as = one.explain_as(policy)
    wanted = [one for one in judgements if one.explained_as is not None]
    waiting = {member.arrival for one in wanted for member in one.members}
    late = [one for one in judgements if any(member.arrival in waiting for member in one.members)]
    kept_back = set(late)
    return wanted, [one for one in judgements if one not in kept_back], late
