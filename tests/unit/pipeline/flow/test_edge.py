"""The edge: verdicts for what the screen may answer, everything else on as it came."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sluicegate.pipeline.facts import ScreenFact
from sluicegate.pipeline.flow.edge import MOST_HOPS, EdgeFlow
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import HOPS, Forwarded, Record
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shortcuts.screening import SAMPLE
from sluicegate.schemas import Action, AssessedBy, DeadLetter, FailureCode
from support.scripted_screen import DIGEST, ScriptedScreen
from unit.pipeline.fakes import MemoryDelivery, MemoryOutlet, singly
from unit.pipeline.shortcuts.test_switch import TURN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

POLICY = {"name": "p", "version": "1", "rules": {"screen": {"tolerance": 0.01}}}


class Edge:
    """An edge over records in memory."""

    def __init__(
        self,
        sample_share: float = 0,
        rules: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
    ) -> None:
        settings = Settings(
            worker={"role": "screen"},
            screen={"path": "screens/any", "sample_share": sample_share},
            limits=limits or {},
        )
        self.instruments = Instruments.for_engine(1)
        self.window = Window(posts=100, size_bytes=2**24, clock=self.instruments.clock.monotonic)
        self.outlet = MemoryOutlet()
        self.screen = ScriptedScreen()
        self.policy = policy = Policy.parse({**POLICY, "rules": POLICY["rules"] if rules is None else rules})
        self.flow = EdgeFlow(
            settings, lambda: policy, self.window, self.outlet, self.instruments, self.screen
        )
        self.log: list[tuple[str, int]] = []

    def delivery(self, offset: int, value: Any, **fields: Any) -> MemoryDelivery:
        raw = orjson.dumps(value) if isinstance(value, dict) else value
        return MemoryDelivery(offset, raw, log=self.log, **fields)

    async def run(self, *deliveries: MemoryDelivery) -> None:
        async def source() -> AsyncIterator[MemoryDelivery]:
            for one in deliveries:
                yield one

        async with asyncio.timeout(20):
            await self.flow.run(singly(source()))

    def metric(self, name: str, **labels: str) -> float | None:
        return self.instruments.metrics.registry.get_sample_value(f"sluicegate_{name}", labels)


def post(number: int, text: str, **fields: Any) -> dict[str, Any]:
    return {"id": f"p{number}", "text": text, **fields}


async def test_it_answers_and_forwards_and_acknowledges_in_order() -> None:
    edge = Edge()
    raw = b' {"id": "p1",  "text": "hard", "metadata": {"n": 1.50}} '
    given = (("traceparent", b"00-1"), ("odd", None), ("odd", b"\xff"))
    await edge.run(
        edge.delivery(0, post(0, "easy")),
        edge.delivery(1, raw, key=b"\x00k", headers=given),
        edge.delivery(2, None),
        edge.delivery(3, post(3, "easy")),
    )
    assert [one.assessed_by for one in edge.outlet.verdicts] == [AssessedBy.SCREEN] * 2
    assert {one.engine.digest for one in edge.outlet.verdicts} == {DIGEST}
    (record,) = edge.outlet.forwarded
    assert (record.topic, record.key, record.value) == ("posts.central", b"\x00k", raw)
    assert record.headers == (*given, (HOPS, b"1"))
    assert edge.log == [("acknowledged", number) for number in range(4)]
    assert edge.metric("records_forwarded_total", sampled="false") == 1
    assert edge.metric("tombstones_total") == 1


async def test_what_is_no_post_goes_on_as_well() -> None:
    edge = Edge()
    values = [b"{", b"\xff\xfe", b"[]", b'{"id": "x"}', b"x" * 300_000]
    await edge.run(*(edge.delivery(number, value) for number, value in enumerate(values)))
    assert [one.value for one in edge.outlet.forwarded] == values
    assert edge.outlet.records == []


async def test_a_sample_goes_on_with_what_the_screen_would_have_said() -> None:
    edge = Edge(sample_share=1)
    await edge.run(edge.delivery(0, post(0, "easy")), edge.delivery(1, post(1, "hard")))
    assert len(edge.outlet.forwarded) == 2
    sampled = [one for one in edge.outlet.forwarded if one.sampled]
    assert [dict(one.headers)[SAMPLE] for one in sampled] == [f"allow {DIGEST} {edge.policy.digest}".encode()]
    assert edge.metric("records_forwarded_total", sampled="true") == 1


@pytest.mark.parametrize("rest", ["", "\0", "\0x"])
async def test_a_producer_cannot_speak_for_the_edge(rest: str) -> None:
    # librdkafka ends a name at its first NUL.
    edge = Edge()
    forged = ((f"{SAMPLE}{rest}", f"allow {DIGEST} {edge.policy.digest}".encode()),)
    await edge.run(edge.delivery(0, post(0, "hard"), headers=forged), edge.delivery(1, b"{", headers=forged))
    assert [dict(one.headers) for one in edge.outlet.forwarded] == [{HOPS: b"1"}] * 2


async def test_switched_off_it_forwards_everything() -> None:
    edge = Edge()
    edge.flow.switch.learn([TURN])
    await edge.run(edge.delivery(0, post(0, "easy")))
    assert edge.outlet.records == []
    assert len(edge.outlet.forwarded) == 1
    assert edge.screen.asked == []


async def test_what_its_tenant_may_want_left_unscored_goes_to_who_counts_tokens() -> None:
    edge = Edge(rules={"screen": {"tolerance": 0.01}, "max_tokens": 8})
    await edge.run(
        edge.delivery(0, {"id": "p0", "text": "easy"}), edge.delivery(1, {"id": "p1", "text": "easy " * 2})
    )
    assert [one.post_id for one in edge.outlet.verdicts] == ["p0"]
    assert len(edge.outlet.forwarded) == 1


async def test_what_its_settings_may_leave_unscored_goes_to_who_counts_tokens() -> None:
    edge = Edge(limits={"post_tokens": 8})
    await edge.run(edge.delivery(0, post(0, "easy")), edge.delivery(1, post(1, "easy " * 2)))
    assert [one.post_id for one in edge.outlet.verdicts] == ["p0"]
    assert len(edge.outlet.forwarded) == 1


async def test_nobody_counts_segments_here() -> None:
    edge = Edge(rules={"screen": {"tolerance": 0.01}, "max_segments": 2})
    await edge.run(edge.delivery(0, post(0, "easy")))
    assert edge.outlet.verdicts == []
    assert len(edge.outlet.forwarded) == 1


async def test_a_fault_of_the_screen_forwards() -> None:
    edge = Edge()
    edge.screen.fault = RuntimeError("gone")
    await edge.run(edge.delivery(0, post(0, "easy")))
    assert len(edge.outlet.forwarded) == 1
    assert edge.metric("screen_faults_total") == 1


async def test_what_goes_in_a_circle_is_answered_here() -> None:
    edge = Edge()
    worn = ((HOPS, str(MOST_HOPS).encode()),)
    await edge.run(
        edge.delivery(0, post(0, "hard"), headers=worn),
        edge.delivery(1, b"{", headers=worn),
        edge.delivery(2, post(2, "easy"), headers=worn),
        edge.delivery(3, post(3, "hard"), headers=((HOPS, str(MOST_HOPS - 1).encode()),)),
    )
    failed = edge.outlet.verdict("p0")
    assert failed.failure is not None
    assert (failed.failure.code, failed.action) == (FailureCode.INTERNAL, Action.REVIEW)
    assert edge.outlet.verdict("p2").assessed_by is AssessedBy.SCREEN
    assert len(edge.outlet.dead_letters) == 1
    assert len(edge.outlet.forwarded) == 1


async def test_a_record_that_the_second_topic_takes_in_no_form_becomes_a_dead_letter() -> None:
    edge = Edge()
    await edge.run(edge.delivery(7, post(0, "hard"), headers=(("n", b"1"),)))
    (record,) = edge.outlet.forwarded
    bare = record.smaller()
    assert isinstance(bare, Forwarded)
    assert (bare.value, bare.headers) == (record.value, (("n", b"1"),))
    letter = bare.smaller()
    assert isinstance(letter, Record)
    assert isinstance(letter.event, DeadLetter)
    assert (letter.topic, letter.event.code, letter.event.origin.offset) == (
        "posts.deadletter",
        "oversize",
        7,
    )
    assert "posts.central takes less" in letter.event.detail
    assert edge.metric("dead_letters_total", code="oversize") == 1


async def test_nothing_is_acknowledged_before_the_brokers_have_it() -> None:
    edge = Edge()
    edge.outlet.gate.clear()
    running = asyncio.create_task(
        edge.run(edge.delivery(0, post(0, "easy")), edge.delivery(1, post(1, "hard")))
    )
    while not edge.flow.running or edge.window.posts < 2:
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert edge.log == []
    edge.outlet.gate.set()
    await running
    assert edge.log == [("acknowledged", 0), ("acknowledged", 1)]


async def test_what_is_given_back_is_neither_delivered_nor_acknowledged() -> None:
    edge = Edge()
    edge.outlet.gate.clear()
    running = asyncio.create_task(edge.run(edge.delivery(0, post(0, "hard"))))
    while not edge.window.posts:
        await asyncio.sleep(0)
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert edge.flow.give_back() == 1
    edge.outlet.gate.set()
    await running
    assert edge.outlet.forwarded == []
    assert edge.log == [("released", 0)]


def test_the_edge_learns_of_a_switch_by_its_own_kind_alone() -> None:
    assert ScreenFact.model_validate_json(TURN.encode()) == TURN
