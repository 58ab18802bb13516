"""The shared cache on a real redis-server, held up, killed and started again."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.pipeline.shortcuts.redis_cache import open_shared_cache
from support.collector import account
from support.redis import redis_server
from support.workers import Lane, until
from unit.pipeline.fakes import Bench

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from sluicegate.engines.protocol import ItemFailure, Prompt, Scored
    from sluicegate.pipeline.shortcuts.redis_cache import SharedCache
    from support.redis import RedisServer

pytestmark = [pytest.mark.redis, pytest.mark.timeout(120)]

RULES = FakeProfile(rules={"[bad]": "unsafe"})
MARK = "xylophone-zebra"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


def posts(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": f"p{number}", "text": f"[bad] {MARK} {number}"} for number in numbers]


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.01)


async def eventually_kept(server: RedisServer, many: int) -> list[tuple[str, bytes]]:
    """Wait until Redis itself holds this many keys: the last batch of writes has arrived, too."""
    async with asyncio.timeout(60):
        while len(kept := await asyncio.to_thread(keys, server)) < many:
            await asyncio.sleep(0.05)
    return kept


@asynccontextmanager
async def sharing(bench: Bench, server: RedisServer, url: str | None = None) -> AsyncIterator[SharedCache]:
    settings = load_settings(cache={"redis_url": url or server.url, "redis_timeout_ms": 1000})
    shared = open_shared_cache(settings.cache, bench.instruments, retry_s=0.2)
    assert shared is not None
    bench.flow = bench.open_flow(shared)
    async with shared:
        yield shared


def keys(server: RedisServer) -> list[tuple[str, bytes]]:
    with BlockingRedis(port=server.port) as client:
        names = client.keys("*")
        assert all(0 < client.ttl(name) <= 86_400 for name in names)
        return [(name.decode(), client.get(name)) for name in names]


async def test_workers_share_what_they_found_and_no_text(redis: RedisServer) -> None:
    first = Bench(profile=RULES)
    async with sharing(first, redis) as shared:
        await eventually(lambda: shared.up)
        await first.run(posts(*range(600)))
        kept = await eventually_kept(redis, 600)
    assert len(kept) == 600
    assert MARK not in f"{kept}"
    second = Bench(profile=RULES)
    async with sharing(second, redis) as shared:
        await eventually(lambda: shared.up)
        await second.run(posts(*range(600)))
    assert second.metric("cache_hits_total", how="shared") == 600
    assert second.metric("prompt_tokens_total") == 0
    assert {verdict.action.value for verdict in second.outlet.verdicts} == {"block"}


class Watched(FakeEngine):
    """Calls back before it scores a micro-batch."""

    def __init__(self, before: Callable[[int], None]) -> None:
        super().__init__(RULES)
        self._before = before
        self._asked = 0

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        self._before(self._asked)
        self._asked += 1
        return await super().score(prompts, timeout_s=timeout_s)


@pytest.mark.parametrize("how", ["kill", "hold_up"])
async def test_redis_lost_in_mid_run_loses_no_post_and_makes_no_failure(how: str, redis: RedisServer) -> None:
    def strike(call: int) -> None:
        if call == 3:
            getattr(redis, how)()

    bench = Bench(
        engine=Watched(strike),
        tree={"window": {"posts": 64}, "micro_batch": {"posts": 16}},
    )
    async with sharing(bench, redis) as shared:
        await eventually(lambda: shared.up)
        await bench.run(posts(*range(900)))  # all are blocked: a hundred more would trip the breaker
        await eventually(lambda: not shared.up)
    assert bench.acknowledged == list(range(900))
    verdicts = bench.outlet.verdicts
    assert len(verdicts) == 900
    assert all(verdict.failure is None and verdict.action.value == "block" for verdict in verdicts)


async def test_redis_is_used_again_once_it_is_back(redis: RedisServer) -> None:
    bench = Bench(profile=RULES)
    async with sharing(bench, redis) as shared:
        await eventually(lambda: shared.up)
        redis.kill()
        await bench.run(posts(1))  # finds out
        await eventually(lambda: not shared.up)
        redis.start()
        await eventually(lambda: shared.up)
        later, other = Bench(profile=RULES), Bench(profile=RULES)
        later.flow, other.flow = later.open_flow(shared), other.open_flow(shared)
        await later.run(posts(2))
        await eventually_kept(redis, 1)
        await other.run(posts(2))
    assert other.metric("cache_hits_total", how="shared") == 1


@pytest.mark.parametrize(
    ("options", "user"),
    [
        (["--requirepass", "right"], ":wrong@"),
        (["--requirepass", "right"], ""),
        (["--user", "reader", "on", ">right", "~*", "+ping"], "reader:right@"),
    ],
    ids=["a wrong password", "no password", "no right to read"],
)
async def test_a_redis_that_refuses_us_is_a_miss(tmp_path: Path, options: list[str], user: str) -> None:
    bench = Bench(profile=RULES)
    with redis_server(tmp_path, *options) as server:
        async with sharing(bench, server, f"redis://{user}127.0.0.1:{server.port}/0") as shared:
            await eventually(lambda: bench.metric("shared_cache_errors_total", call="connect") >= 2)
            assert not shared.up
            await bench.run(posts(*range(20)))
    assert bench.acknowledged == list(range(20))


async def test_the_rights_of_the_page_are_enough_and_no_more(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "connections.md").read_text(encoding="utf-8")
    (rights,) = re.findall(r"^user (sluicegate .*)$", page, re.MULTILINE)
    bench = Bench(profile=RULES)
    with redis_server(tmp_path, "--user", *rights.split()) as server:
        own = f"redis://sluicegate:password@127.0.0.1:{server.port}/0"
        async with sharing(bench, server, own) as shared:
            await eventually(lambda: shared.up)
            await bench.run(posts(*range(20)))
            names = await eventually_kept(server, 20)
        assert len(names) == 20
        assert bench.metric("shared_cache_errors_total", call="write") == 0
        async with Redis.from_url(own) as client:
            with pytest.raises(ResponseError, match="permission"):
                await client.keys("*")
            with pytest.raises(ResponseError, match="permission"):
                await client.set("other", "value")


async def test_a_full_redis_answers_look_ups_all_the_same(tmp_path: Path) -> None:
    bench = Bench(profile=RULES)
    with redis_server(tmp_path, "--maxmemory", "1") as server:
        async with sharing(bench, server) as shared:
            await eventually(lambda: shared.up)
            await bench.run(posts(*range(20)))
            await eventually(lambda: bench.metric("shared_cache_errors_total", call="write") == 20)
            assert shared.up
    assert bench.acknowledged == list(range(20))


async def test_a_server_that_speaks_no_redis_is_a_miss() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    bench = Bench(profile=RULES)
    settings = load_settings(cache={"redis_url": f"redis://127.0.0.1:{port}/0"})
    shared = open_shared_cache(settings.cache, bench.instruments)
    assert shared is not None
    bench.flow = bench.open_flow(shared)
    async with server, shared:
        await eventually(lambda: bench.metric("shared_cache_errors_total", call="connect") >= 1)
        await bench.run(posts(*range(5)))
    assert bench.acknowledged == list(range(5))


async def test_two_worker_processes_share_through_redis_and_outlive_it(
    redis: RedisServer, tmp_path: Path
) -> None:
    lane = Lane("", tmp_path)
    async with EmbeddedBroker(lane.topics) as broker:
        lane.bootstrap = broker.address
        await asyncio.to_thread(_two_workers, lane, redis)


def _two_workers(lane: Lane, redis: RedisServer) -> None:
    shared = {"cache.redis_url": redis.url, "cache.redis_timeout_ms": "1000"}
    try:
        first = lane.start(shared)
        first.wait_ready()
        sent = lane.send(posts(*range(200)))
        lane.wait_acknowledged(within_s=60)
        until("all findings are in Redis", lambda: len(keys(redis)) == 200, within_s=60)
        first.terminate()
        assert first.wait(20) == 0

        second = lane.start(shared)
        second.wait_ready()
        until("Redis is in use", lambda: "shared_cache_in_use" in second.output, within_s=60)
        sent += lane.send(posts(*range(200)))
        lane.wait_acknowledged(within_s=60)
        assert second.metric("sluicegate_cache_hits_total") == 200
        assert second.metric("sluicegate_prompt_tokens_total") == 0

        redis.kill()
        sent += lane.send(posts(*range(200, 400)))
        lane.wait_acknowledged(within_s=60)
        found = account(sent, lane.read())
        assert found.lost == ()
        assert found.verdicts >= 400
        second.terminate()
        assert second.wait(20) == 0
        assert MARK not in second.output
    finally:
        lane.close()
