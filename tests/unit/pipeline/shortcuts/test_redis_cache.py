from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Self, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults
from sluicegate.engines.protocol import Explanation
from sluicegate.pipeline.errors import SettingsError, StartError
from sluicegate.pipeline.flow.decision import assess
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.pipeline.shortcuts import redis_cache as shared_cache
from sluicegate.pipeline.shortcuts.cache import AssessmentCache, Stored
from sluicegate.pipeline.shortcuts.redis_cache import SharedCache, open_shared_cache, packed, unpacked
from sluicegate.schemas import Scores
from unit.pipeline.fakes import Bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from redis.asyncio import Redis

ID = "6ba7b810-9dad-51d1-80b4-00c04fd430c8"
SCORES = Scores(safe=0.125, controversial=0.25, unsafe=0.625)
EXPLAINED = assess(SCORES, Explanation(("Violent",), {"Violent": 0.75}, reason="a threat", refusal=False))


def stored(verdict_id: str | None = ID) -> Stored:
    return Stored(EXPLAINED, verdict_id)


class MemoryRedis:
    """Redis as far as the shared cache asks for it, with faults."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.seconds: list[int] = []
        self.calls: list[str] = []
        self.fault: Exception | None = None
        self.refusal: Exception | None = None
        self.stuck = False
        self.deaf = False
        self.delay_s = 0.0
        self.closed = False
        self._queued: list[tuple[str, bytes]] = []

    async def _answer(self, call: str) -> None:
        self.calls.append(call)
        if self.fault is not None:
            raise self.fault
        if self.stuck:
            await asyncio.Event().wait()
        if self.deaf:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        await asyncio.sleep(self.delay_s)

    async def mget(self, names: Sequence[str]) -> list[Any]:
        await self._answer("probe" if list(names) == [shared_cache._PREFIX] else "mget")
        return [self.values.get(name) for name in names]

    def pipeline(self, *, transaction: bool) -> MemoryRedis:
        assert not transaction
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._queued.clear()

    def set(self, name: str, value: bytes, *, ex: int) -> None:
        self.seconds.append(ex)
        self._queued.append((name, value))

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        assert not raise_on_error
        await self._answer("write")
        if self.refusal is not None:
            return [self.refusal] * len(self._queued)
        self.values |= dict(self._queued)
        return [True] * len(self._queued)

    async def aclose(self) -> None:
        self.closed = True


class Site:
    """A shared cache on a Redis in memory."""

    def __init__(self, redis: MemoryRedis, timeout_s: float) -> None:
        self.redis = redis
        self.instruments = Instruments.for_engine(1)
        self.cache = SharedCache(
            cast("Redis", redis), self.instruments, timeout_s=timeout_s, ttl_s=60, retry_s=0.05
        )

    def errors(self, call: str) -> float:
        registry = self.instruments.metrics.registry
        return registry.get_sample_value("sluicegate_shared_cache_errors_total", {"call": call}) or 0.0


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def site(redis: MemoryRedis | None = None, *, timeout_s: float = 10) -> AsyncIterator[Site]:
    built = Site(redis or MemoryRedis(), timeout_s)
    async with built.cache:
        if built.redis.fault is None:
            await until(lambda: built.cache.up)
        yield built


async def test_what_one_worker_puts_another_gets() -> None:
    redis = MemoryRedis()
    async with site(redis) as one, site(redis) as other:
        one.cache.put(b"k", stored())
        one.cache.put(b"without", stored(None))
        await until(lambda: len(redis.values) == 2)
        found = await other.cache.get_many([b"k", b"unknown", b"without"])
        assert found == {
            b"k": Stored(EXPLAINED, ID, how="shared"),
            b"without": Stored(EXPLAINED, None, how="shared"),
        }
        assert redis.calls.count("mget") == 1
        assert set(redis.seconds) == {60}


@given(st.integers(0, 10), st.booleans())
def test_a_value_comes_back_as_it_was(tenths: int, explained: bool) -> None:
    scores = Scores(safe=1 - tenths / 10, controversial=tenths / 10, unsafe=0)
    why = Explanation(("Violent", "汉字"), {"Violent": 1 / 3}, reason="一 reason", refusal=True)
    found = Stored(assess(scores, why if explained else None), ID)
    assert unpacked(packed(found)) == Stored(found.assessment, ID, how="shared")


def changed(**changes: Any) -> bytes:
    value = json.loads(packed(stored()))
    value["assessment"] |= changes
    return json.dumps(value).encode()


def test_a_value_says_what_its_explanation_began_with() -> None:
    safe = assess(Scores(safe=0.75, controversial=0, unsafe=0.25), Explanation(("PII",)), "unsafe")
    back = unpacked(packed(Stored(safe, ID)))
    assert back is not None
    assert back.assessment.explained_as == "unsafe"
    # Another version's value, which does not say so, is no value here.
    assert unpacked(changed(explained_as=None)) is None


def test_the_unchanged_value_is_one() -> None:
    assert unpacked(changed()) is not None


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff\x00",
        b"{}",
        b"[]",
        b"null",
        b'{"assessment":null}',
        packed(stored())[:-1],
        packed(stored("not a verdict id")),
        packed(stored(ID + "\n")),
        packed(stored()).replace(b'{"verdict_id"', b'{"more":1,"verdict_id"'),
        changed(severity="safe"),  # beside scores that say unsafe
        changed(scores={"safe": 1, "controversial": 1, "unsafe": 1}),
        changed(scores={"safe": "1", "controversial": 0, "unsafe": 0}),
        changed(assessed_by="none"),
        changed(explanation_failure="timed_out"),
        changed(reason="r" * 10_000),
        changed(ignored="x" * 70_000),
        7,
        "text",
        None,
        [b"nested"],
        ConnectionError("an answer can be an error"),
    ],
)
def test_a_value_that_we_could_not_have_written_is_a_miss(value: object) -> None:
    assert unpacked(value) is None


@given(st.binary(max_size=300) | st.text().map(str.encode) | st.integers() | st.none())
def test_no_value_raises(value: object) -> None:
    assert unpacked(value) is None


async def test_a_corrupted_value_is_counted_and_harms_no_other() -> None:
    async with site() as here:
        here.cache.put(b"good", stored())
        here.cache.put(b"bad", stored())
        await until(lambda: len(here.redis.values) == 2)
        (bad,) = [name for name in here.redis.values if name.endswith(b"bad".hex())]
        here.redis.values[bad] = b"\xff"
        assert list(await here.cache.get_many([b"good", b"bad"])) == [b"good"]
        assert here.errors("value") == 1
        assert here.cache.up


@pytest.mark.parametrize(
    "fault",
    [
        ConnectionError("redis://:hunter2@host"),
        OSError(113, "no route"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "not ours"),
        RuntimeError("a fault of the library"),
    ],
)
async def test_a_fault_is_a_miss_and_redis_is_left_alone_until_it_answers(fault: Exception) -> None:
    async with site() as here:
        here.cache.put(b"k", stored())
        await until(lambda: bool(here.redis.values))
        here.redis.fault = fault
        assert await here.cache.get_many([b"k"]) == {}
        assert here.errors("look_up") == 1
        asked = here.redis.calls.count("mget")
        assert asked == 1
        for _ in range(100):
            assert await here.cache.get_many([b"k"]) == {}
            here.cache.put(b"new", stored())
        assert here.redis.calls.count("mget") == asked
        here.redis.fault = None
        await until(lambda: here.cache.up)
        assert list(await here.cache.get_many([b"k"])) == [b"k"]
        assert b"new".hex() not in str(list(here.redis.values))  # nothing was kept for later


async def test_a_redis_that_hangs_is_a_miss_within_the_timeout_and_then_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shared_cache, "_BACKGROUND_S", 0.2)
    async with site(timeout_s=0.02) as here:
        here.redis.stuck = True
        async with asyncio.timeout(5):
            for _ in range(100):
                assert await here.cache.get_many([b"k"]) == {}
        assert here.redis.calls.count("mget") == 1
        assert here.errors("late") == 1
        await until(lambda: not here.cache.up)


async def test_a_late_answer_is_a_miss_and_many_in_a_row_are_a_fault() -> None:
    async with site(timeout_s=0.02) as here:
        here.cache.put(b"k", stored())
        await until(lambda: bool(here.redis.values))
        here.redis.delay_s = 0.05
        for number in range(1, 9):
            assert here.cache.up
            assert await here.cache.get_many([b"k"]) == {}
            assert here.errors("late") == min(number, 7)
            await until(lambda: here.cache._asking is not None and here.cache._asking.done())
        assert not here.cache.up
        here.redis.delay_s = 0.0
        await until(lambda: here.cache.up)
        assert list(await here.cache.get_many([b"k"])) == [b"k"]


async def test_leaving_ends_a_task_that_lost_its_cancellation() -> None:
    redis = MemoryRedis()
    async with site(redis) as here:
        redis.deaf = True
        here.cache.put(b"k", stored())
        await until(lambda: "write" in redis.calls)
    assert here.cache._tending is not None
    assert here.cache._tending.done()


async def test_a_redis_that_hangs_while_writing_delays_no_look_up_and_no_post() -> None:
    async with site() as here:
        here.redis.stuck = True
        for number in range(10_000):
            here.cache.put(number.to_bytes(4), stored())
        assert len(here.cache._due) == 4096  # bounded: the oldest were dropped
        here.redis.stuck = False
        await until(lambda: len(here.redis.values) == 4096)
        assert f"{(9_999).to_bytes(4).hex()}" in "".join(here.redis.values)


async def test_a_refused_write_leaves_look_ups_in_use() -> None:
    async with site() as here:
        here.redis.refusal = ConnectionError("OOM command not allowed")
        here.cache.put(b"k", stored())
        await until(lambda: here.errors("write") == 1)
        assert here.cache.up


async def test_a_fault_while_writing_costs_no_error() -> None:
    async with site() as here:
        here.redis.fault = ConnectionError("gone")
        here.cache.put(b"k", stored())
        await until(lambda: here.errors("write") == 1)
        assert not here.cache.up


async def test_a_redis_that_was_never_there_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    redis = MemoryRedis()
    redis.fault = ConnectionError("redis://:hunter2@host")
    async with site(redis) as here:
        await until(lambda: here.errors("connect") >= 2)
        assert await here.cache.get_many([b"k"]) == {}
        redis.fault = None
        await until(lambda: here.cache.up)
    assert redis.closed
    assert "hunter2" not in caplog.text


async def test_a_look_up_that_is_cancelled_ends() -> None:
    async with site() as here:
        here.redis.stuck = True
        looking = asyncio.create_task(here.cache.get_many([b"k"]))
        await asyncio.sleep(0)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking


async def test_the_cache_at_hand_asks_only_for_what_it_lacks_and_tells_what_it_is_told() -> None:
    async with site() as here:
        near = AssessmentCache(10, 2**20)
        await near.fetch([b"a"])  # without a shared one, nothing happens
        near.put(b"own", stored())
        near = AssessmentCache(10, 2**20, here.cache)
        near.put(b"told", stored())
        await until(lambda: len(here.redis.values) == 1)
        far = AssessmentCache(10, 2**20, here.cache)
        await far.fetch([b"own", b"told", b"told"])
        assert far.get(b"own") is None
        assert far.get(b"told") == Stored(EXPLAINED, ID, how="shared")
        asked = here.redis.calls.count("mget")
        await far.fetch([b"told"])
        assert here.redis.calls.count("mget") == asked


RULES = FakeProfile(rules={"[bad]": "unsafe"})
MARK = "xylophone-zebra"


async def carried(
    redis: MemoryRedis, posts: list[dict[str, Any]], up: Awaitable[None] | None = None
) -> Bench:
    bench = Bench(profile=RULES)
    shared = SharedCache(cast("Redis", redis), bench.instruments, timeout_s=10, ttl_s=60, retry_s=0.05)
    bench.flow = bench.open_flow(shared)
    async with shared:
        await until(lambda: shared.up or redis.fault is not None)
        await bench.run(posts)
        if redis.fault is None:
            await until(lambda: not shared._due and not redis._queued)
    return bench


async def test_a_second_worker_answers_from_what_the_first_one_found() -> None:
    redis = MemoryRedis()
    posts = [{"id": f"p{number}", "text": f"[bad] {MARK} {number}"} for number in range(300)]
    first = await carried(redis, posts)
    assert first.metric("cache_hits_total", how="shared") == 0
    second = await carried(redis, posts)
    assert second.metric("cache_hits_total", how="shared") == 300
    assert second.metric("prompt_tokens_total") == 0
    assert second.acknowledged == list(range(300))
    for one, other in zip(
        sorted(first.outlet.verdicts, key=lambda verdict: verdict.post_id),
        sorted(second.outlet.verdicts, key=lambda verdict: verdict.post_id),
        strict=True,
    ):
        assert (one.verdict_id, one.scores, one.categories, one.reason) == (
            other.verdict_id,
            other.scores,
            other.categories,
            other.reason,
        )
    assert MARK not in f"{redis.values}"
    assert all(name.startswith("sluicegate:assessment:") for name in redis.values)


async def test_failures_are_shared_with_nobody() -> None:
    redis = MemoryRedis()
    bench = Bench(engine=FakeEngine(RULES, faults=Faults(error=Fault())))
    shared = SharedCache(cast("Redis", redis), bench.instruments, timeout_s=10, ttl_s=60)
    bench.flow = bench.open_flow(shared)
    async with shared:
        await until(lambda: shared.up)
        await bench.run([{"id": "p", "text": "whatever"}])
        assert bench.outlet.verdict("p").failure is not None
        await asyncio.sleep(0)
    assert redis.values == {}


async def test_a_dead_redis_changes_no_verdict() -> None:
    redis = MemoryRedis()
    redis.fault = ConnectionError("gone")
    posts = [{"id": f"p{number}", "text": f"[bad] {number}"} for number in range(20)]
    bench = await carried(redis, posts)
    assert bench.acknowledged == list(range(20))
    assert {verdict.action.value for verdict in bench.outlet.verdicts} == {"block"}
    assert redis.calls.count("mget") == 0


def test_without_an_address_there_is_no_shared_cache() -> None:
    assert open_shared_cache(load_settings().cache, Instruments.for_engine(1)) is None


def test_the_address_is_a_secret() -> None:
    settings = load_settings(cache={"redis_url": "redis://:hunter2@host/0"})
    assert "hunter2" not in f"{settings.masked()} {settings!r}"


def test_an_address_that_is_none_is_named_without_its_password() -> None:
    settings = load_settings(cache={"redis_url": "https://:hunter2@host"})
    with pytest.raises(StartError, match=r"cache\.redis_url") as refused:
        open_shared_cache(settings.cache, Instruments.for_engine(1))
    assert "hunter2" not in str(refused.value)


def test_without_the_client_library_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    settings = load_settings(cache={"redis_url": "redis://host"})
    with pytest.raises(StartError, match=r"pip install 'sluicegate\[redis\]'"):
        open_shared_cache(settings.cache, Instruments.for_engine(1))


def test_a_shared_cache_without_one_at_hand_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"cache\.redis_url needs cache\.entries above 0"):
        load_settings(cache={"redis_url": "redis://host", "entries": 0})


@pytest.mark.parametrize("hostile", ["\x1b[2Jgone", "two\nlines", "\u202egnirts", ""])
@pytest.mark.parametrize("field", ["reason", "categories", "category_scores"])
def test_text_that_no_engine_could_have_given_is_a_miss(field: str, hostile: str) -> None:
    value: dict[str, Any] = {"reason": hostile, "categories": [hostile], "category_scores": {hostile: 0.5}}
    entry = json.loads(packed(stored()) or b"")
    entry["assessment"][field] = value[field]
    assert unpacked(json.dumps(entry).encode()) is None
