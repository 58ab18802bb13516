"""STUBS of completions servers: no model, and only those of their ways that we know and rely on.

None of this is vLLM, SGLang or TensorRT-LLM. They show that our client asks and reads as :mod:`contract.wires`
has it. Given a server's own files, a stub answers by them instead: see :mod:`conformance.servers`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from aiohttp import web
from aiohttp.test_utils import TestServer

from contract.wires import WIRES, Generated, RefusedError
from sluicegate.schemas import CATEGORIES
from support.small_bundle import small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SLOW_S = 5.0
LABELS = (" Safe", " Controversial", " Unsafe")
_LABEL_LOGIT = 8.0
_ASTRAY_LOGIT = 30.0  # of a token that is no label: the labels are candidates and hold next to nothing


class OwnFiles(Protocol):
    """What a server's own files say of a request, and make of an engine's output."""

    def take(self, body: Mapping[str, Any]) -> Any:
        """Raises ``RefusedError`` where the server would refuse the request, or ignore a field of it."""
        ...

    def answer(self, body: Mapping[str, Any], generated: Sequence[Generated]) -> Any:
        """The reply."""
        ...


@dataclass
class StubServer:
    """A stub of one flavour, a key of :data:`contract.wires.WIRES`, with switches."""

    flavour: str
    models: tuple[str, ...] = ("small",)
    """What ``vllm`` serves: its base, and adapters on it."""
    faults: dict[str, str | None] = field(default_factory=dict)
    """Fault to marker; None hits all."""
    statuses: list[int] = field(default_factory=list)
    """Answered first, one for each request."""
    refuse_lists: bool = False
    empty_once: bool = False
    raw_body: bytes | None = None
    echo_errors: bool = False
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    abandoned: int = 0
    own_files: OwnFiles | None = None
    """Take requests, and answer, by them."""
    port: int | None = None
    """Where to listen; None takes a free one."""
    tells: bool = False
    """True if ``/metrics`` tells the start of its process and the requests in its work, as ``vllm`` does."""
    restart_s: float = 0.5
    """After a ``crash`` every connection breaks for so long."""
    leaves_by_500: bool = False
    """True if a ``crash`` ends in vLLM's way: 500 to all requests and 503 on ``/health``, until somebody restarts it."""
    dead: bool = False
    crashes: int = 0
    down_until: float = 0.0
    connections: set[Any] = field(default_factory=set)
    _server: TestServer | None = None

    def __post_init__(self) -> None:
        self.wire = WIRES[self.flavour]()

    async def __aenter__(self) -> Self:
        application = web.Application(client_max_size=16 << 20)
        application.router.add_post(self.wire.path, self._handle)
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/health", self._health)
        self._server = TestServer(application, port=self.port)
        await self._server.start_server()
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server
        await self._server.close()

    @property
    def url(self) -> str:
        assert self._server
        return str(self._server.make_url("")).rstrip("/")

    async def _metrics(self, request: web.Request) -> web.StreamResponse:
        if self._is_down(request) or not self.tells:
            return web.Response(status=404)
        return web.Response(
            text=f"process_start_time_seconds {1e9 + self.crashes}\n"
            f'vllm:num_requests_running{{model_name="small"}} {float(self.in_flight)}\n'
            'vllm:num_requests_waiting{model_name="small"} 0.0\n'
        )

    async def _health(self, request: web.Request) -> web.StreamResponse:
        self._is_down(request)
        return web.Response(status=503 if self.dead else 200)

    def restart(self) -> None:
        """Another process takes the place of one that ``leaves_by_500``."""
        self.crashes += 1
        self.dead = False

    def _is_down(self, request: web.Request) -> bool:
        down = time.monotonic() < self.down_until
        if down and request.transport:
            request.transport.abort()
        return down

    def _crash(self) -> None:
        """End with all that is in work, whoever sent it."""
        self.crashes += 1
        self.down_until = time.monotonic() + self.restart_s
        for transport in self.connections:
            transport.abort()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self._is_down(request):
            return web.Response()
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        transport = request.transport
        self.connections.add(transport)
        try:
            return await self._answer(request, body)
        except asyncio.CancelledError:
            self.abandoned += 1
            raise
        finally:
            self.in_flight -= 1
            self.connections.discard(transport)

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await asyncio.sleep(0.005)  # so that requests overlap
        prompts = self.wire.prompts(body)
        texts = [small_tokenizer().decode(ids) for ids in prompts]
        self.dead = self.dead or (self.leaves_by_500 and self._hit("crash", texts))
        refused = self._hit("wrong_key", texts)
        if self.dead or refused or self.statuses:
            status = 500 if self.dead else 401 if refused else self.statuses.pop(0)
            return web.Response(status=status, headers={"Location": self.wire.path})
        if self.raw_body is not None:
            return web.Response(body=self.raw_body, content_type="application/json")
        crashes = self._hit("crash", texts)
        if crashes or self._hit("die", texts):
            if crashes:
                self._crash()
            assert request.transport
            request.transport.abort()
            return web.Response()
        if self._hit("hang", texts):
            await asyncio.sleep(3600)
        if self._hit("slow", texts):
            await asyncio.sleep(SLOW_S)
        answer, status = self._reply(body, prompts, texts)
        cut = status == 200 and self._hit("cut", texts)
        return await _half(request, answer) if cut else web.json_response(answer, status=status)

    def _reply(self, body: dict[str, Any], prompts: list[list[int]], texts: list[str]) -> tuple[Any, int]:
        """The body and the status of a reply."""
        if self._hit("error", texts):
            return self.wire.error(texts[0] if self.echo_errors else "internal error"), 500
        try:
            if self.refuse_lists and len(prompts) > 1:
                raise RefusedError("one prompt only")
            self.wire.check(body, self.models)
            if self.own_files is not None:
                self.own_files.take(body)
        except RefusedError as refused:
            return self.wire.error(str(refused)), refused.status
        generated = [self._generated(body, ids, text) for ids, text in zip(prompts, texts, strict=True)]
        self.empty_once = False
        if self._hit("garble", texts):
            return {"choices": "what?"}, 200
        if self._hit("miscount", texts):
            del generated[0]
        answer = (self.own_files or self.wire).answer(body, generated)
        if isinstance(answer, dict) and "choices" in answer:
            answer["choices"].reverse()  # order is the index's business
        return answer, 200

    def _hit(self, fault: str, texts: Sequence[str]) -> bool:
        if fault not in self.faults:
            return False
        marker = self.faults[fault]
        return marker is None or any(marker in text for text in texts)

    def _generated(self, body: Mapping[str, Any], ids: list[int], text: str) -> Generated:
        """What a model would write that likes a label after ``Safety:``, and a category after ``Categories:``."""
        if self.empty_once or self._hit("empty", [text]):
            return Generated(ids, "", {}, None, "stop")
        explains = self.wire.tokens(body) > 1
        names = [f" {name}" for name in (*CATEGORIES[:-1], "None")] if explains else list(LABELS)
        grammar = self.wire.grammar(body)
        shaped = bool(grammar) or text.endswith("Categories:") if explains else text.endswith("Safety:")
        name = self.wire.named(body)
        logprobs = self._logprobs(
            [ids] if name in (None, self.models[0]) else [ids, name],
            names if shaped else [],
            hide=not explains and self._hit("labels_missing", [text]),
            astray=not explains and self._hit("astray", [text]),
        )
        best = max(logprobs, key=lambda token: logprobs[token])
        written = small_tokenizer().decode([best])
        if explains and not shaped:
            return Generated(ids, " and so it went on", logprobs, best, "length")
        if explains:
            written = next(name for name in names if small_tokenizer().encode_static(name)[0] == best)
            written += "\nRefusal: No" if "Rate the response" in text or "Refusal" in grammar else ""
        return Generated(ids, written, logprobs, best, "stop" if explains else "length")

    @staticmethod
    def _logprobs(asked: list[Any], names: list[str], *, hide: bool, astray: bool) -> dict[int, float]:
        """Logarithms over the whole vocabulary, the same for the same prompt of the same model."""
        draw = random.Random(hashlib.sha256(repr(asked).encode()).digest())
        logits = {token: draw.gauss(0, 1) for token in range(small_tokenizer().vocabulary_size)}
        for name in names:
            token = small_tokenizer().encode_static(name)[0]
            logits[token] = -1e5 if hide else _LABEL_LOGIT + draw.gauss(0, 2)
        if astray:
            logits[small_tokenizer().encode_static("x")[0]] = _ASTRAY_LOGIT
        top = max(logits.values())
        total = top + math.log(sum(math.exp(value - top) for value in logits.values()))
        return {token: value - total for token, value in logits.items()}


async def _half(request: web.Request, answer: Any) -> web.StreamResponse:
    """Send half of an answer and break the connection."""
    body = json.dumps(answer).encode()
    response = web.StreamResponse(headers={"Content-Length": str(len(body))})
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    assert request.transport
    request.transport.abort()
    return response
