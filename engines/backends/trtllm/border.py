"""The border to TensorRT-LLM: its import, every call into it and every field of its answers, in one place.

It is imported late, once, and of the release that is expected. Nothing of its types leaves this module.
``make conformance`` walks it through a stand-in that is as strict as the documentation; it finds the call sites by
the names ``library``, ``llm``, ``request``, ``completion``, ``entry``, ``metrics`` and ``blocks``, which stand for
nothing else here.
"""

from __future__ import annotations

import importlib.metadata
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sluicegate.engines.backends.dialects.base import EXPLANATION_TOKENS, Candidates
from sluicegate.engines.backends.trtllm.serving import VERSION, Runtime, Serving
from sluicegate.engines.errors import EngineSetupError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


_HOW = (
    f"run the worker in the container nvcr.io/nvidia/tensorrt-llm/release:{VERSION} or, on Linux with CUDA 13.1, "
    "`pip install 'sluicegate[gpu]'` (docs/engine.md); or serve the bundle with trtllm-serve and "
    "choose backend completions"
)


@dataclass(frozen=True)
class Library:
    """What we use of TensorRT-LLM."""

    LLM: Any
    SamplingParams: Any
    GuidedDecodingParams: Any
    KvCacheConfig: Any


def load_library(runtime: Runtime) -> Library:
    """Import TensorRT-LLM. Blocks for many seconds and starts MPI: never at the import of a module of ours.

    Raises:
        EngineSetupError: It is not installed, of another release, or does not load.
    """
    try:
        found = importlib.metadata.version("tensorrt-llm")
    except importlib.metadata.PackageNotFoundError as error:
        raise EngineSetupError(f"TensorRT-LLM is not installed: {_HOW}") from error
    if found != VERSION:
        raise EngineSetupError(f"TensorRT-LLM {found[:32]} is installed, and {VERSION} is needed: {_HOW}")
    try:
        from tensorrt_llm.llmapi import GuidedDecodingParams, KvCacheConfig, SamplingParams  # noqa: PLC0415 - lazy

        if runtime == "engine":
            from tensorrt_llm._tensorrt_engine import LLM  # noqa: PLC0415 - lazy
        else:
            from tensorrt_llm import LLM  # noqa: PLC0415 - lazy
    except Exception as error:  # a driver or an MPI that does not fit fails in any way
        raise EngineSetupError(
            f"TensorRT-LLM does not load ({type(error).__name__}: {str(error)[:300]}): {_HOW}"
        ) from error
    return Library(LLM, SamplingParams, GuidedDecodingParams, KvCacheConfig)


_CANDIDATES = 20
"""They hold the three labels of a healthy model, and the categories. No bias lifts them there: PyTorch counts one
into the logarithms that it reports, and they would no longer say how much the model wanted a label."""


class UnreadableError(Exception):
    """An answer lacks a field or has another shape than documented. The message names the field."""


class Llm:
    """One loaded model. Make and close it in a thread of its own; submit inside one running loop.

    Args:
        library: TensorRT-LLM.
        serving: How the model is run.
        root: Folder of the bundle.
        end_id: The token that ends an answer.
    """

    def __init__(self, library: Library, serving: Serving, root: Path, *, end_id: int) -> None:
        self._library = library
        self._serving = serving
        self._end_id = end_id
        self._llm = _load(library, serving, root)

    def one_token(self) -> Any:
        """Parameters of a request for one token, with what :meth:`Asked.candidates` reads."""
        library = self._library
        if self._serving.runtime == "engine":
            return library.SamplingParams(
                max_tokens=1,
                end_id=self._end_id,
                detokenize=False,
                return_generation_logits=True,
                return_perf_metrics=True,  # or an engine does not say what its cache served
            )
        return library.SamplingParams(
            max_tokens=1, end_id=self._end_id, detokenize=False, logprobs=_CANDIDATES
        )

    def text(self, regex: str) -> Any:
        """Parameters of a request for an explanation, held to the expression where the bundle wants that.

        Greedy, as is everything here: no temperature, ``top_k`` or ``top_p`` is set.
        """
        library = self._library
        if not self._serving.guided_decoding:
            return library.SamplingParams(
                max_tokens=EXPLANATION_TOKENS, end_id=self._end_id, detokenize=False
            )
        return library.SamplingParams(
            max_tokens=EXPLANATION_TOKENS,
            end_id=self._end_id,
            detokenize=False,
            guided_decoding=library.GuidedDecodingParams(regex=regex),
        )

    def submit(self, token_ids: Sequence[int], sampling: Any) -> Asked:
        """Hand in one prompt. Returns at once; raises what TensorRT-LLM raises."""
        llm = self._llm
        request = llm.generate_async(list(token_ids), sampling)
        return Asked(request, self._serving, prompt_tokens=len(token_ids))

    def is_open(self) -> bool:
        """False once it was shut down; says nothing of the GPU."""
        llm = self._llm
        return bool(llm._check_health())  # noqa: SLF001 - documented, and the only question there is

    def close(self) -> None:
        """Shut down. Blocks."""
        llm = self._llm
        llm.shutdown()


