from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, Fault, Faults
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.pipeline.errors import SettingsError, StartError
from sluicegate.pipeline.flow.flow import Flow
from sluicegate.pipeline.observe.instruments import Instruments, open_tracing
from sluicegate.pipeline.observe.spans import Spans, _parent
from sluicegate.pipeline.observe.tracing import NO_TRACING
from sluicegate.pipeline.settings.tree import TracingSettings, load_settings
from unit.pipeline.fakes import Bench, MemoryDelivery, singly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

    from sluicegate.engines.protocol import Engine, ItemFailure, Prompt, Scored
    from sluicegate.pipeline.records import Record

RULES = FakeProfile(rules={"[bad]": "unsafe"})
TRACE, PRODUCER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{PRODUCER}-01".encode(), f"00-{TRACE}-{PRODUCER}-00".encode()
MARK = "xylophone-zebra"


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SERVICE_NAME", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


class TracedBench(Bench):
    """A flow whose spans are kept, fed with deliveries that have headers."""

    def __init__(self, *, engine: Engine | None = None, tree: dict[str, Any] | None = None) -> None:
        super().__init__(engine=engine, profile=RULES, tree=tree)
        self.exporter = InMemorySpanExporter()
        self.tracing = Spans(SimpleSpanProcessor(self.exporter))
        self.instruments = Instruments.for_engine(self.engine.info.saturating_prompts, tracing=self.tracing)
        self.flow = Flow(
            self.settings, self.backends, lambda: self.policy, self.window, self.outlet, self.instruments
        )

    async def carry(self, *deliveries: MemoryDelivery) -> None:
        async def source() -> AsyncIterator[Sequence[MemoryDelivery]]:
            yield deliveries

        async with asyncio.timeout(20):
            await self.flow.run(source())

    @property
    def spans(self) -> dict[str, list[ReadableSpan]]:
        found = defaultdict(list)
        for span in self.exporter.get_finished_spans():
            found[span.name].append(span)
        return found

    def record(self, key: str) -> Record:
        (found,) = [record for record in self.outlet.records if record.key == key.encode()]
        return found


def delivery(number: int, text: str = f"[bad] {MARK}", *headers: tuple[str, bytes | None]) -> MemoryDelivery:
    value = json.dumps({"id": f"p{number}", "text": f"{text} {number}"}).encode()
    return MemoryDelivery(number, value, headers=headers)


