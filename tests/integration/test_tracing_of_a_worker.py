"""A worker that sends its spans to a collector, and one whose collector is not there."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from support.collector import account
from support.kafka import free_ports
from support.workers import Lane

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POSTS = [{"id": f"p{number}", "text": f"[bad] number {number}"} for number in range(50)]
STEPS = ["decode", "post", "publish", "take"]


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An endpoint for spans, and what it was sent."""
    bodies: list[bytes] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_worker_sends_the_spans_of_its_posts_and_outlives_its_collector(tmp_path: Path) -> None:
    lane = Lane("", tmp_path)
    async with EmbeddedBroker(lane.topics) as broker:
        lane.bootstrap = broker.address
        await asyncio.to_thread(_run, lane)


def _run(lane: Lane) -> None:
    try:
        with collector() as (endpoint, bodies):
            worker = lane.start({"tracing.enabled": "true", "tracing.endpoint": endpoint})
            worker.wait_ready()
            sent = lane.send(POSTS)
            lane.wait_acknowledged(within_s=60)
            worker.terminate()
            assert worker.wait(20) == 0
        spans = [
            span
            for body in bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        assert sorted(span.name for span in spans if span.name in STEPS) == sorted(STEPS * len(POSTS))
        published = {
            f"{span.trace_id.hex()}-{span.span_id.hex()}" for span in spans if span.name == "publish"
        }
        parents = {(record.headers["traceparent"] or b"").decode()[3:52] for record in lane.read()}
        assert parents == published

        absent = {"tracing.enabled": "true", "tracing.endpoint": f"http://127.0.0.1:{free_ports(1)[0]}"}
        worker = lane.start(absent)
        worker.wait_ready()
        sent += lane.send(POSTS)
        lane.wait_acknowledged(within_s=60)
        worker.terminate()
        assert worker.wait(20) == 0
        assert account(sent, lane.read()).lost == ()
        assert "[bad]" not in worker.output
    finally:
        lane.close()
