"""A post that is blocked is not allowed for what is written after it: on the real CPU model, through the whole flow."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.backends import open_backend
from sluicegate.engines.protocol import LEAST_LABEL_MASS, Prompt, Scored
from sluicegate.pipeline.flow.flow import Flow
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.engine_choice import engine_choice
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.schemas import Action, FailureCode, Post
from unit.pipeline.fakes import MemoryDelivery, MemoryOutlet, singly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = [pytest.mark.cpu_model, pytest.mark.timeout(600)]

SAMPLE = Path(__file__).parents[2] / "benchmarks" / "samples" / "dev-sample.jsonl"
BLOCKED = "davidson:4248"
DILUTION = " " + "the " * 1200
WITHIN_S = 200.0
"""For 1,252 tokens on a machine that is busy with other tests."""


def blocked_text() -> str:
    """A row of the sample that the shipped adapter is sure of."""
    rows = map(json.loads, SAMPLE.read_bytes().splitlines())
    return next(str(row["text"]) for row in rows if row["id"] == BLOCKED)


async def test_a_blocked_post_with_a_long_tail_of_nothing_is_for_people_and_not_allowed(
    cpu_bundle: Path,
) -> None:
    engine = {"backend": "llama_cpp", "bundle": str(cpu_bundle), "slots": 1, "score_timeout_s": WITHIN_S}
    settings = load_settings(engine=engine)
    # The passage that is judged apart would be blocked: here the whole text alone is what has to be distrusted.
    backend = replace(open_backend(engine_choice(settings.engine, None)), passages=None)
    instruments = Instruments.for_engine(1)
    policy, outlet = Policy.load(None), MemoryOutlet()
    window = Window(posts=100, size_bytes=2**20, clock=instruments.clock.monotonic)
    flow = Flow(settings, {None: backend}, lambda: policy, window, outlet, instruments)
    texts = {"plain": blocked_text(), "diluted": blocked_text() + DILUTION}

    async def source() -> AsyncIterator[MemoryDelivery]:
        for offset, (name, text) in enumerate(texts.items()):
            yield MemoryDelivery(offset, json.dumps({"id": name, "text": text}).encode())

    async with asyncio.timeout(2 * WITHIN_S), backend.engine as running:
        await flow.run(singly(source()))
        prompt = backend.prompter.build(Post(id="diluted", text=texts["diluted"]))
        assert isinstance(prompt, Prompt)
        (found,) = await running.score([prompt], timeout_s=WITHIN_S)

    assert outlet.verdict("plain").action is Action.BLOCK
    # What the three labels hold among themselves would be a confident allow: only their mass tells.
    assert isinstance(found, Scored)
    assert found.scores.safe > 0.9
    assert found.label_mass < LEAST_LABEL_MASS / 10
    diluted = outlet.verdict("diluted")
    assert diluted.failure is not None
    assert diluted.failure.code is FailureCode.LABELS_MISSING
    assert diluted.action is Action.REVIEW


async def test_the_passage_of_a_diluted_post_is_blocked_as_the_post_alone_is(cpu_bundle: Path) -> None:
    engine = {"backend": "llama_cpp", "bundle": str(cpu_bundle), "slots": 1, "score_timeout_s": WITHIN_S}
    settings = load_settings(engine=engine)
    backend = open_backend(engine_choice(settings.engine, None))
    instruments = Instruments.for_engine(1)
    policy, outlet = Policy.load(None), MemoryOutlet()
    window = Window(posts=100, size_bytes=2**20, clock=instruments.clock.monotonic)
    flow = Flow(settings, {None: backend}, lambda: policy, window, outlet, instruments)
    text = DILUTION + blocked_text() + DILUTION

    async def source() -> AsyncIterator[MemoryDelivery]:
        yield MemoryDelivery(0, json.dumps({"id": "diluted", "text": text}).encode())

    async with asyncio.timeout(2 * WITHIN_S), backend.engine:
        await flow.run(singly(source()))
    verdict = outlet.verdict("diluted")
    assert verdict.action is Action.BLOCK
    assert verdict.failure is None
    assert text[verdict.segments.start : verdict.segments.end] == blocked_text().strip()
