"""Spans of posts through OpenTelemetry: W3C trace context in from a post's headers, out with its verdict.

One ``post`` span per post continues the producer's trace, from the take to the acknowledgement; its
children are ``take``, ``decode`` and ``publish``, and the verdict's ``traceparent`` names the last. What
posts do together (``look_up``, ``score``, ``explain``) is a trace of its own, linked both ways with
every sampled post in it. Attributes are names, numbers and codes: no text, and no exception's message.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, SpanKind, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sluicegate.pipeline.observe.tracing import BatchStep
from sluicegate.pipeline.records import Answered, Delivery, Headers, InWork, Partition, Record
from sluicegate.schemas import DeadLetter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span


_W3C = TraceContextTextMapPropagator()
_HEADER_BYTES = 512  # W3C Trace Context asks receivers to carry at least this much of tracestate
_LINKS = 4096  # the library's own limit of 128 is below a chunk of posts
_CLOSE_S = 2.0  # a collector that is away must not use up the drain


def _parent(headers: Headers | Sequence[tuple[str, bytes | None]]) -> Context:
    """The producer's context; an empty one, which begins a new trace, if it is absent or malformed."""
    carrier: dict[str, str] = {}
    for name, value in headers:
        if name in _W3C.fields and value is not None and len(value) <= _HEADER_BYTES:
            carrier.setdefault(name, value.decode("ascii", "replace"))
    return _W3C.extract(carrier, Context())


