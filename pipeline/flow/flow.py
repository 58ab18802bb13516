"""The path of a post.

1 take, 2 decode, 3 look up, 4 plan, 5 score, 6 explain, 7 decide, 8 publish, 9 acknowledge.

Steps 1 to 3 and 7 to 9 run per post, 4 to 6 per micro-batch, several of them in flight. A crash
before 8 repeats the post; a crash between 8 and 9 repeats its verdict, with the same id unless the
engine's answer moved across a threshold. Nothing is acknowledged before the brokers have its
verdict or dead letter, and no failure becomes an allow unless the tenant chose to fail open.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sluicegate.engines.backends import Backends
from sluicegate.engines.protocol import ItemFailure, Prompt
from sluicegate.engines.screen import Screen
from sluicegate.pipeline.flow.answers import Answer, Answers
from sluicegate.pipeline.flow.deadline import LOOK_S, run_out
from sluicegate.pipeline.flow.decision import assess
from sluicegate.pipeline.flow.near_duplicates import NearDuplicates
from sluicegate.pipeline.flow.planner import Line, plan
from sluicegate.pipeline.flow.routes import Route, Routes
from sluicegate.pipeline.flow.screening import Screening
from sluicegate.pipeline.flow.steps import PublishAndAcknowledge, TakeAndDecode, next_chunk
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.flow.work import Asked, Found, Outcome, PartInWork, PostInWork, PromptInWork, parted
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Delivery, Outlet
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shortcuts.cache import AssessmentCache, SharedAssessments, Stored
from sluicegate.schemas import AssessedBy, Assessment, Rejection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence


class Flow:
    """Carries posts from a source to their topics. One per worker; one event loop."""

    def __init__(  # noqa: PLR0913 - all that a path is made of
        self,
        settings: Settings,
        backends: Backends,
        policy: Callable[[], Policy],
        window: Window,
        outlet: Outlet,
        instruments: Instruments,
        screen: Screen | None = None,
        *,
        shared: SharedAssessments | None = None,
    ) -> None:
        self._settings = settings
        self._wake = asyncio.Event()
        self._routes = Routes(backends, settings, policy, instruments, turned=self._wake.set)
        self.servers = self._routes.servers
        self._policy = policy
        self._window = window
        self._clock = instruments.clock
        self._metrics = instruments.metrics
        self._tracing = instruments.tracing
        self._answers = Answers(settings, policy=policy, instruments=instruments)
        self.breaker = self._answers.breaker
        self._screening = Screening(settings.screen, policy, instruments, self._answers, screen)
        self.switch = self._screening.switch
        self._take_and_decode = TakeAndDecode(window, settings.limits.post_bytes, instruments)
        self._publish_and_acknowledge = PublishAndAcknowledge(window, outlet, instruments)
        self.cache = AssessmentCache(settings.cache.entries, settings.cache.bytes, shared)
        self._near = NearDuplicates(settings, policy, instruments, self._answers, self._known, self._look_up)
        self._decoded: asyncio.Queue[PostInWork] = asyncio.Queue()  # bounded by the window
        self._waiting: dict[int, PromptInWork] = {}
        self._line = Line()
        self._single_flight: dict[bytes, PromptInWork] = {}
        self._numbers = 0
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self, source: AsyncIterator[Delivery]) -> None:
        """Carry posts until the source ends or the task is cancelled.

        Cancelling abandons what is in flight, unacknowledged.

        Raises:
            ExceptionGroup: The producer died for good, or a fault of ours; the process must end.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                watching = self._look_up_all(), self._plan_all(), self._watch_deadlines()
                loops = [tasks.create_task(loop) for loop in watching]
                await self._take_all(source)
                await self._window.drained()
                for loop in loops:
                    loop.cancel()
        finally:
            self._tasks = None
            self._routes.close()

    @property
    def running(self) -> bool:
        """False once nothing that is held will be answered any more."""
        return self._tasks is not None

    async def _take_all(self, source: AsyncIterator[Delivery]) -> None:
        async for slot, post in self._take_and_decode.posts(source):  # 1, 2
            if isinstance(post, Rejection):
                self._spawn(self._publish([self._answers.dead_letter(slot, post)]))
            else:
                sample = self._screening.sample_from(slot.delivery)
                self._decoded.put_nowait(PostInWork(slot, post, self._routes.of(post), sample=sample))

    async def _look_up_all(self) -> None:
        while True:
            arrivals = await next_chunk(self._decoded)
            with self._tracing.batch("look_up", arrivals):
                answered = await self._look_up_chunk(arrivals)  # 3
            if answered:
                self._spawn(self._publish(answered))
            self._wake.set()

    async def _look_up_chunk(self, arrivals: Sequence[PostInWork]) -> list[Answer]:
        answered: list[Answer] = []
        wanted: list[Asked] = []
        for route in dict.fromkeys(arrival.route for arrival in arrivals):
            its = [arrival for arrival in arrivals if arrival.route is route]
            built = await route.parts.build([arrival.post for arrival in its])
            for arrival, parts in zip(its, built, strict=True):
                if isinstance(parts, ItemFailure):
                    answered.append(self._answers.give_up(arrival, parts))
                    continue
                arrival.parts = parts
                wanted.append(arrival.asked)
        await self.cache.fetch(key for asked in wanted for _, key, _ in asked)
        if self._screening.on:
            # Of a post whose folded form was blocked before, the engine knows more than any screen.
            unknown = [asked for asked in wanted if not any(self._known(key) for _, key, _ in asked)]
            answered += await self._screening.look_up([asked[0][0].arrival for asked in unknown])
        left = [asked[0][0].arrival for asked in wanted]
        # A sample is judged for its own sake: nothing stands in for it.
        await self._near.read([one for one in left if not one.over and one.sample is None])
        return answered + [answer for asked in wanted for answer in self._near.look_up(asked)]

    def _known(self, key: bytes) -> bool:
        return key in self._single_flight or key in self.cache

    def _look_up(self, member: PartInWork, key: bytes, prompt: Prompt) -> list[Answer]:
        """Answer from the cache, join the judgement of the same prompt, or begin one."""
        stored = self.cache.get(key)
        if stored is not None and member.suffices(self._policy(), stored.assessment):
            self._metrics.cache_hits.labels(stored.how).inc()
            found = Found(stored.assessment, AssessedBy.CACHE, reused_from=stored.verdict_id)
            return self._settle_part(member, found)
        judgement = self._single_flight.get(key)
        if judgement is not None:
            self._metrics.cache_hits.labels("joined").inc()
            judgement.members.append(member)
        else:
            self._begin(key, prompt, [member], stored)
        return []

    def _settle_part(self, member: PartInWork, found: Found) -> list[Answer]:
        """Note one part. What the policy in force asks for of the others, since they were found, is asked for now."""
        answer, arrival = self._answers.settle(member, found), member.arrival
        if answer is not None or arrival.over:
            return [answer] if answer is not None else []
        return [one for asked in arrival.asked_again(self._policy()) for one in self._look_up(*asked)]

    def _begin(self, key: bytes, prompt: Prompt, members: list[PartInWork], stored: Stored | None) -> None:
        self._numbers += 1
        judgement = PromptInWork.begun(self._numbers, key, prompt, members, since=self._clock.monotonic())
        if stored is not None:  # only its explanation is missing
            judgement.reused = True
            judgement.scores, judgement.scored_in = stored.assessment.scores, stored.verdict_id
        self._single_flight[key] = judgement
        self._waiting[judgement.waiting.key] = judgement
        self._line.add(judgement.waiting)
        self._wake.set()

    def _leave_line(self, judgement: PromptInWork) -> PromptInWork:
        self._line.remove(judgement.waiting)
        return self._waiting.pop(judgement.waiting.key)

    async def _plan_all(self) -> None:
        while True:
            self._wake.clear()
            ask_again_at: list[float] = []
            for routes, free, idle, limits in self._routes.shares():
                if free <= 0:
                    continue
                decided = plan(  # 4
                    self._line,
                    adapters={route.adapter for route in routes},
                    now=self._clock.monotonic(),
                    free=free,
                    idle=idle,
                    limits=limits,
                )
                ask_again_at += [decided.ask_again_at] if decided.ask_again_at is not None else []
                for keys in decided.micro_batches:
                    self._send([self._leave_line(self._waiting[key]) for key in keys])
            await self._clock.wait(self._wake, until=min(ask_again_at, default=None))

    def _send(self, micro_batch: list[PromptInWork]) -> None:
        route = micro_batch[0].route
        tokens = route.begin(micro_batch, now=self._clock.monotonic())
        self._metrics.micro_batch_posts.observe(len(micro_batch))
        self._metrics.micro_batch_tokens.observe(tokens)
        self._wake.set()  # another adapter's may go, too
        self._spawn(self._judge_batch(route, micro_batch))

    async def _judge_batch(self, route: Route, micro_batch: list[PromptInWork]) -> None:
        failures = await route.judge.score([item for item in micro_batch if item.scores is None])  # 5
        wanted, early, late = parted(micro_batch, self._policy())
        answered = self._settle(early, failures)
        route.shift(micro_batch, -1)
        route.shift(wanted, 1)
        if wanted:  # the others do not wait for them
            self._wake.set()
            self._spawn(self._publish(answered))
            explained = await route.judge.explain(wanted)  # 6
            answered = self._settle(late, failures | explained)
        route.in_flight -= 1
        route.shift(wanted, -1)
        self._wake.set()
        await self._publish(answered)

    def _settle(
        self, judgements: Iterable[PromptInWork], found: Mapping[PromptInWork, Outcome]
    ) -> list[Answer]:
        answered: list[Answer] = []
        for judgement in judgements:
            del self._single_flight[judgement.key]
            if judgement.scores is not None:
                finding = assess(judgement.scores, found.get(judgement), judgement.explained_as)
                answered += self._conclude(judgement, finding)
            elif isinstance(failure := found.get(judgement), ItemFailure):
                answered += self._conclude(judgement, failure)
            elif judgement.live:  # set aside; or abandoned, and joined again before this line
                self._single_flight[judgement.key] = judgement
                self._spawn(self._begin_again(judgement))
        return answered

    async def _begin_again(self, judgement: PromptInWork) -> None:
        await judgement.route.judge.wait_aside(judgement)
        del self._single_flight[judgement.key]
        if judgement.live:
            self._begin(judgement.key, judgement.prompt, judgement.members, None)

    async def _watch_deadlines(self) -> None:
        """Answer the posts whose tenants wait no longer, be they in hand or in the queue."""
        while True:
            await self._clock.sleep(LOOK_S)
            now, in_work = self._clock.monotonic(), self._single_flight.values()
            if given_up := run_out(in_work, self._answers, self._policy(), self._routes, now=now):
                self._spawn(self._publish(given_up))
            for over in [judgement for judgement in self._waiting.values() if not judgement.live]:
                del self._single_flight[self._leave_line(over).key]

    def _conclude(self, judgement: PromptInWork, finding: Assessment | ItemFailure) -> list[Answer]:
        """Settle every member, store what may be reused, and begin again for those it does not suffice."""
        answered: list[Answer] = []
        unexplained: list[PartInWork] = []
        first = judgement.scored_in
        by = AssessedBy.CACHE if judgement.reused else AssessedBy.ENGINE
        for member in judgement.members:
            if member.arrival.over:
                continue
            if isinstance(finding, Assessment) and not member.suffices(self._policy(), finding):
                unexplained.append(member)  # joined after the engine was asked
                continue
            found = Found(finding, by, judgement.sent_at, first)
            by = AssessedBy.CACHE
            for answer in self._settle_part(member, found):
                answered.append(answer)
                # A verdict that another part decided carries what was found of that one.
                first = first or (answer.event_id if answer.found is found else None)
        if isinstance(finding, Assessment):
            # A failed explanation is never stored; the scores beside it are good.
            kept = finding if finding.explanation_failure is None else assess(finding.scores, None)
            self.cache.put(judgement.key, Stored(kept, first))
            if unexplained:
                self._begin(judgement.key, judgement.prompt, unexplained, Stored(kept, first))
        return answered

    def give_back(self) -> int:
        """Give back everything held, unacknowledged; nothing of it is delivered any more. Says how many posts."""
        self._near.give_back()
        return self._publish_and_acknowledge.give_back()

    async def _publish(self, answered: list[Answer]) -> None:
        """8 and 9: deliver, then acknowledge. What was given back meanwhile is neither."""
        answered = [answer for answer in answered if not answer.slot.released]
        answered += self._near.follow(answered)
        await self._publish_and_acknowledge.publish(answered)
        self._screening.compare(answered)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        if self._tasks is None:
            raise RuntimeError("the flow is not running")
        self._tasks.create_task(work)
