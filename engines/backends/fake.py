"""The fake engine: no model, deterministic, as slow and as broken as told. For load tests and users' own tests.

It counts its own work, and tells it in a file while it runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import struct
import sys
import time
from array import array
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import orjson

from sluicegate.engines.backends.fake_faults import (
    TIMED_OUT,
    Fault,
    Faults,
    FaultsFile,
    SlowFault,
    Texts,
    failure_of,
    text_of,
)
from sluicegate.engines.backends.fake_profile import Accelerator, Booked, FakeProfile, generated_tokens
from sluicegate.engines.bundle.tokenizer import ByteTokenizer, TextTokenizer
from sluicegate.engines.errors import EngineUnavailable
from sluicegate.engines.layouts import CompactLayout
from sluicegate.engines.protocol import (
    EngineInfo,
    Explanation,
    Generation,
    Health,
    ItemFailure,
    Prompt,
    Scored,
)
from sluicegate.engines.text.parsing import PROMPT_ONLY, parse_explanation
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import CATEGORIES, NO_CATEGORY, FailureCode, Scores, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

__all__ = ["FakeEngine", "FakeProfile", "Fault", "Faults", "SlowFault", "fake_prompter"]


_EVERY_S = 0.05


@dataclass(slots=True)
class FakeCounts:
    """Sums since the engine was made. Tokens are those of a real vocabulary, by ``bytes_per_token``."""

    prompts: int = 0
    """Scored, or answered as a whole."""
    prompt_tokens: float = 0.0
    """Of those prompts."""
    cached_tokens: float = 0.0
    """Of those tokens, served by the prefix cache."""
    explained: int = 0
    """Prompts that were explained."""
    generated_tokens: float = 0.0
    """Of explanations and whole answers."""
    work_s: float = 0.0
    """Seconds for which the accelerator was booked."""
    saturated_s: float = 0.0
    """Seconds in which at least ``saturating_prompts`` prompts were in work."""
    deaths: int = 0
    """Times that a marked post met the fault ``die`` or ``kill``."""


class Counter:
    """Counts, and appends a line of JSON with the time and the sums to a file, twenty times a second at most.

    Args:
        saturating: Prompts in work that saturate the engine.
        path: The file; without one nothing is written.
    """

    def __init__(self, saturating: int, path: Path | None = None) -> None:
        self.counts = FakeCounts()
        self._saturating = saturating
        self._path = path
        self._in_work = 0
        self._since = time.monotonic()
        self._told = float("-inf")

    @contextmanager
    def work(self, prompts: int) -> Iterator[None]:
        """Count prompts as in work for the length of the block."""
        self._shift(prompts)
        try:
            yield
        finally:
            self._shift(-prompts)

    def died(self) -> None:
        """Count a death, and tell it at once: nothing may follow."""
        self.counts.deaths += 1
        self._tell(time.monotonic())

    def _shift(self, by: int) -> None:
        now = time.monotonic()
        if self._in_work >= self._saturating:
            self.counts.saturated_s += now - self._since
        self._since = now
        self._in_work += by
        if now - self._told >= _EVERY_S:
            self._tell(now)

    def _tell(self, now: float) -> None:
        if self._path is not None:
            self._told = now
            line = orjson.dumps({"at_s": time.time()} | asdict(self.counts), option=orjson.OPT_APPEND_NEWLINE)
            with self._path.open("ab") as file:
                file.write(line)


_SAFE_SHARE, _CONTROVERSIAL_SHARE = 0.85, 0.08  # a plausible stream; the rest is unsafe
_RULE_CONFIDENCE = 0.97


def fake_prompter(profile: FakeProfile | None = None) -> Prompter:
    """The prompter that goes with the fake engine: bytes as tokens, compact layout."""
    limit = (profile or FakeProfile()).max_prompt_tokens
    return Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=limit)


class FakeEngine:
    """Judges by a stable hash of the post's own tokens, in the time its profile gives.

    Equal posts get equal scores, in every process and on every machine. ``faults`` may be
    changed while the engine runs.

    Args:
        profile: Speed, rules and limits.
        faults: What fails; kept by reference.
        tokenizer: Decodes a post for rules and markers; must be the one that made the prompts.
        adapter: Name of the adapter that it stands for.
    """

    lives: ClassVar[int] = 0
    """Deaths in this process, whose end all of its engines share."""

    def __init__(
        self,
        profile: FakeProfile | None = None,
        *,
        faults: Faults | None = None,
        tokenizer: TextTokenizer | None = None,
        adapter: str | None = None,
    ) -> None:
        self.profile = profile or FakeProfile()
        self.faults = faults or Faults()
        self._tokenizer = tokenizer or ByteTokenizer()
        self._accelerator = Accelerator(self.profile.cache_block)
        self._calls = asyncio.Semaphore(self.profile.concurrent_calls)
        self._counter = Counter(self.profile.saturating_prompts, self.profile.counts_file)
        self._file = FaultsFile(self.profile.faults_file) if self.profile.faults_file else None
        seed = [self.profile.seed] if self.profile.seed else []
        form = orjson.dumps(["fake-1", list(self.profile.rules.items()), *seed])
        self.info = EngineInfo(
            digest=f"sha256:{hashlib.sha256(form).hexdigest()}",
            backend="fake",
            model="fake",
            layout_digest=CompactLayout().digest,
            max_prompt_tokens=self.profile.max_prompt_tokens,
            saturating_prompts=self.profile.saturating_prompts,
            adapter=adapter,
            continuous=self.profile.in_flight_batching,
        )

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        """Score prompts; see :class:`~sluicegate.engines.protocol.Engine`."""
        return await self.generate(prompts, tokens=0, timeout_s=timeout_s)

    async def generate(
        self, prompts: Sequence[Prompt], *, tokens: int, timeout_s: float
    ) -> list[Scored | ItemFailure]:
        """Score prompts and go on for this many tokens: the time of a server that writes whole answers.

        Not of the protocol: what such a server costs is measured with it.
        """
        cached = self._accelerator.cached_tokens(prompts)
        of_prompts = sum(len(prompt.token_ids) for prompt in prompts)
        work = self.profile.work(computed=of_prompts - sum(cached), prompts=len(prompts), tokens=tokens)
        counts, size = self.counts, self.profile.bytes_per_token
        counts.prompts += len(prompts)
        counts.prompt_tokens += of_prompts / size
        counts.cached_tokens += sum(cached) / size
        counts.generated_tokens += tokens * len(prompts)
        outcomes = await self._call(prompts, work, timeout_s, scoring=True)
        scored = [
            outcome or self._scored(prompt, tokens)
            for prompt, tokens, outcome in zip(prompts, cached, outcomes, strict=True)
        ]
        return scored[self._left_out(prompts) :]

    async def explain(
        self,
        prompts: Sequence[Prompt],
        severities: Sequence[Severity],
        *,
        timeout_s: float,
        texts: Sequence[bool] | None = None,
    ) -> list[Explanation | ItemFailure]:
        """Explain prompts; see :class:`~sluicegate.engines.protocol.Engine`."""
        written = [True] * len(prompts) if texts is None else texts
        again = self.profile.explanation_prompt_tokens * len(prompts)
        work = self.profile.explaining(len(prompts), texts=sum(written))
        self.counts.prompt_tokens += again
        self.counts.explained += len(prompts)
        self.counts.generated_tokens += generated_tokens(len(prompts), texts=sum(written))
        outcomes = await self._call(prompts, work, timeout_s, scoring=False)
        explained = [
            outcome or _explanation(prompt, severity, self.profile.seed, text=text)
            for prompt, severity, text, outcome in zip(prompts, severities, written, outcomes, strict=True)
        ]
        return explained[self._left_out(prompts) :]

    @property
    def counts(self) -> FakeCounts:
        """What it has done so far, by its own count."""
        return self._counter.counts

    async def health(self) -> Health:
        """Unhealthy while ``die`` or ``hang`` affects every post."""
        faults = self._faults_now()
        for name in ("die", "hang"):
            fault: Fault | None = getattr(faults, name)
            if fault and fault.marker is None:
                return Health(ok=False, detail=f"fault switched on: {name}")
        return Health(ok=True)

    async def generation(self) -> Generation | None:
        """A life for each time that a marked post met the fault ``die``; this worker's alone."""
        return Generation(f"life {FakeEngine.lives}", exclusive=True)

    async def __aenter__(self) -> Self:
        await asyncio.sleep(self.profile.start_s)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    async def _call(
        self, prompts: Sequence[Prompt], work: Booked, timeout_s: float, *, scoring: bool
    ) -> list[ItemFailure | None]:
        """Spend a call's time; what failed: ``list[n]``, None where nothing did."""
        if not prompts:
            return []
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        posts = Texts(self._tokenizer, prompts)
        faults = self._faults_now()
        self._live(faults, posts)
        life = FakeEngine.lives
        delay_s = faults.slow.delay_s if faults.slow and posts.any_hit(faults.slow) else 0.0
        try:
            async with asyncio.timeout_at(deadline):
                with self._counter.work(len(prompts)):
                    await self._spend(work, delay_s)
        except TimeoutError:
            return [TIMED_OUT] * len(prompts)
        if posts.any_hit(faults.hang):
            await asyncio.sleep(deadline - loop.time())
        if FakeEngine.lives != life:
            raise EngineUnavailable("the fake engine died with another post")
        self._live(self._faults_now(), posts)
        if not faults.model_fields_set:  # nothing was ever switched
            return [self._too_long(prompt) for prompt in prompts]
        return [
            self._too_long(prompt) or failure_of(faults, posts, index, scoring=scoring)
            for index, prompt in enumerate(prompts)
        ]

    def _live(self, faults: Faults, posts: Texts) -> None:
        """Die if told to, with all that is in work; the fault ``kill`` takes this process with it.

        Raises:
            EngineUnavailable: It died.
        """
        if posts.any_hit(faults.kill):
            self._counter.died()
            os.kill(os.getpid(), signal.SIGKILL)
        if posts.any_hit(faults.die):
            if (
                faults.die and faults.die.marker is not None
            ):  # without one it is switched off, and did not crash
                FakeEngine.lives += 1
                self._counter.died()
            raise EngineUnavailable("the fake engine is switched off by its fault die")

    async def _spend(self, work: Booked, delay_s: float) -> None:
        async with self._calls:
            now = asyncio.get_running_loop().time()
            done = self._accelerator.book(now, work.booked_s, work.least_s)
            self.counts.work_s += work.booked_s
            await asyncio.sleep(done - now + self.profile.call_overhead_s + delay_s)

    def _left_out(self, prompts: Sequence[Prompt]) -> int:
        """How many answers the fault ``miscount`` takes away."""
        return int(Texts(self._tokenizer, prompts).any_hit(self._faults_now().miscount))

    def _faults_now(self) -> Faults:
        return (self._file.read() if self._file else None) or self.faults

    def _too_long(self, prompt: Prompt) -> ItemFailure | None:
        length, limit = len(prompt.token_ids), self.profile.max_prompt_tokens
        if length <= limit:
            return None
        return ItemFailure(FailureCode.TOO_LONG, f"{length} prompt tokens; the limit is {limit}")

    def _scored(self, prompt: Prompt, cached_tokens: int) -> Scored:
        severity, confidence = self._rule(prompt) or _hashed(prompt, self.profile.seed)
        other = (1 - confidence) / 2
        weights = {"safe": other, "controversial": other, "unsafe": other, severity: confidence}
        return Scored(Scores(**weights), 1.0, cached_tokens=cached_tokens)

    def _rule(self, prompt: Prompt) -> tuple[Severity, float] | None:
        if not self.profile.rules:
            return None
        text = text_of(self._tokenizer, prompt)
        severity = next((found for part, found in self.profile.rules.items() if part in text), None)
        return severity and (severity, _RULE_CONFIDENCE)