class Asked:
    """One prompt in work, and then its answer."""

    def __init__(self, request: Any, serving: Serving, *, prompt_tokens: int) -> None:
        self._request = request
        self._serving = serving
        self._prompt_tokens = prompt_tokens

    async def finish(self) -> None:
        """Wait for the answer; raises what TensorRT-LLM raises. Cancelling does not :meth:`abort`."""
        request = self._request
        await request.aresult()

    def abort(self) -> None:
        """Give it up."""
        request = self._request
        request.abort()

    @property
    def token_ids(self) -> tuple[int, ...]:
        """What was generated; empty if nothing was."""
        request = self._request
        if not request.outputs:
            return ()
        completion = request.outputs[0]
        return tuple(completion.token_ids or ())

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens served by the prefix cache, where the runtime says so; else 0.

        A compiled engine counts blocks, and one that is reused in part as a whole one: so this is at most the prompt.
        """
        request = self._request
        if self._serving.runtime == "pytorch":
            return _count(request.cached_tokens)
        completion = request.outputs[0]
        reused = _reused_blocks(completion) * self._serving.tokens_per_block
        return min(reused, self._prompt_tokens)

    @property
    def precision(self) -> str:
        """Type of the logits, such as ``float16``; empty where none came back."""
        request = self._request
        completion = request.outputs[0]
        return str(getattr(completion.generation_logits, "dtype", "")).removeprefix("torch.")

    def candidates(self, token_ids: Sequence[int]) -> Candidates:
        """How likely each of these tokens was at the first position.

        Raises:
            UnreadableError: The answer has another shape than documented.
        """
        request = self._request
        completion = request.outputs[0]
        if self._serving.runtime == "engine":
            return _of_logits(completion.generation_logits, token_ids)
        return _of_logprobs(completion.logprobs, token_ids)


def _load(library: Library, serving: Serving, root: Path) -> Any:
    """Load the model, which takes minutes. What both runtimes take is said once.

    The limits are passed for an engine, too: left out, a default of the library would lower
    what it was built for.
    """
    options: dict[str, Any] = (
        {"skip_tokenizer_init": True}  # we send and read ids
        if serving.tokenizer_folder is None or not serving.guided_decoding
        else {"tokenizer": str(root / serving.tokenizer_folder), "guided_decoding_backend": "xgrammar"}
    )
    if serving.runtime == "engine":
        return library.LLM(
            str(root / serving.folder),
            gather_generation_logits=True,
            max_batch_size=serving.max_batch_size,
            max_num_tokens=serving.max_num_tokens,
            max_input_len=serving.max_input_len,
            max_seq_len=serving.max_seq_len,
            kv_cache_config=library.KvCacheConfig(
                enable_block_reuse=True, free_gpu_memory_fraction=serving.free_gpu_memory_fraction
            ),
            **options,
        )
    return library.LLM(
        str(root / serving.folder),
        max_batch_size=serving.max_batch_size,
        max_num_tokens=serving.max_num_tokens,
        max_input_len=serving.max_input_len,
        max_seq_len=serving.max_seq_len,
        kv_cache_config=library.KvCacheConfig(
            enable_block_reuse=True,
            free_gpu_memory_fraction=serving.free_gpu_memory_fraction,
            tokens_per_block=serving.tokens_per_block,
        ),
        **options,
    )


def _reused_blocks(completion: Any) -> int:
    """Blocks of the prefix cache that a request found there; 0 where the runtime does not say."""
    try:
        metrics = completion.request_perf_metrics
        blocks = metrics.kv_cache_metrics
        return _count(blocks.num_reused_blocks)
    except (
        AttributeError
    ):  # none were gathered, or this release has them elsewhere: no reason to lose a score
        return 0


def _count(found: Any) -> int:
    return found if isinstance(found, int) and found >= 0 else 0


def _of_logits(logits: Any, token_ids: Sequence[int]) -> Candidates:
    """Exact logarithms from the first row of ``[generated or more, vocabulary]``."""
    shape = tuple(getattr(logits, "shape", ()))
    if len(shape) != 2 or shape[0] < 1 or shape[1] <= max(token_ids):
        raise UnreadableError("generation_logits")
    row = logits[0].float()
    total = row.logsumexp(-1).item()
    found = {
        token_id: value - total
        for token_id, value in zip(token_ids, row[list(token_ids)].tolist(), strict=True)
    }
    if not all(map(math.isfinite, found.values())):
        raise UnreadableError("generation_logits")
    return Candidates(found, min(found.values()))


def _of_logprobs(logprobs: Any, token_ids: Sequence[int]) -> Candidates:
    """The likeliest tokens of the first position, and the least of them as a bound for the others."""
    first = logprobs[0] if isinstance(logprobs, list) and logprobs else None
    if not isinstance(first, dict):
        raise UnreadableError("logprobs")
    wanted = set(token_ids)
    try:
        pairs = [(token if token in wanted else None, entry.logprob) for token, entry in first.items()]
    except AttributeError:
        raise UnreadableError("logprobs") from None
    candidates = Candidates.of(pairs)
    if candidates is None:
        raise UnreadableError("logprobs")
    return candidates
