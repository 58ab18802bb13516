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

from sluicegate.engines.protocol import ItemFailure
from sluicegate.pipeline.answers import Answers
from sluicegate.pipeline.cache import AssessmentCache, Stored
from sluicegate.pipeline.desks import Desks
from sluicegate.pipeline.judgement import Arrival, Found, Judgement, Member
from sluicegate.pipeline.near_duplicates import NearDuplicates
from sluicegate.pipeline.patience import LOOK_S, run_out
from sluicegate.pipeline.planner import Limits, Waiting, plan
from sluicegate.pipeline.verdicts import assess
from sluicegate.schemas import AssessedBy, Assessment, Rejection, decode_post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from sluicegate.engines.backends import Backends
    from sluicegate.engines.protocol import Prompt
    from sluicegate.pipeline.answers import Answer
    from sluicegate.pipeline.desks import Desk
    from sluicegate.pipeline.instruments import Instruments
    from sluicegate.pipeline.judgement import Asked
    from sluicegate.pipeline.policy import Policy
    from sluicegate.pipeline.records import Outlet
    from sluicegate.pipeline.settings import Settings
    from sluicegate.pipeline.window import Delivery, Window

# Tokenised in one trip to the thread pool: enough to amortise it, little enough to wait for. The first of 256 posts
# of 256 KiB, all digits, would wait for minutes for the last, and pass for stalled.
_CHUNK, _CHUNK_BYTES = 256, 262_144