def _draws(prompt: Prompt, seed: int) -> tuple[float, float]:
    """Two numbers in [0, 1) from the post's own tokens and the seed, the same ones everywhere."""
    content = array("I", prompt.token_ids[slice(*prompt.content)])
    if sys.byteorder == "big":
        content.byteswap()
    salt = (seed % 2**64).to_bytes(8, "little")  # zeros are no salt
    digest = hashlib.blake2b(content.tobytes(), digest_size=8, salt=salt).digest()
    first, second = struct.unpack("<LL", digest)
    return first / 2**32, second / 2**32


def _hashed(prompt: Prompt, seed: int) -> tuple[Severity, float]:
    draw, sureness = _draws(prompt, seed)
    confidence = 0.7 + 0.29 * sureness  # some near a threshold, most far from it
    if draw < _SAFE_SHARE:
        return "safe", confidence
    return ("controversial" if draw < _SAFE_SHARE + _CONTROVERSIAL_SHARE else "unsafe"), confidence


def _explanation(prompt: Prompt, severity: Severity, seed: int, *, text: bool) -> Explanation | ItemFailure:
    """One category unless safe, and in a text on a response whether the LLM refused."""
    names = [name for name in CATEGORIES if prompt.kind != "response" or name != PROMPT_ONLY]
    draw, second = _draws(prompt, seed)
    chosen = NO_CATEGORY if severity == "safe" else names[int(second * len(names))]
    refusal = f"\nRefusal: {'Yes' if draw < 0.5 else 'No'}" if prompt.kind == "response" else ""
    explanation = parse_explanation(f"\nCategories: {chosen}{refusal}", prompt.kind, CATEGORIES)
    if isinstance(explanation, ItemFailure):
        return explanation
    scores = dict.fromkeys([*names, NO_CATEGORY], 0.1 / len(names)) | {chosen: 0.9}
    if not text:
        return Explanation(explanation.categories, scores, by="category")
    return replace(explanation, category_scores=scores)
