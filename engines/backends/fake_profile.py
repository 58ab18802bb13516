"""How fast the fake engine pretends to be: one accelerator, one clock."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from sluicegate.engines.protocol import Prompt
from sluicegate.schemas import Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


EXPLANATION_TOKENS = 16
"""What a category and a refusal line take in a real vocabulary."""


def generated_tokens(prompts: int, *, texts: int) -> int:
    """How many tokens are generated to explain prompts, some of them in a text."""
    return prompts - texts + texts * EXPLANATION_TOKENS


_PREFIXES = 256
"""Prefixes that the simulated cache remembers: a few kinds times the hints in use."""


@dataclass(frozen=True, slots=True)
class FakeProfile:
    """What the fake engine pretends to be. The default takes no time at all.

    Times add up as on one accelerator that works on one micro-batch after the other: a call
    waits for the calls before it, computes the tokens that no earlier prompt shares, and
    spends ``call_overhead_s`` outside the accelerator, where it delays nobody else.
    """

    prefill_tokens_per_s: float = math.inf
    """Prompt tokens computed in a second."""
    decode_tokens_per_s: float = math.inf
    """Tokens generated in a second, all prompts of a micro-batch together."""
    step_s: float = 0.0
    """Least time of one pass through the model: what makes small micro-batches inefficient."""
    call_overhead_s: float = 0.0
    """Network, scheduling and tokens' way back, for each call."""
    start_s: float = 0.0
    """Time until it can be asked: an engine loads."""
    concurrent_calls: int = 64
    """Micro-batches accepted side by side; further ones wait."""
    saturating_prompts: int = 64
    """Reported in :class:`~sluicegate.engines.protocol.EngineInfo`."""
    bytes_per_token: float = 1.0
    """The fake's tokenizer counts bytes. 4 makes an English text as many tokens as a real one does."""
    cache_block_tokens: int = 0
    """The cache of prefixes holds whole blocks of this many tokens of a real vocabulary; 0: any prefix."""
    explanation_prompt_tokens: float = 0.0
    """Prompt tokens, of a real vocabulary, that are computed for each explanation."""
    max_prompt_tokens: int = 32_768
    """Longest prompt, in the fake's own tokens, which are bytes."""
    rules: Mapping[str, Severity] = field(default_factory=dict)
    """Text to severity: the first one found in a post decides; other posts are judged by their hash."""
    seed: int = 0
    """Another one judges the texts that no rule is about in another way, as another adapter would."""
    faults_file: Path | None = None
    """JSON that switches faults while the engine runs: :mod:`~sluicegate.engines.backends.fake_faults`."""
    counts_file: Path | None = None
    """JSON lines that the engine appends its own counts to: :mod:`~sluicegate.engines.backends.fake`."""
    in_flight_batching: bool = False
    """True: the passes of all calls are shared, as a server with in-flight batching shares them. A call then
    books its tokens at the full rates and nothing for passes that are not full; it still takes ``step_s``
    for each of its own passes, in which others may be served. False: a call's passes are its own."""

    @classmethod
    def h100(cls, *, rules: Mapping[str, Severity] | None = None, faults_file: Path | None = None) -> Self:
        """An 8B guard in FP8 on one H100, **simulated**.

        Prefill and decode rates are arithmetic on NVIDIA's published TensorRT-LLM table for
        Llama-3.1-8B FP8 on one H100: the rows 2048/128 and 128/128, solved together, as each
        of them reads and writes. The step is the reading of 8 GB of weights at 3.35 TB/s. The
        cache reuses a part of a block, as TensorRT-LLM does by default. An explanation computes its forced tokens
        and the last one that its score left there. The rest is assumed, not measured.
        """
        return cls(
            prefill_tokens_per_s=58_900,
            decode_tokens_per_s=54_500,
            step_s=0.0024,
            call_overhead_s=0.005,
            concurrent_calls=4,
            saturating_prompts=64,
            bytes_per_token=4.0,
            explanation_prompt_tokens=7.0,
            rules=rules or {},
            faults_file=faults_file,
        )

    def prefill_s(self, tokens: int) -> float:
        """Seconds to compute this many of the fake's tokens, and the one token after them."""
        return max(self.step_s, tokens / self.bytes_per_token / self.prefill_tokens_per_s)

    def decode_s(self, prompts: int, tokens: int) -> float:
        """Seconds to generate ``tokens`` tokens for each of some prompts together."""
        return tokens * max(self.step_s, prompts / self.decode_tokens_per_s)

    @property
    def cache_block(self) -> int:
        """The fake's tokens in a block of the cache."""
        return round(self.cache_block_tokens * self.bytes_per_token)

    def explaining(self, prompts: int, *, texts: int) -> Booked:
        """What a call for explanations asks of the accelerator.

        Args:
            prompts: How many are explained.
            texts: For how many of them a text is written; the others take one token.
        """
        again = self.explanation_prompt_tokens * prompts
        computed = round(again * self.bytes_per_token) or None
        read = self.work(computed=computed, prompts=prompts - texts, tokens=int(texts < prompts))
        if not texts:
            return read
        written = self.work(prompts=texts, tokens=EXPLANATION_TOKENS)
        return Booked(read.booked_s + written.booked_s, read.least_s + written.least_s)

    def work(self, *, computed: int | None = None, prompts: int = 0, tokens: int = 0) -> Booked:
        """What a call asks of the accelerator.

        Args:
            computed: The fake's tokens of its prompts that no cache serves; None for a call without prefill.
            prompts: How many of them go on.
            tokens: That each of those generates.
        """
        if not self.in_flight_batching:
            prefill_s = 0.0 if computed is None else self.prefill_s(computed)
            return Booked(prefill_s + self.decode_s(prompts, tokens))
        booked_s = (computed or 0) / self.bytes_per_token / self.prefill_tokens_per_s
        booked_s += prompts * tokens / self.decode_tokens_per_s
        return Booked(booked_s, self.step_s * ((computed is not None) + tokens))


@dataclass(frozen=True, slots=True)
class Booked:
    """One call's share of the accelerator."""

    booked_s: float
    """Seconds in which nobody else is served."""
    least_s: float = 0.0
    """Seconds that the call takes at least, others beside it."""


class Accelerator:
    """The clock and the prefix cache that all calls to one fake engine share.

    Args:
        block: The fake's tokens in a block of the cache; 0 where any prefix is found.
    """

    def __init__(self, block: int = 0) -> None:
        self._block = block
        self._free_at = -math.inf
        self._prefixes: OrderedDict[tuple[int, ...], None] = OrderedDict()

    def book(self, now: float, work_s: float, least_s: float = 0.0) -> float:
        """Queue some work behind what is booked already; the time at which it is done.

        Booked work is done whether or not its caller still waits, as on a real accelerator.
        """
        self._free_at = max(self._free_at, now) + work_s
        return max(self._free_at, now + least_s)

    def cached_tokens(self, prompts: Sequence[Prompt]) -> list[int]:
        """Tokens of each prompt that an earlier prompt has left in the cache: ``list[n]``."""
        return [self._reuse(prompt.token_ids[: prompt.shared_tokens]) for prompt in prompts]

    def _reuse(self, prefix: tuple[int, ...]) -> int:
        if self._block:
            prefix = prefix[: len(prefix) // self._block * self._block]
        try:
            self._prefixes.move_to_end(prefix)
        except KeyError:
            self._prefixes[prefix] = None
            if len(self._prefixes) > _PREFIXES:
                self._prefixes.popitem(last=False)
            return 0
        return len(prefix)