class Flow:
    """Carries posts from a source to their topics. One per worker; one event loop."""

    def __init__(
        self,
        settings: Settings,
        backends: Backends,
        policy: Callable[[], Policy],
        window: Window,
        outlet: Outlet,
        instruments: Instruments,
    ) -> None:
        self._settings = settings
        self._wake = asyncio.Event()
        self._desks = Desks(backends, settings, policy, instruments, turned=self._wake.set)
        self._policy = policy
        self._window = window
        self._outlet = outlet
        self._clock = instruments.clock
        self._metrics = instruments.metrics
        self._tracing = instruments.tracing
        self._answers = Answers(settings, policy=policy, instruments=instruments)
        self.breaker = self._answers.breaker
        self._limits = Limits(
            posts=settings.micro_batch.posts or next(iter(self._desks)).info.saturating_prompts,
            tokens=settings.micro_batch.tokens,
            max_age_s=settings.micro_batch.max_age_ms / 1000,
        )
        self.cache = AssessmentCache(settings.cache.entries)
        self._near = NearDuplicates(settings, policy, instruments, self._answers, self._known, self._look_up)
        self._decoded: asyncio.Queue[Arrival] = asyncio.Queue()  # bounded by the window
        self._waiting: dict[int, Judgement] = {}
        self._single_flight: dict[bytes, Judgement] = {}
        self._numbers = 0
        self._tasks: asyncio.TaskGroup | None = None
        self._delivering: set[asyncio.Future[None]] = set()

    async def run(self, source: AsyncIterator[Delivery]) -> None:
        """Carry posts until the source ends or the task is cancelled.

        Cancelling abandons what is in flight, unacknowledged.

        Raises:
            ExceptionGroup: The producer died for good, or a fault of ours; the process must end.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                watching = self._look_up_all(), self._plan_all(), self._watch_patience()
                loops = [tasks.create_task(loop) for loop in watching]
                await self._take_all(source)
                await self._window.drained()
                for loop in loops:
                    loop.cancel()
        finally:
            self._tasks = None
            self._desks.close()

    @property
    def running(self) -> bool:
        """False once nothing that is held will be answered any more."""
        return self._tasks is not None

    async def _take_all(self, source: AsyncIterator[Delivery]) -> None:
        async for delivery in self._tracing.posts(source):
            with self._tracing.step("take", delivery):
                held = await self._window.take(delivery)  # 1
            if held is None:
                continue
            self._metrics.taken.inc()
            if delivery.value is None:
                self._metrics.tombstones.inc()
                self._window.finish(held)
                continue
            with self._tracing.step("decode", delivery):
                post = decode_post(delivery.value, limit_bytes=self._settings.limits.post_bytes)  # 2
            if isinstance(post, Rejection):
                self._spawn(self._publish([self._answers.dead_letter(held, post)]))
            else:
                self._decoded.put_nowait(Arrival(held, post, self._desks.of(post)))

    async def _look_up_all(self) -> None:
        while True:
            arrivals = [await self._decoded.get()]
            size_bytes = arrivals[0].held.size_bytes
            while len(arrivals) < _CHUNK and size_bytes < _CHUNK_BYTES and not self._decoded.empty():
                arrivals.append(self._decoded.get_nowait())
                size_bytes += arrivals[-1].held.size_bytes
            with self._tracing.batch("look_up", arrivals):
                answered = await self._look_up_chunk(arrivals)  # 3
            if answered:
                self._spawn(self._publish(answered))
            self._wake.set()

    async def _look_up_chunk(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        answered: list[Answer] = []
        wanted: list[Asked] = []
        for desk in dict.fromkeys(arrival.desk for arrival in arrivals):
            its = [arrival for arrival in arrivals if arrival.desk is desk]
            built = await desk.parts.build([arrival.post for arrival in its])
            for arrival, parts in zip(its, built, strict=True):
                if isinstance(parts, ItemFailure):
                    answered.append(self._answers.give_up(arrival, parts))
                    continue
                arrival.parts = parts
                wanted.append(arrival.asked)
        await self._near.read([asked[0][0].arrival for asked in wanted])
        await self.cache.fetch(key for asked in wanted for _, key, _ in asked)
        return answered + [answer for asked in wanted for answer in self._near.look_up(asked)]

    def _known(self, key: bytes) -> bool:
        return key in self._single_flight or self.cache.get(key) is not None

    def _look_up(self, member: Member, key: bytes, prompt: Prompt) -> list[Answer]:
        """Answer from the cache, join the judgement of the same prompt, or begin one."""
        stored = self.cache.get(key)
        if stored is not None and self._suffices(member, stored.assessment):
            self._metrics.cache_hits.labels(stored.how).inc()
            found = Found(stored.assessment, AssessedBy.CACHE, reused_from=stored.verdict_id)
            answer = self._answers.settle(member, found)
            return [answer] if answer is not None else []
        judgement = self._single_flight.get(key)
        if judgement is not None:
            self._metrics.cache_hits.labels("joined").inc()
            judgement.members.append(member)
        else:
            self._begin(key, prompt, [member], stored)
        return []

    def _begin(self, key: bytes, prompt: Prompt, members: list[Member], stored: Stored | None) -> None:
        self._numbers += 1
        arrival = members[0].arrival
        waiting = Waiting(
            key=self._numbers,
            tokens=len(prompt.token_ids),
            tenant=arrival.post.tenant,
            adapter=arrival.desk.adapter,
            since=self._clock.monotonic(),
        )
        judgement = Judgement(key, prompt, arrival.desk, waiting, members)
        if stored is not None:  # only its explanation is missing
            judgement.reused = True
            judgement.scores, judgement.scored_in = stored.assessment.scores, stored.verdict_id
        self._single_flight[key] = judgement
        self._waiting[waiting.key] = judgement
        self._wake.set()

    def _suffices(self, member: Member, assessment: Assessment) -> bool:
        return assessment.explained or not member.needs_explanation(self._policy(), assessment.scores)

    async def _plan_all(self) -> None:
        while True:
            self._wake.clear()
            ask_again_at: list[float] = []
            for desks, free in self._desks.shares(self._settings.micro_batch.in_flight):
                decided = plan(  # 4
                    [judgement.waiting for judgement in self._waiting.values() if judgement.desk in desks],
                    now=self._clock.monotonic(),
                    free=free,
                    idle=not any(desk.in_flight for desk in desks),
                    limits=self._limits,
                )
                ask_again_at += [decided.ask_again_at] if decided.ask_again_at is not None else []
                for keys in decided.micro_batches:
                    micro_batch = [self._waiting.pop(key) for key in keys]
                    micro_batch[0].desk.in_flight += 1
                    self._spawn(self._judge_batch(micro_batch[0].desk, micro_batch))
            await self._clock.wait(self._wake, until=min(ask_again_at, default=None))

    async def _judge_batch(self, desk: Desk, micro_batch: list[Judgement]) -> None:
        started = self._clock.monotonic()
        for judgement in micro_batch:
            judgement.sent_at = started
        self._metrics.micro_batch_posts.observe(len(micro_batch))
        self._metrics.micro_batch_tokens.observe(sum(len(item.prompt.token_ids) for item in micro_batch))
        failures = await desk.judge.score([item for item in micro_batch if item.scores is None])  # 5
        wanted = [item for item in micro_batch if item.needs_explanation(self._policy())]
        explanations = await desk.judge.explain(wanted)  # 6
        desk.in_flight -= 1
        self._wake.set()
        answered: list[Answer] = []
        for judgement in micro_batch:
            del self._single_flight[judgement.key]
            if judgement.scores is not None:
                answered += self._conclude(judgement, assess(judgement.scores, explanations.get(judgement)))
            elif judgement in failures:
                answered += self._conclude(judgement, failures[judgement])
            elif judgement.live:  # abandoned, and joined again before this line
                self._begin(judgement.key, judgement.prompt, judgement.members, None)
        await self._publish(answered)

    async def _watch_patience(self) -> None:
        """Answer the posts whose tenants wait no longer, be they in hand or in the queue."""
        while True:
            await self._clock.sleep(LOOK_S)
            now, held = self._clock.monotonic(), self._single_flight.values()
            if given_up := run_out(held, self._answers, self._policy(), self._desks, now=now):
                self._spawn(self._publish(given_up))
            for over in [judgement for judgement in self._waiting.values() if not judgement.live]:
                del self._waiting[over.waiting.key], self._single_flight[over.key]

    def _conclude(self, judgement: Judgement, finding: Assessment | ItemFailure) -> list[Answer]:
        """Settle every member, store what may be reused, and begin anew for those it does not suffice."""
        answered: list[Answer] = []
        unexplained: list[Member] = []
        first = judgement.scored_in
        by = AssessedBy.CACHE if judgement.reused else AssessedBy.ENGINE
        for member in judgement.members:
            if member.arrival.over:
                continue
            if isinstance(finding, Assessment) and not self._suffices(member, finding):
                unexplained.append(member)  # joined after the engine was asked
                continue
            answer = self._answers.settle(member, Found(finding, by, judgement.sent_at, first))
            by = AssessedBy.CACHE
            if answer is not None:
                answered.append(answer)
                first = first or answer.event_id
        if isinstance(finding, Assessment):
            # A failed explanation is never stored; the scores beside it are good.
            kept = finding if finding.explanation_failure is None else assess(finding.scores, None)
            self.cache.put(judgement.key, Stored(kept, first))
            if unexplained:
                self._begin(judgement.key, judgement.prompt, unexplained, Stored(kept, first))
        return answered

    def give_back(self) -> int:
        """Give back everything held, unacknowledged; nothing of it is delivered any more. Says how many posts."""
        for delivering in self._delivering:
            delivering.cancel()  # and with it the task that waits for it
        self._near.give_back()
        return self._window.release()

    async def _publish(self, answered: list[Answer]) -> None:
        """8 and 9: deliver, then acknowledge. What was given back meanwhile is neither."""
        answered = [answer for answer in answered if not answer.held.released]
        answered += self._near.follow(answered)
        if not answered:
            return
        with self._tracing.publish(answered) as records:
            delivering = asyncio.ensure_future(self._outlet.publish(records))  # 8
            self._delivering.add(delivering)
            delivering.add_done_callback(self._delivering.discard)
            await delivering
        now_ms = self._clock.utc().timestamp() * 1000
        for answer in answered:
            produced_ms = answer.held.delivery.timestamp_ms
            self._metrics.count(answer.record.event, produced_ms=produced_ms, now_ms=now_ms)
            self._window.finish(answer.held)  # 9

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        if self._tasks is None:
            raise RuntimeError("the flow is not running")
        self._tasks.create_task(work)
