"""What long absences, rebalances and hostile records must not cost: memory, patience, progress."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from structlog.testing import capture_logs

from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.protocol import Health, ItemFailure, Scored
from sluicegate.pipeline.flow.decision import bury
from sluicegate.pipeline.records import cut, dead_letter_record
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.schemas import Action, FailureCode, ReasonCode, Rejection, encode
from unit.pipeline.fakes import Bench, MemoryDelivery, singly
from unit.pipeline.scripted import RULES, ScriptedEngine, post

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sluicegate.pipeline.records import Delivery

PRODUCER_BYTES = 1_000_000  # librdkafka's default for the largest message


class AbsentEngine(ScriptedEngine):
    """Away until it is told to come back."""

    back = False

    async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Scored | ItemFailure]:
        if not self.back:
            raise EngineUnavailable("nobody answers")
        return await super().score(prompts, timeout_s=timeout_s)

    async def health(self) -> Health:
        return Health(ok=self.back)


async def test_a_tenant_that_waits_no_longer_is_answered_though_others_are_before_it_in_the_queue() -> None:
    engine = AbsentEngine()
    policy = {"name": "p", "version": "1", "tenants": {"hasty": {"rules": {"max_wait_seconds": 0.1}}}}
    one_by_one = {"micro_batch": {"posts": 1, "in_flight": 1}}
    bench = Bench(engine=engine, policy=policy, tree=one_by_one)
    running = asyncio.create_task(bench.run([post(0), post(1, "[good] too", tenant="hasty")]))
    async with asyncio.timeout(20):
        while not bench.outlet.records:
            await asyncio.sleep(0.01)
    (hasty,) = bench.outlet.verdicts
    engine.back = True
    await running
    assert hasty.post_id == "p1"
    assert hasty.failure is not None
    assert hasty.failure.code is FailureCode.ENGINE_UNAVAILABLE
    assert bench.outlet.verdict("p0").failure is None
    assert bench.acknowledged == [0, 1]


async def test_what_many_rebalances_give_back_during_one_absence_is_not_kept() -> None:
    engine = AbsentEngine()
    bench = Bench(engine=engine)

    def waiting() -> int:
        return bench.flow.work.members

    async def source() -> AsyncIterator[Delivery]:
        for _ in range(5):
            for number in range(3):
                yield bench.delivery(post(number), number)
            while bench.window.posts < 3 or not bench.instruments.holds:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            bench.flow.give_back()
        yield bench.delivery(post(9), 9)
        while waiting() > 1:
            await asyncio.sleep(0.01)
        engine.back = True

    async with asyncio.timeout(30):
        await bench.flow.run(singly(source()))
    assert [verdict.post_id for verdict in bench.outlet.verdicts] == ["p9"]


async def test_what_is_given_back_is_not_delivered_any_more_and_the_flow_goes_on() -> None:
    bench = Bench(profile=RULES)
    bench.outlet.gate.clear()

    async def source() -> AsyncIterator[Delivery]:
        for number in range(3):
            yield bench.delivery(post(number), number)
        while bench.instruments.busy.in_work or not bench.flow._publishing:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert bench.flow.give_back() == 3
        while bench.flow._publishing:
            await asyncio.sleep(0)
        bench.outlet.gate.set()
        yield bench.delivery(post(9), 9)

    async with asyncio.timeout(20):
        await bench.flow.run(singly(source()))
    assert [verdict.post_id for verdict in bench.outlet.verdicts] == ["p9"]
    assert bench.acknowledged == [9]


async def test_long_posts_are_tokenised_in_small_chunks_so_that_the_first_need_not_wait_for_the_last() -> (
    None
):
    bench = Bench(profile=RULES)
    (route,) = bench.flow._routes
    build, chunks = route.parts.build, []

    async def counted(posts: Sequence[Any]) -> Any:
        chunks.append(sum(len(item.post.text) for item in posts))
        return await build(posts)

    route.parts.build = counted  # type: ignore[method-assign]  # to see what goes through it
    await bench.run([{"id": f"p{number}", "text": "7" * 200_000} for number in range(8)])
    assert max(chunks) <= 400_000
    assert bench.acknowledged == list(range(8))


async def test_small_chunks_that_are_there_are_tokenised_together() -> None:
    bench = Bench(profile=RULES)
    (route,) = bench.flow._routes
    build, chunks = route.parts.build, []

    async def counted(posts: Sequence[Any]) -> Any:
        chunks.append(len(posts))
        return await build(posts)

    route.parts.build = counted  # type: ignore[method-assign]  # to see what goes through it

    async def source() -> AsyncIterator[Delivery]:
        for number in range(50):
            yield bench.delivery(post(number), number)

    async with asyncio.timeout(20):
        await bench.flow.run(singly(source()))
    assert chunks == [50]
    assert bench.acknowledged == list(range(50))


def test_a_record_that_is_all_key_has_a_dead_letter_that_fits_into_the_topic() -> None:
    delivery = MemoryDelivery(0, b"{", key=b"k" * 1_040_000)
    rejection = Rejection(ReasonCode.INVALID_JSON, "not JSON")
    letter = bury(delivery, rejection, payload_bytes=1024, now=datetime.now(UTC))
    record = dead_letter_record(letter, delivery, Settings().topics)
    event: Any = letter
    while (smaller := cut(event)) is not None:
        event = smaller
    assert len(record.key or b"") + len(encode(event)) < PRODUCER_BYTES
    assert delivery.key is not None
    assert delivery.key.startswith(record.key or b"-")


async def test_a_model_that_would_rather_write_something_else_than_a_label_judges_nothing() -> None:
    class Astray(ScriptedEngine):
        async def score(self, prompts: Sequence[Any], *, timeout_s: float) -> list[Scored | ItemFailure]:
            answers = await super().score(prompts, timeout_s=timeout_s)
            return [replace(answer, label_mass=0.01) for answer in answers if isinstance(answer, Scored)]

    bench = Bench(engine=Astray())
    with capture_logs() as logs:
        await bench.run([post(0, "[good]")])
    assert [(one["code"], one["posts"]) for one in logs if one["event"] == "item_failed"] == [
        ("labels_missing", ["p0"])
    ]
    verdict = bench.outlet.verdict("p0")
    assert verdict.failure is not None
    assert verdict.failure.code is FailureCode.LABELS_MISSING
    assert verdict.action is Action.REVIEW


async def test_a_dead_letter_of_a_record_that_was_given_back_meanwhile_is_not_published() -> None:
    bench = Bench(profile=RULES)

    async def source() -> AsyncIterator[Delivery]:
        yield bench.delivery(b"{", 0)
        bench.flow.give_back()  # buried, and not yet on its way out

    async with asyncio.timeout(20):
        await bench.flow.run(singly(source()))
    assert bench.outlet.records == []
    assert bench.log == [("released", 0)]
