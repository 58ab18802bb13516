"""Two tenants' adapters: one post, two verdicts; in a worker on the embedded broker, and with a real model."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from sluicegate.engines.backends import Backends, open_backend
from sluicegate.engines.bundle.manifest import MANIFEST, Manifest
from sluicegate.pipeline.flow.flow import Flow
from sluicegate.pipeline.flow.window import Window
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.engine_choice import engine_choice
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.schemas import Verdict
from support.adapted_bundle import with_opposed_adapters
from support.collector import account
from support.workers import Lane, until
from unit.pipeline.fakes import MemoryDelivery, MemoryOutlet, singly

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

POLICY = """
name: two-tenants
version: "1"
tenants:
  teens: {rules: {adapter: strict}}
  bank: {rules: {adapter: sober}}
"""
TEXTS = ["you are all invited", "I will find you tonight", "the sun is out again, at last"]


async def on_the_embedded_broker(folder: Path, run: Callable[[Lane], None]) -> None:
    lane = Lane("", folder)
    async with EmbeddedBroker(lane.topics) as broker:
        lane.bootstrap = broker.address
        try:
            await asyncio.to_thread(run, lane)
        finally:
            await asyncio.to_thread(lane.close)


def verdicts(lane: Lane) -> list[Verdict]:
    return [Verdict.model_validate(record.body, strict=False) for record in lane.read()]


async def test_two_fake_adapters_and_a_policy_that_names_a_third(tmp_path: Path) -> None:
    def run(lane: Lane) -> None:
        settings = lane.set_policy(POLICY) | {
            "engine.adapters.plain.fake_profile": str(tmp_path / "fake.json")
        }
        for name, rules in {"strict": {"": "unsafe"}, "sober": {"": "safe"}}.items():
            profile = tmp_path / f"{name}.json"
            profile.write_text(json.dumps({"rules": rules}))
            settings[f"engine.adapters.{name}.fake_profile"] = str(profile)
        worker = lane.start(settings)
        worker.wait_ready()
        sent = lane.send(
            {"id": f"{tenant}-{number}", "text": f"text {number}", "tenant": tenant}
            for number in range(50)
            for tenant in ("teens", "bank")
        )
        lane.wait_acknowledged(within_s=60)
        found = {(one.tenant, one.engine.adapter, one.severity, one.action.value) for one in verdicts(lane)}
        assert found == {("teens", "strict", "unsafe", "block"), ("bank", "sober", "safe", "allow")}
        lane.set_policy(POLICY.replace("adapter: sober", "adapter: nobody"))
        until(
            "the new policy is refused", lambda: worker.metric("sluicegate_policy_reload_failed"), within_s=30
        )
        assert "tenants.bank.rules.adapter: the settings have no adapter `nobody`" in worker.output
        sent += lane.send([{"id": "later", "text": "another text", "tenant": "bank"}])
        lane.wait_acknowledged(within_s=60)
        (later,) = [one for one in verdicts(lane) if one.post_id == "later"]
        assert later.engine.adapter == "sober"
        assert account(sent, lane.read()).lost == ()

    await on_the_embedded_broker(tmp_path, run)


@pytest.mark.parametrize(
    "bundle",
    [
        pytest.param("cpu_bundle", marks=pytest.mark.cpu_model),
        pytest.param("multilingual_guard", marks=pytest.mark.multilingual_model),
    ],
)
async def test_two_adapters_of_a_cpu_model_judge_the_same_posts_apart(
    bundle: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The same texts for two tenants, again and in turns: no adapter's cache serves another's."""
    shipped: Path = request.getfixturevalue(bundle)
    bundles = await asyncio.to_thread(
        with_opposed_adapters, shipped, tmp_path, same="sober", opposed="strict"
    )
    engine = {
        "backend": "llama_cpp",
        "slots": 1,
        "adapters": {name: {"bundle": one} for name, one in bundles.items()},
    }
    settings = load_settings(engine=engine, cache={"entries": 0}, micro_batch={"posts": 1})
    # Without the engine's own, for which nothing here asks: one process less.
    backends: Backends = {name: open_backend(engine_choice(settings.engine, name)) for name in bundles}
    instruments = Instruments.for_engine(1)
    policy, outlet = Policy.from_bytes(POLICY.encode(), "policy"), MemoryOutlet()
    window = Window(posts=100, size_bytes=2**20, clock=instruments.clock.monotonic)
    flow = Flow(settings, backends, lambda: policy, window, outlet, instruments)

    async def source() -> AsyncIterator[MemoryDelivery]:
        order = [(turn, text, tenant) for turn in range(2) for text in TEXTS for tenant in ("teens", "bank")]
        for offset, (turn, text, tenant) in enumerate(order):
            post = {"id": f"{tenant}-{turn}-{text}", "text": text, "tenant": tenant}
            yield MemoryDelivery(offset, json.dumps(post).encode())

    async with asyncio.timeout(100), AsyncExitStack() as stack:
        for backend in backends.values():
            await stack.enter_async_context(backend.engine)
        await flow.run(singly(source()))

    for text in TEXTS:
        of = {
            tenant: [outlet.verdict(f"{tenant}-{turn}-{text}") for turn in range(2)]
            for tenant in ("teens", "bank")
        }
        for tenant, name in (("teens", "strict"), ("bank", "sober")):
            digest = Manifest.parse((bundles[name] / MANIFEST).read_bytes()).digest
            assert {(one.engine.adapter, one.engine.digest) for one in of[tenant]} == {(name, digest)}
        unsafe = {tenant: [one.scores.unsafe for one in found if one.scores] for tenant, found in of.items()}
        # Scores move by up to 0.03 with the company of other prompts; another adapter's cache moves them by far more.
        assert all(abs(first - second) < 0.1 for first, second in unsafe.values())
        assert min(unsafe["teens"]) - max(unsafe["bank"]) > 0.3
        assert {one.severity for one in of["teens"]}.isdisjoint({one.severity for one in of["bank"]})