def ids(span: ReadableSpan) -> tuple[str, str]:
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def parent(span: ReadableSpan) -> str | None:
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def linked(span: ReadableSpan) -> list[tuple[str, str]]:
    return [(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links]


def header(record: Record, name: str) -> bytes | None:
    found = [value for key, value in record.headers if key == name]
    assert len(found) <= 1
    return found[0] if found else None


async def test_the_spans_of_one_post_end_to_end() -> None:
    bench = TracedBench()
    await bench.carry(delivery(0, "[bad]", ("traceparent", SAMPLED), ("tracestate", b"vendor=1")))
    spans = bench.spans
    assert {name: len(found) for name, found in spans.items()} == dict.fromkeys(
        ("post", "take", "decode", "look_up", "score", "explain", "publish"), 1
    )
    (post,) = spans["post"]
    trace, post_id = ids(post)
    assert trace == TRACE
    assert parent(post) == PRODUCER
    assert post.kind is SpanKind.CONSUMER
    for name in ("take", "decode", "publish"):
        (span,) = spans[name]
        assert ids(span)[0] == TRACE
        assert parent(span) == post_id
    for name in ("look_up", "score", "explain"):
        (span,) = spans[name]
        assert parent(span) is None
        assert ids(span)[0] != TRACE
        assert linked(span) == [(TRACE, post_id)]
    assert linked(post) == [ids(spans[name][0]) for name in ("look_up", "score", "explain")]

    (publish,) = spans["publish"]
    assert publish.kind is SpanKind.PRODUCER
    record = bench.record("p0")
    assert header(record, "traceparent") == f"00-{TRACE}-{ids(publish)[1]}-01".encode()
    assert header(record, "tracestate") == b"vendor=1"
    assert header(record, "verdict-id") is not None

    verdict = bench.outlet.verdict("p0")
    assert post.attributes is not None
    assert dict(post.attributes) == {
        "messaging.system": "kafka",
        "messaging.destination.name": "posts",
        "messaging.destination.partition.id": "0",
        "messaging.kafka.offset": 0,
        "sluicegate.post.id": "p0",
        "sluicegate.tenant": "default",
        "sluicegate.verdict.id": verdict.verdict_id,
        "sluicegate.action": "block",
        "sluicegate.assessed_by": "engine",
        "sluicegate.end": "acknowledged",
    }
    assert post.resource.attributes["service.name"] == "sluicegate"
    order = ["take", "decode", "look_up", "score", "explain", "publish"]
    ends = [spans[name][0].end_time or 0 for name in (*order, "post")]
    assert ends == sorted(ends)


async def test_a_post_without_a_context_begins_a_trace_that_its_verdict_continues() -> None:
    bench = TracedBench()
    await bench.carry(delivery(0))
    (post,), (publish,) = bench.spans["post"], bench.spans["publish"]
    assert parent(post) is None
    carried = (header(bench.record("p0"), "traceparent") or b"").decode()
    assert carried[:-2] == f"00-{ids(post)[0]}-{ids(publish)[1]}-"
    assert int(carried[-2:], 16) & 1  # sampled


async def test_a_micro_batch_is_one_span_linked_with_every_post_in_it() -> None:
    bench = TracedBench(tree={"micro_batch": {"posts": 300, "max_age_ms": 200, "in_flight": 1}})
    await bench.carry(*(delivery(number) for number in range(300)))
    spans = bench.spans
    posts = {ids(span) for span in spans["post"]}
    assert len(posts) == 300
    assert max(len(linked(span)) for span in spans["score"]) > 128  # the library's own limit
    for name in ("look_up", "score", "explain"):
        links = [one for span in spans[name] for one in linked(span)]
        assert len(links) == len(set(links)) == 300
        assert set(links) == posts
    batches = {ids(span) for name in ("look_up", "score", "explain") for span in spans[name]}
    assert all(set(linked(span)) <= batches and len(linked(span)) == 3 for span in spans["post"])


async def test_posts_that_share_a_judgement_are_all_linked_with_it() -> None:
    bench = TracedBench()
    same = [MemoryDelivery(n, json.dumps({"id": f"p{n}", "text": "[bad] same"}).encode()) for n in range(3)]
    await bench.carry(*same)
    assert {one for span in bench.spans["score"] for one in linked(span)} == {
        ids(span) for span in bench.spans["post"]
    }
    assert len({header(record, "traceparent") for record in bench.outlet.records}) == 3


async def test_an_unsampled_trace_is_carried_on_and_records_nothing() -> None:
    bench = TracedBench()
    await bench.carry(delivery(0, "[bad]", ("traceparent", UNSAMPLED)))
    assert bench.spans == {}
    carried = header(bench.record("p0"), "traceparent") or b""
    assert carried.startswith(f"00-{TRACE}-".encode())
    assert carried.endswith(b"-00")


async def test_sampled_and_unsampled_posts_of_one_batch_are_told_apart() -> None:
    bench = TracedBench()
    await bench.carry(
        delivery(0, "[bad]", ("traceparent", UNSAMPLED)), delivery(1, "[bad]", ("traceparent", SAMPLED))
    )
    (post,) = bench.spans["post"]
    assert all(set(linked(span)) <= {ids(post)} for span in bench.spans["score"])
    assert sum(len(linked(span)) for span in bench.spans["score"]) == 1


async def test_the_sampler_of_the_environment_decides_for_posts_without_a_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "moderation")
    bench = TracedBench()
    await bench.carry(delivery(0), delivery(1, "[bad]", ("traceparent", SAMPLED)))
    (post,) = bench.spans["post"]
    assert ids(post)[0] == TRACE
    assert post.resource.attributes["service.name"] == "moderation"


