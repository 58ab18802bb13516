"""The path of a post.

1 take, 2 decode, 3 look up, 4 plan, 5 score, 6 explain, 7 decide, 8 publish, 9 acknowledge.

Steps 1 to 3 run per chunk, 4 to 9 per micro-batch, several of them in flight. A crash
before 8 repeats the post; a crash between 8 and 9 repeats its verdict, with the same id unless the
engine's answer moved across a threshold. Nothing is acknowledged before the brokers have its
verdict or dead letter, and no failure becomes an allow unless the tenant chose to fail open.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING

from sluicegate.engines.backends import Backends
from sluicegate.engines.screen import Screener
from sluicegate.pipeline.flow.answers import Answer, Answers, Moment
from sluicegate.pipeline.flow.in_work import Arrival, PostInWork, PromptInWork
from sluicegate.pipeline.flow.near_duplicates import NearDuplicates
from sluicegate.pipeline.flow.planner import plan
from sluicegate.pipeline.flow.routes import Decided, Routes
from sluicegate.pipeline.flow.screening import Screening
from sluicegate.pipeline.flow.tried import TriedJudge
from sluicegate.pipeline.flow.window import CHUNK, CHUNK_BYTES, Window
from sluicegate.pipeline.flow.work import Told, Work
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.patterns.matcher import Matcher
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Delivery, Outlet, Slot
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shortcuts.cache import AssessmentCache, SharedAssessments, Stored
from sluicegate.pipeline.shortcuts.screening import Sample
from sluicegate.schemas import Post, Rejection, decode_post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence

_GATHER_S = 0.002
"""Between two look-ups. A look-up costs nearly the same for one post as for three, and at 800 posts a second the event loop was
at work three quarters of the time: posts waited for it longer than they would for one another."""
LOOK_S = 0.25
"""How often to look for deadlines: no post waits longer than its tenant's ``max_wait_seconds`` and this."""


