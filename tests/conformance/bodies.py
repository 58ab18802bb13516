"""Every body that a dialect sends to vLLM or SGLang, taken by the server's own files, and the reply read again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from conformance.servers import Server, SglangCompletions, SglangServer, VllmServer
from conformance.walk import AGREES, Row
from contract.wires import Generated, RefusedError
from sluicegate.engines.backends.dialects import Completion, Dialect, Lora, make_dialect
from sluicegate.engines.backends.dialects.base import Candidates
from sluicegate.engines.protocol import Scored
from support.small_bundle import small_tokenizer, small_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

DIALECTS: Final = Path("engines/backends/dialects")
PROMPT: Final = (1, 2, 3)
_KINDS: Final = ("post", "prompt", "response")


@dataclass(frozen=True)
class Body:
    """One request, and what it is for."""

    module: str
    """File name of its dialect."""
    what: str
    server: type[Server]
    value: Mapping[str, Any]
    prompts: int
    read: Callable[[object], Sequence[object]]
    """Reads the reply, as the engine does."""


def bodies() -> list[Body]:
    """All that differ. A dialect that more than one server understands has them once for each."""
    found: list[Body] = []
    for name, module, server in (
        ("openai", "openai.py", VllmServer),
        ("openai", "openai.py", SglangCompletions),
        ("vllm", "openai.py", VllmServer),
        ("sglang", "sglang.py", SglangServer),
        ("sglang with an adapter", "sglang.py", SglangServer),
    ):
        lora = Lora("teens", 1, "teens") if name.endswith("adapter") else None
        for reasons in (False, True):
            vocabulary = small_vocabulary(reasons=reasons)
            dialect = make_dialect(name.partition(" ")[0], vocabulary, model="guard", lora=lora)
            seen = [
                body.value for body in found if body.what.startswith(f"{name}:") and body.server is server
            ]
            found += [
                Body(module, f"{name}: {what}", server, *rest)
                for what, *rest in _of(dialect, reasons=reasons)
                if rest[0] not in seen
            ]
    return found


def _of(dialect: Dialect, *, reasons: bool) -> Iterator[tuple[Any, ...]]:
    """What is asked, the body, its prompts, and how the reply is read."""
    for kind in _KINDS:
        text = f"explain a {kind}" + ", with a reason" * reasons
        body = dialect.explain_request(PROMPT, kind)
        yield text, body, 1, lambda reply: [dialect.read_explanation(reply)]
    if not reasons:
        body = dialect.category_request(PROMPT)
        yield "ask for a category", body, 1, lambda reply: [dialect.read_category(reply)]
        for count in sorted({1, dialect.list_prompts}):
            text = "score a prompt" if count == 1 else f"score a list of {count}"
            body = dialect.score_request([PROMPT] * count)
            yield text, body, count, lambda reply, count=count: dialect.read_scores(reply, count)


def body_rows(servers: Mapping[type[Server], Server] | None, reason: str = "") -> list[Row]:
    """One row for each body.

    Args:
        servers: Each server's own files; None where they are not here.
        reason: Why they are not.
    """
    rows = []
    for body in bodies():
        result = compare(body, servers[body.server]) if servers is not None else f"NOT CHECKED: {reason}"
        rows.append(Row(str(DIALECTS / body.module), body.what, body.server.name, result))
    return rows


def compare(body: Body, server: Server) -> str:
    """See that a server takes a body as it is meant, and that its reply is read."""
    try:
        server.take(body.value)
    except RefusedError as error:
        return f"refused: {error}"
    if not isinstance(server, VllmServer | SglangServer):
        return AGREES
    reply = server.answer(body.value, [generated()] * body.prompts)
    unread = [
        answer for answer in body.read(reply) if not isinstance(answer, Scored | Completion | Candidates)
    ]
    return f"its reply is not read: {unread[0]}" if unread else AGREES


def generated() -> Generated:
    """What a model writes that likes the first label, and the first category, best."""
    vocabulary = small_vocabulary()
    liked = [*vocabulary.first_label_ids.values(), *vocabulary.category_ids.values()]
    logprobs = dict.fromkeys(range(small_tokenizer().vocabulary_size), -30.0)
    logprobs |= {token: -1.0 - rank for rank, token in enumerate(liked)}
    return Generated(PROMPT, " Violent", logprobs, liked[0], "stop")
