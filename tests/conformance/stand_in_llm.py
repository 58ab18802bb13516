"""The stand-in's classes: made from the sheet, with the documented behaviour of a model and its requests."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.brain import BLOCK
from conformance.sheet import Entry, load_sheet
from conformance.stand_in import running_loop
from conformance.tensors import Tensor
from support.small_bundle import small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.stand_in import StandIn, Use

_log = logging.getLogger(__name__)


class StandInRequestError(RuntimeError):
    """The stand-in's ``RequestError``."""


def make_class(stand_in: StandIn, entry: Entry) -> type:
    """A class as the sheet describes it."""
    if entry.key == "RequestError":
        return StandInRequestError
    if entry.runtime is not None:
        return type(entry.name, (_Llm,), {"stand_in": stand_in, "entry": entry})
    return type(entry.name, (_Strict,), {"stand_in": stand_in, "entry": entry, "sheet_key": entry.key})


class _Strict:
    """Takes what the sheet lists; ``given`` holds it."""

    stand_in: StandIn
    entry: Entry
    sheet_key: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.entry.made_by_library:
            raise self.stand_in.disagree(f"{self.entry.key} is made by the library alone")
        self.given = self.stand_in.bind(self.entry.key, self.entry.takes, self.entry.positional, args, kwargs)
        if (
            self.entry.key == "GuidedDecodingParams"
            and sum(value is not None for value in self.given.values()) > 1
        ):
            raise ValueError("only one guide can be used")


class _Llm:
    """One loaded model."""

    stand_in: StandIn
    entry: Entry

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        entry, stand_in = self.entry, self.stand_in
        given = stand_in.bind(entry.key, entry.takes, entry.positional, args, kwargs)
        folder = Path(given["model"])
        if (folder / "rank0.engine").exists() != (entry.runtime == "engine"):
            raise ValueError(f"the {entry.runtime} runtime cannot load {folder.name}")
        config = json.loads((folder / "config.json").read_text())
        self.built = config.get("build_config", {})
        self.vocab_size: int = config.get("pretrained_config", config)["vocab_size"]
        self.given = given
        self.blind = given.get("skip_tokenizer_init", False)
        if not self.blind and not any(
            (Path(given.get("tokenizer") or folder) / name).exists() for name in ("tokenizer.json",)
        ):
            raise ValueError("no tokenizer in the folder")
        self.closed = False
        self.loop: asyncio.AbstractEventLoop | None = None
        stand_in.llms.append(self)

    def __getattr__(self, name: str) -> Any:
        if name not in self.entry.methods:
            raise self.stand_in.disagree(f"{self.entry.key} has no {name!r}")
        method = self.entry.methods[name]
        behaviours: dict[str, Callable[..., Any]] = {
            "generate_async": self._generate_async,
            "shutdown": self._shutdown,
            "_check_health": lambda: not self.closed,
        }

        def call(*args: Any, **kwargs: Any) -> Any:
            given = self.stand_in.bind(
                f"{self.entry.key}.{name}", method.takes, len(method.takes), args, kwargs
            )
            return behaviours[name](**given)

        return call

    @property
    def gathers(self) -> bool:
        return bool(self.given.get("gather_generation_logits")) and self.built.get(
            "gather_generation_logits", True
        )

    def limit(self, name: str) -> int:
        """A limit: an engine's own, else what was asked for."""
        return int(self.built.get(name) or self.given.get(name) or 1 << 20)

    def _shutdown(self) -> None:
        self.closed = True

    def _generate_async(self, inputs: list[int], sampling_params: Any = None, **_: Any) -> Any:
        if self.closed:
            raise RuntimeError("LLM is shutting down")
        sampling = dict(sampling_params.given if sampling_params else {})
        self._check(inputs, sampling)
        loop = running_loop()
        if self.loop is None:
            self.loop = loop
        elif self.loop is not loop:
            raise self.stand_in.disagree(
                f"{self.entry.key}.generate_async is called from a second event loop"
            )
        if self.stand_in.brain.hit("die", inputs):
            raise StandInRequestError("the worker is gone")
        request = Request(self, inputs, sampling, loop, self.stand_in.uses[-1])
        self.stand_in.requests.append(request)
        return request

    def _check(self, inputs: list[int], sampling: dict[str, Any]) -> None:
        """What the library checks before it hands a request on."""
        wanted = sampling.get("max_tokens", 32)
        if self.blind and sampling.get("end_id") is None:
            raise ValueError("end_id is needed without a tokenizer")
        if self.entry.runtime == "engine":
            if len(inputs) + wanted > self.limit("max_seq_len"):
                raise ValueError("prompt and max_tokens exceed max_seq_len")
            if sampling.get("logprobs") and not self.gathers:
                raise ValueError("logprobs need gather_generation_logits")
        elif len(inputs) > self.limit("max_num_tokens"):
            raise StandInRequestError("prompt exceeds max_num_tokens")
        if sampling.get("guided_decoding") and not self.given.get("guided_decoding_backend"):
            raise StandInRequestError("guided decoding has no backend")
        room = self.limit("max_seq_len") - len(inputs)
        if wanted > room:
            _log.warning("max_tokens %d is reduced to %d", wanted, room)
            sampling["max_tokens"] = room