class Flow:
    """Carries posts from a source to their topics, by an engine and what spares it. One per worker; one event loop."""

    def __init__(  # noqa: PLR0913 - all that a path is made of
        self,
        settings: Settings,
        backends: Backends,
        policy: Callable[[], Policy],
        window: Window,
        outlet: Outlet,
        instruments: Instruments,
        screen: Screener | None = None,
        *,
        shared: SharedAssessments | None = None,
        tried: TriedJudge | None = None,
        matcher: Matcher | None = None,
    ) -> None:
        self._settings = settings
        self._tried = tried
        self._policy = policy
        self._window = window
        self._outlet = outlet
        self._clock = instruments.clock
        self._metrics = instruments.metrics
        self._tracing = instruments.tracing
        self._answers = Answers(settings, instruments=instruments, matcher=matcher)
        self.breaker = self._answers.breaker
        if tried is not None:
            self.breaker.use_beside(tried.policy.digest)
        self._screening = Screening(settings.screen, policy, instruments, self._answers, screen)
        self.switch = self._screening.switch
        self._decoded: asyncio.Queue[list[Arrival]] = asyncio.Queue()  # bounded by the window
        self._publishing: set[asyncio.Future[None]] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._wake = asyncio.Event()
        self._routes = Routes(backends, settings, policy, instruments, turned=self._wake.set)
        self.servers = self._routes.servers
        self._near = NearDuplicates(settings.cache.near_duplicates)
        self.cache = AssessmentCache(settings.cache.entries, settings.cache.bytes, shared)
        self.work = Work(self.cache, self._near.index)

    def _loops(self) -> list[Coroutine[None, None, None]]:
        """What runs beside the take."""
        return [self._look_up_all(), self._plan(), self._watch_deadlines()]

    async def run(self, source: AsyncIterator[Sequence[Delivery]]) -> None:
        """Carry posts until the source ends or the task is cancelled.

        Cancelling abandons what is in flight, unacknowledged.

        Args:
            source: Chunks of a partition, each in the order of its offsets.

        Raises:
            ExceptionGroup: The producer died for good, or a fault of ours; the process must end.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                loops = [tasks.create_task(loop) for loop in self._loops()]
                await self._take(source)
                await self._window.drained()
                for loop in loops:
                    loop.cancel()
        finally:
            self._tasks = None
            self._routes.close()

    @property
    def screen_state(self) -> str:
        """What the screen does, for people."""
        return self._screening.state

    @property
    def running(self) -> bool:
        """False once nothing that is held will be answered any more."""
        return self._tasks is not None

    async def _take(self, source: AsyncIterator[Sequence[Delivery]]) -> None:
        taken = 0
        async for chunk in self._tracing.posts(source):
            waiting = deque(chunk)
            while waiting:
                slots = await self._window.take(waiting)  # 1
                self._tracing.took(slot.delivery for slot in slots)
                self._metrics.taken.inc(len(slots))
                arrivals, rejected = self._decode(slots)  # 2
                self._spawn(rejected)
                if arrivals:
                    self._decoded.put_nowait(arrivals)
                taken += len(slots)
                if taken >= CHUNK:  # to decode them took milliseconds: others get their turn
                    taken = 0
                    await asyncio.sleep(0)

    async def _look_up_all(self) -> None:
        """Look up what was taken; chunks that came meanwhile go together, so that small ones cost no more than large.

        What comes alone is looked up at once; what follows it closely is gathered first.
        """
        again_at = -math.inf
        while True:
            arrivals = await self._decoded.get()
            if (wait_s := again_at - self._clock.monotonic()) > 0:
                await self._clock.sleep(wait_s)
            again_at = self._clock.monotonic() + _GATHER_S
            size_bytes = sum(arrival.slot.size_bytes for arrival in arrivals)
            while len(arrivals) < CHUNK and size_bytes < CHUNK_BYTES and not self._decoded.empty():
                arrivals += (more := self._decoded.get_nowait())
                size_bytes += sum(arrival.slot.size_bytes for arrival in more)
            self._spawn(await self._look_up(arrivals))  # 3

    def _decode(self, slots: Sequence[Slot]) -> tuple[list[Arrival], list[Answer]]:
        """The posts, and the answers to what is none. Tombstones end here."""
        arrivals: list[Arrival] = []
        rejected: list[Answer] = []
        limit_bytes = self._settings.limits.post_bytes
        full = [slot for slot in slots if slot.delivery.value is not None]
        if len(full) < len(slots):
            self._metrics.tombstones.inc(len(slots) - len(full))
            self._window.finish(slot for slot in slots if slot.delivery.value is None)
        with self._tracing.decode(slot.delivery for slot in full):
            for slot in full:
                post = decode_post(slot.delivery.value or b"", limit_bytes=limit_bytes)
                if isinstance(post, Rejection):
                    rejected.append(self._answers.dead_letter(slot, post))
                else:
                    tried = self._tried_policy(post)
                    self._metrics.candidate_posts.inc(tried is not None)
                    arrivals.append(Arrival(slot, post, tried))
        return arrivals, rejected

    def _tried_policy(self, post: Post) -> Policy | None:
        """The policy of the second judge, where the post is that one's. It is asked once, when the post is taken."""
        return self._tried.policy if self._tried is not None and self._tried.judges(post) else None

    def _spawn(self, answers: list[Answer]) -> None:
        if answers:
            self._start(self._publish(answers))

    def _start(self, task: Coroutine[None, None, None]) -> None:
        if self._tasks is None:
            task.close()
            raise RuntimeError("the flow is not running")
        self._tasks.create_task(task)

    async def _publish(self, answers: Sequence[Answer]) -> None:
        """8 and 9: deliver, then acknowledge. What was given back meanwhile is neither; this is cancelled then."""
        answers = [answer for answer in answers if not answer.slot.released]
        if not answers:
            return
        with self._tracing.publish(answers) as records:
            publishing = asyncio.ensure_future(self._outlet.publish(records))  # 8
            self._publishing.add(publishing)
            publishing.add_done_callback(self._publishing.discard)
            await publishing
        self._count(answers)
        self._window.finish(answer.slot for answer in answers)  # 9
        self._screening.compare(answers)

    def give_back(self) -> int:
        """Give back everything held, unacknowledged; nothing of it is delivered any more. Says how many posts."""
        for publishing in self._publishing:
            publishing.cancel()  # and with it the task that waits for it
        given_back = self._window.release()
        self.work.release()
        return given_back

    def _count(self, answers: Sequence[Answer]) -> None:
        delivered = [(answer.record.event, answer.slot.delivery.timestamp_ms) for answer in answers]
        self._metrics.count(delivered, now_ms=self._clock.utc().timestamp() * 1000)

    async def _look_up(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        with self._tracing.batch("look_up", arrivals):
            policy = self._policy()
            cut = await self._routes.cut([Decided(one.post, one.decided_by(policy)) for one in arrivals])
            await self.cache.fetch(key for its in cut for key in its.keys)
            each = list(zip(arrivals, cut, strict=True))
            screened: dict[Arrival, Answer] = {}
            samples: dict[Arrival, Sample] = {}
            if self._screening.has_screen:
                # Of a post whose folded form was blocked before, the engine knows more than any screen.
                unknown = [one for one, its in each if its.keys and not self.work.knows(its.keys)]
                screened, samples = await self._screening.look_up(unknown)
            posts = [PostInWork.of(one, its, samples.get(one)) for one, its in each if one not in screened]
            near = await self._near.keys(posts, self._policy())
            policy, now = self._policy(), self._clock.monotonic()
            settled = self.work.enter(self._still_wanted(posts), policy, now, near)
            answers = [*screened.values(), *self._decide(settled, policy, now)]
        self._wake.set()
        return answers

    def are_at_work(self, adapters: Iterable[str | None]) -> bool:
        """Whether none of these adapters' engines is away or on trial."""
        return self._routes.are_at_work(adapters)

    def recall(self) -> None:
        """Take the posts back from the second judge that are its own no more: they are judged from the beginning.

        Without this, posts would wait for an engine that is away, though nobody wants its verdict any more.
        """
        self._begin_again(self.work.recall(self._is_recalled))

    def _is_recalled(self, post: PostInWork) -> bool:
        return post.tried is not None and self._tried_policy(post.post) is None

    def _still_wanted(self, posts: Sequence[PostInWork]) -> list[PostInWork]:
        """All but those that the second judge lost while they were looked up."""
        recalled = [post for post in posts if self._is_recalled(post)]
        self._begin_again([post for post in recalled if not post.over])
        return [post for post in posts if post not in recalled] if recalled else [*posts]

    def _begin_again(self, posts: Sequence[PostInWork]) -> None:
        if posts:
            self._decoded.put_nowait([Arrival(one.slot, one.post) for one in posts])
            self._wake.set()

    async def _plan(self) -> None:
        while True:
            self._wake.clear()
            ask_again_at: list[float] = []
            # Woken several times for each post; in most of them nothing waits.
            for routes, free, idle, limits in self._routes.shares() if self.work.waiting else ():
                if free <= 0:
                    continue
                adapters, now = {route.adapter for route in routes}, self._clock.monotonic()
                planned = plan(
                    self.work.line, adapters=adapters, now=now, free=free, idle=idle, limits=limits
                )  # 4
                ask_again_at += [planned.ask_again_at] if planned.ask_again_at is not None else []
                for numbers in planned.micro_batches:
                    self._send(self.work.send(numbers, now))
            await self._clock.wait(self._wake, until=min(ask_again_at, default=None))

    def _send(self, micro_batch: list[PromptInWork]) -> None:
        tokens = micro_batch[0].route.begin(micro_batch)
        self._metrics.micro_batch_posts.observe(len(micro_batch))
        self._metrics.micro_batch_tokens.observe(tokens)
        self._wake.set()  # another adapter's may go, too
        self._start(self._judge(micro_batch))

    async def _judge(self, micro_batch: list[PromptInWork]) -> None:
        route = micro_batch[0].route
        unscored = [prompt for prompt in micro_batch if prompt.scores is None]
        failures = await route.judge.score(unscored)  # 5
        policy, now = self._policy(), self._clock.monotonic()
        told = self.work.scored(micro_batch, failures, policy, now)
        answers = self._settle(told, policy, now)
        route.shift(micro_batch, -1)
        wanted = told.wanted
        if wanted:  # the others do not wait for them
            route.shift(wanted, 1)
            self._wake.set()
            self._spawn(answers)
            explained = await route.judge.explain(wanted)  # 6
            policy, now = self._policy(), self._clock.monotonic()
            told = self.work.explained(told.late, failures | explained, policy, now)
            answers = self._settle(told, policy, now)
            route.shift(wanted, -1)
        route.in_flight -= 1
        self._wake.set()
        self._spawn(answers)

    def _settle(self, told: Told, policy: Policy, now: float) -> list[Answer]:
        """Decide what the engine's answers settle, then keep them for others: a verdict's id goes with them."""
        answers = self._decide(told.settled, policy, now)
        for prompt, assessment in told.learned:
            self.cache.put(prompt.key, Stored(assessment, prompt.verdict_id))
        for prompt in told.aside:
            self._start(self._wait_aside(prompt))
        return answers

    async def _wait_aside(self, prompt: PromptInWork) -> None:
        await prompt.route.judge.wait_aside(prompt)
        self.work.again(prompt, self._clock.monotonic())
        self._wake.set()

    def _decide(self, settled: list[PostInWork], policy: Policy, now: float) -> list[Answer]:
        """7, and what follows for those that waited for a near duplicate."""
        answers: list[Answer] = []
        moment = Moment(now, self._clock.utc())
        while settled:
            followers: list[PostInWork] = []
            for post in settled:
                answer, verdict, deciding = self._answers.decide(post, policy, moment)
                answers.append(answer)
                known = self._near.learn(post, deciding, verdict.verdict_id, policy, now)
                followers += self.work.answered(
                    post, deciding, verdict.verdict_id, known, policy=policy, now=now
                )
            settled = followers
        for (what, label), count in self.work.counts().items():
            metric = self._metrics.cache_hits if what == "hit" else self._metrics.folded_parts
            metric.labels(label).inc(count)
        return answers

    async def _watch_deadlines(self) -> None:
        """Answer the posts whose tenants wait no longer, be they in hand or in the queue."""
        while True:
            await self._clock.sleep(LOOK_S)
            policy, now = self._policy(), self._clock.monotonic()
            tried_waits_s = self._tried.policy.least_wait_seconds if self._tried is not None else None
            if policy.least_wait_seconds is None and tried_waits_s is None and self._routes.all_at_work:
                continue  # the common case, several times a second beside a full window
            settled = self.work.give_up(policy, now, gone=self._routes.given_up(now))
            self._spawn(self._decide(settled, policy, now))