def _continued(headers: Headers, span: Span) -> Headers:
    """The headers with the span as what their reader continues."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, set_span_in_context(span, Context()))
    kept = tuple(header for header in headers if header[0] not in _W3C.fields)
    return (*kept, *((name, value.encode()) for name, value in carrier.items()))


@contextmanager
def _ending(*spans: Span) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        for span in spans:
            span.set_attribute("error.type", type(error).__name__)  # its message may quote a post
            span.set_status(StatusCode.ERROR)
        raise
    finally:
        for span in spans:
            span.end()


class _Followed:
    """A delivery whose span ends when it is acknowledged or given back."""

    def __init__(self, delivery: Delivery, span: Span, take: Span) -> None:
        self._delivery = delivery
        self.span = span
        self.take = take
        self.partition: Partition = delivery.partition
        self.offset = delivery.offset
        self.key = delivery.key
        self.value = delivery.value
        self.headers = delivery.headers
        self.timestamp_ms = delivery.timestamp_ms

    @property
    def is_current(self) -> bool:
        return self._delivery.is_current

    def acknowledge(self) -> None:
        self._delivery.acknowledge()
        self._end("acknowledged")

    def release(self) -> None:
        self._delivery.release()
        self._end("released")

    def _end(self, how: str) -> None:
        if self.take.is_recording():
            self.take.end()
        if self.span.is_recording():
            self.span.set_attribute("sluicegate.end", how)
            self.span.end()


class _FollowedPosts:
    """A source whose deliveries are followed. No generator: nothing of it outlives the flow."""

    def __init__(self, source: AsyncIterator[Sequence[Delivery]], spans: Spans) -> None:
        self._source = source
        self._spans = spans

    def __aiter__(self) -> AsyncIterator[Sequence[Delivery]]:
        return self

    async def __anext__(self) -> Sequence[Delivery]:
        return [self._spans.follow(delivery) for delivery in await anext(self._source)]


class Spans:
    """Tracing that is on. One event loop; sending happens in a thread of the library's.

    Args:
        processor: What becomes of ended spans.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over our name.
        resource = Resource({"service.name": "sluicegate"}).merge(OTELResourceDetector().detect())
        limits = SpanLimits(max_links=_LINKS)
        # Posts are sampled by their producer, or as OTEL_TRACES_SAMPLER says; a batch is, if a post in it is.
        by_post, always = (
            TracerProvider(sampler, resource, shutdown_on_exit=False, span_limits=limits)
            for sampler in (None, ALWAYS_ON)
        )
        for provider in (by_post, always):
            provider.add_span_processor(processor)
        self._posts = by_post.get_tracer("sluicegate")
        self._batches = always.get_tracer("sluicegate")

    @classmethod
    def over_http(cls, endpoint: str | None) -> Spans:
        """Send to a collector by OTLP over HTTP; without an endpoint, to where ``OTEL_EXPORTER_OTLP_*`` say."""
        return cls(BatchSpanProcessor(OTLPSpanExporter(endpoint)))

    def posts(self, source: AsyncIterator[Sequence[Delivery]]) -> AsyncIterator[Sequence[Delivery]]:
        """The source, with a ``post`` span for each delivery."""
        return _FollowedPosts(source, self)

    def follow(self, delivery: Delivery) -> Delivery:
        """Begin the ``post`` span of a delivery, and its child ``take``."""
        topic, number = delivery.partition
        where: dict[str, str | int] = {
            "messaging.system": "kafka",
            "messaging.destination.name": topic,
            "messaging.destination.partition.id": str(number),
            "messaging.kafka.offset": delivery.offset,
        }
        context = _parent(delivery.headers)
        post = self._posts.start_span("post", context, kind=SpanKind.CONSUMER, attributes=where)
        return _Followed(delivery, post, self._child("take", post))

    def took(self, deliveries: Iterable[Delivery]) -> None:
        """End the ``take`` span of each."""
        for delivery in deliveries:
            _followed(delivery).take.end()

    def decode(self, deliveries: Iterable[Delivery]) -> AbstractContextManager[None]:
        """A child of each delivery's ``post`` span, for as long as the chunk takes."""
        return _ending(*(self._child("decode", _span_of(delivery)) for delivery in deliveries))

    def batch(self, name: BatchStep, arrivals: Iterable[InWork]) -> AbstractContextManager[None]:
        """A span linked with those of the posts, if any of them is sampled."""
        spans = [_span_of(arrival.slot.delivery) for arrival in dict.fromkeys(arrivals) if not arrival.over]
        recording = [span for span in spans if span.is_recording()]
        if not recording:
            return nullcontext()
        links = [Link(span.get_span_context()) for span in recording]
        batch = self._batches.start_span(
            name, Context(), links=links, attributes={"sluicegate.posts": len(spans)}
        )
        for span in recording:
            span.add_link(batch.get_span_context(), {"sluicegate.step": name})
        return _ending(batch)

    @contextmanager
    def publish(self, answered: Sequence[Answered]) -> Iterator[Sequence[Record]]:
        """A ``publish`` span per record, which its headers name."""
        spans, records = [], []
        for answer in answered:
            post = _span_of(answer.slot.delivery)
            _describe(post, answer.record)
            span = self._child("publish", post, SpanKind.PRODUCER)
            span.set_attribute("messaging.destination.name", answer.record.topic)
            spans.append(span)
            records.append(replace(answer.record, headers=_continued(answer.record.headers, span)))
        with _ending(*spans):
            yield records

    async def close(self) -> None:
        """Send what is left, within two seconds."""
        # A thread that dies with the process: the library waits up to 30 s for a collector that is away.
        sending = threading.Thread(target=self._processor.shutdown, daemon=True)
        sending.start()
        try:
            async with asyncio.timeout(_CLOSE_S):
                while sending.is_alive():  # noqa: ASYNC110 - a thread sets no event of the loop
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pass

    def _child(self, name: str, post: Span, kind: SpanKind = SpanKind.INTERNAL) -> Span:
        return self._posts.start_span(name, set_span_in_context(post, Context()), kind=kind)


def _followed(delivery: Delivery) -> _Followed:
    if not isinstance(delivery, _Followed):
        raise TypeError("a delivery that did not come through posts()")
    return delivery


def _span_of(delivery: Delivery) -> Span:
    return _followed(delivery).span


def _describe(post: Span, record: Record) -> None:
    event = record.event
    if isinstance(event, DeadLetter):
        post.set_attribute("sluicegate.dead_letter.code", str(event.code))
        return
    post.set_attributes(
        {
            "sluicegate.post.id": event.post_id,
            "sluicegate.tenant": event.tenant,
            "sluicegate.verdict.id": event.verdict_id,
            "sluicegate.action": event.action.value,
            "sluicegate.assessed_by": event.assessed_by.value,
        }
    )
    if event.failure is not None:
        post.set_attribute("error.type", str(event.failure.code))
        post.set_status(StatusCode.ERROR)