class Request:
    """A ``RequestOutput`` in the making. Has what the sheet lists; an answer is read once it is there."""

    sheet_key = "RequestOutput"

    def __init__(
        self,
        llm: _Llm,
        token_ids: list[int],
        sampling: dict[str, Any],
        loop: asyncio.AbstractEventLoop | None,
        made_at: Use,
    ) -> None:
        self.made_at = made_at
        self.settled = False
        self.gone = False
        self._llm = llm
        self._ids = token_ids
        self._sampling = sampling
        self._answer: dict[str, Any] | None = None
        self._task = loop.create_task(self._compute()) if loop else None

    def __getattr__(self, name: str) -> Any:
        stand_in, entry = self._llm.stand_in, load_sheet().classes["RequestOutput"]
        if name in entry.reads:
            stand_in.use(f"RequestOutput.{name}")
            if self._answer is None or not self.settled:
                raise stand_in.disagree(f"RequestOutput.{name} is read before the request was awaited")
            return self._answer.get(name)
        if name not in entry.methods:
            raise stand_in.disagree(f"RequestOutput has no {name!r}")
        behaviours: dict[str, Callable[[], Any]] = {
            "aresult": self._aresult,
            "abort": self._abort,
            "aborted": lambda: self.gone,
        }

        def call(*args: Any, **kwargs: Any) -> Any:
            stand_in.bind(f"RequestOutput.{name}", entry.methods[name].takes, 0, args, kwargs)
            return behaviours[name]()

        return call

    async def _aresult(self) -> Request:
        if self._task is None:
            raise AssertionError("The asyncio event loop was not present during initialization")
        try:
            await asyncio.shield(self._task)
        finally:
            self.settled = self._task.done()
        return self

    def _abort(self) -> None:
        self.gone = True
        if self._task:
            self._task.cancel()

    async def _compute(self) -> None:
        llm, brain, ids = self._llm, self._llm.stand_in.brain, self._ids
        await asyncio.sleep(brain.step_s)
        if brain.hit("hang", ids):
            await asyncio.Event().wait()
        if brain.hit("error", ids):
            raise StandInRequestError(f"failed on {small_tokenizer().decode(ids)}")
        cached = brain.cached(ids)
        brain.keep(ids)
        told = cached if llm.entry.runtime == "pytorch" else 0  # an engine's answers have no such field
        self._answer = {"outputs": [self._completion(cached)], "finished": True, "cached_tokens": told}
        if brain.hit("empty_once", ids):
            del brain.faults["empty_once"]

    def _completion(self, cached: int) -> Answer:
        llm, brain, ids, sampling = self._llm, self._llm.stand_in.brain, self._ids, self._sampling
        logits = brain.logits(ids, llm.vocab_size)
        generated, reason = self._generated(int(np.argmax(logits)))
        if brain.hit("empty", ids) or brain.hit("empty_once", ids):
            return Answer(llm.stand_in, "CompletionOutput", {"token_ids": [], "finish_reason": "stop"})
        fields: dict[str, Any] = {"token_ids": generated, "finish_reason": reason, "text": ""}
        if sampling.get("return_generation_logits") and (llm.gathers or llm.entry.runtime == "pytorch"):
            rows = np.zeros((len(generated) + brain.spare_rows, llm.vocab_size), brain.logits_dtype)
            rows[:] = logits
            garbled = brain.hit("garble", ids)
            fields["generation_logits"] = Tensor(rows[0] if garbled else rows)
        if sampling.get("return_perf_metrics"):
            fields["request_perf_metrics"] = self._metrics(cached // BLOCK + brain.partial_blocks)
        if count := sampling.get("logprobs"):
            found = [self._logprobs(logits, int(count))]
            fields["logprobs"] = None if brain.hit("garble", ids) else found
        return Answer(llm.stand_in, "CompletionOutput", {"logprobs": [], **fields})

    def _metrics(self, reused: int) -> Answer:
        stand_in = self._llm.stand_in
        blocks = Answer(stand_in, "KvCacheMetrics", {"num_reused_blocks": reused})
        return Answer(stand_in, "RequestPerfMetrics", {"kv_cache_metrics": blocks})

    def _generated(self, best: int) -> tuple[list[int], str]:
        """Ids and the reason why they end."""
        sampling, brain = self._sampling, self._llm.stand_in.brain
        limit = sampling.get("max_tokens", 32)
        if limit == 1:
            return [best], "length"
        text = brain.text(self._ids)
        guide = sampling.get("guided_decoding")
        if guide and not re.fullmatch(guide.given["regex"], text) and not brain.hit("garble", self._ids):
            raise self._llm.stand_in.disagree(
                f"an explanation in its shape is not what the guide allows: {text!r}"
            )
        ids = small_tokenizer().encode_static(text)
        if len(ids) >= limit:
            return ids[:limit], "length"
        return [*ids, sampling["end_id"]] if brain.keeps_end else ids, "stop"

    def _logprobs(self, logits: Any, count: int) -> dict[int, Any]:
        """The ``count`` likeliest tokens; the sampled one is the first, since nothing but greedy is asked for."""
        top = logits.max()
        values = logits - (top + np.log(np.exp(logits - top).sum()))
        shown = [int(token) for token in np.argsort(-values)[:count]]
        return {
            token: Answer(self._llm.stand_in, "Logprob", {"logprob": float(values[token]), "rank": rank + 1})
            for rank, token in enumerate(shown)
        }


class Answer:
    """What the library made, such as a ``CompletionOutput``: has what the sheet lists for its class."""

    def __init__(self, stand_in: StandIn, key: str, fields: dict[str, Any]) -> None:
        self._stand_in = stand_in
        self._entry = load_sheet().classes[key]
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        if name not in self._entry.reads:
            raise self._stand_in.disagree(f"{self._entry.key} has no {name!r}")
        self._stand_in.use(f"{self._entry.key}.{name}")
        return self._fields.get(name)