async def test_a_dead_letter_keeps_its_records_own_headers_and_continues_the_trace() -> None:
    bench = TracedBench()
    await bench.carry(MemoryDelivery(0, b"{", key=b"raw", headers=[("traceparent", SAMPLED)]))
    (letter,) = bench.outlet.dead_letters
    assert [name for name, _ in letter.headers] == ["traceparent"]
    assert SAMPLED.decode() in base64.b64decode(letter.headers[0][1] or "").decode()
    (publish,) = bench.spans["publish"]
    assert header(bench.record("raw"), "traceparent") == f"00-{TRACE}-{ids(publish)[1]}-01".encode()
    (post,) = bench.spans["post"]
    assert post.attributes is not None
    assert post.attributes["sluicegate.dead_letter.code"] == "invalid_json"


async def test_a_tombstone_is_taken_and_acknowledged() -> None:
    bench = TracedBench()
    await bench.carry(MemoryDelivery(0, None))
    assert set(bench.spans) == {"post", "take"}


@pytest.mark.parametrize(
    "headers",
    [
        [("traceparent", None)],
        [("traceparent", b"")],
        [("traceparent", b"\xff\xfe" * 30)],
        [("traceparent", SAMPLED + b"-more")],
        [("traceparent", b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01")],
        [("traceparent", b"x" * 100_000)],
        [("traceparent", b"ff" + SAMPLED[2:])],
        [("Traceparent", SAMPLED)],
    ],
)
async def test_a_malformed_context_begins_a_new_trace(headers: list[tuple[str, bytes | None]]) -> None:
    bench = TracedBench()
    await bench.carry(delivery(0, "[bad]", *headers))
    (post,) = bench.spans["post"]
    assert parent(post) is None
    assert ids(post)[0] != TRACE


async def test_a_tracestate_that_is_too_long_is_dropped_and_the_trace_goes_on() -> None:
    bench = TracedBench()
    await bench.carry(delivery(0, "[bad]", ("traceparent", SAMPLED), ("tracestate", b"a=" + b"x" * 1000)))
    assert ids(bench.spans["post"][0])[0] == TRACE
    assert header(bench.record("p0"), "tracestate") is None


_hostile = st.binary(max_size=600) | st.just(SAMPLED) | st.text(max_size=80).map(str.encode) | st.none()


@given(st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate", "other"]), _hostile), max_size=6))
def test_no_header_raises(headers: list[tuple[str, bytes | None]]) -> None:
    _parent(headers)


class Failing(FakeEngine):
    """Is away once, then breaks with a message that quotes its input."""

    def __init__(self) -> None:
        super().__init__(RULES)
        self.asked = 0

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        self.asked += 1
        if self.asked == 1:
            raise EngineUnavailable(f"away while it read {MARK}")
        raise RuntimeError(f"broke over {MARK}")


async def test_a_fault_shows_as_its_type_and_no_span_holds_a_text() -> None:
    broken = TracedBench(engine=Failing())
    await broken.carry(delivery(0))
    away, fault = broken.spans["score"]
    assert [(span.attributes or {})["error.type"] for span in (away, fault)] == [
        "EngineUnavailable",
        "RuntimeError",
    ]
    (post,) = broken.spans["post"]
    assert post.status.status_code is StatusCode.ERROR
    assert (post.attributes or {})["error.type"] == "internal"
    whole = TracedBench()
    await whole.carry(
        delivery(0),
        MemoryDelivery(1, f'{{"id": "q", "text": 7, "{MARK}": "{MARK}"}}'.encode()),
        MemoryDelivery(2, MARK.encode(), headers=[("note", MARK.encode())]),
    )
    failing = TracedBench(engine=FakeEngine(RULES, faults=Faults(error=Fault())))
    await failing.carry(delivery(0))
    for bench in (broken, whole, failing):
        shown = "".join(span.to_json() for span in bench.exporter.get_finished_spans())
        assert "post" in shown
        assert MARK not in shown
        assert not any(span.events for span in bench.exporter.get_finished_spans())


async def test_a_post_given_back_ends_its_span_once() -> None:
    bench = TracedBench(engine=FakeEngine(RULES))
    bench.outlet.gate.clear()
    running = asyncio.create_task(bench.carry(delivery(0), delivery(1)))
    while len(bench.spans["explain"]) + len(bench.spans["publish"]) < 1 or bench.instruments.busy.in_work:
        await asyncio.sleep(0.001)
    bench.window.release()
    bench.outlet.gate.set()
    await running
    assert [(span.attributes or {})["sluicegate.end"] for span in bench.spans["post"]] == ["released"] * 2
    assert ("acknowledged", 0) not in bench.log


async def test_with_tracing_off_the_flow_meets_the_same_objects_and_headers_pass_unchanged() -> None:
    bench = Bench(profile=RULES)
    assert bench.instruments.tracing is NO_TRACING

    async def source() -> AsyncIterator[Sequence[MemoryDelivery]]:
        yield [delivery(0, "[bad]", ("traceparent", SAMPLED))]

    deliveries = source()
    assert NO_TRACING.posts(deliveries) is deliveries
    assert NO_TRACING.decode([delivery(0)]) is NO_TRACING.batch("score", ())
    await bench.flow.run(deliveries)
    assert header(bench.outlet.records[0], "traceparent") == SAMPLED


def test_off_is_the_default_and_loads_nothing() -> None:
    code = (
        "import sys; from sluicegate.pipeline.settings.tree import load_settings; import sluicegate.pipeline.worker; "
        "from sluicegate.pipeline.observe.instruments import open_tracing; "
        "from sluicegate.pipeline.observe.tracing import NO_TRACING; "
        "assert open_tracing(load_settings().tracing) is NO_TRACING; "
        "print([name for name in sys.modules if name.split('.')[0] == 'opentelemetry'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_library_the_fix_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sluicegate.pipeline.observe.spans", None)
    with pytest.raises(StartError, match=r"pip install 'sluicegate\[otel\]'"):
        open_tracing(TracingSettings(enabled=True))


def test_an_endpoint_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match=r"tracing\.endpoint"):
        load_settings(tracing={"endpoint": "collector:4318"})


class _Stuck(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        time.sleep(30)


@pytest.mark.timeout(20)
async def test_a_collector_that_is_away_does_not_hold_up_the_end() -> None:
    await Spans(SimpleSpanProcessor(_Stuck())).close()


async def test_spans_reach_a_collector_over_http() -> None:
    got: list[str] = []

    async def take(request: web.Request) -> web.Response:
        message = ExportTraceServiceRequest.FromString(await request.read())
        got.extend(
            span.name
            for resource in message.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        )
        return web.Response()

    application = web.Application()
    application.router.add_post("/v1/traces", take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address = runner.addresses[0]
    tracing = open_tracing(TracingSettings(enabled=True, endpoint=f"http://127.0.0.1:{address[1]}/v1/traces"))
    bench = Bench(profile=RULES)
    instruments = Instruments.for_engine(1, tracing=tracing)
    flow = Flow(bench.settings, bench.backends, lambda: bench.policy, bench.window, bench.outlet, instruments)

    async def source() -> AsyncIterator[MemoryDelivery]:
        yield delivery(0)

    await flow.run(singly(source()))
    await tracing.close()
    await runner.cleanup()
    assert sorted(got) == sorted(["post", "take", "decode", "look_up", "score", "explain", "publish"])
