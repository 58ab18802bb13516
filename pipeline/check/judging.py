"""Looks at what judges: bundle, engine and policy. The engine is started and asked for one token."""

from __future__ import annotations

import time
from shlex import quote
from typing import TYPE_CHECKING

from sluicegate.engines.backends import open_backend
from sluicegate.engines.bundle import Bundle
from sluicegate.engines.cpu_model import cpu_bundle_path
from sluicegate.engines.errors import EngineError
from sluicegate.engines.protocol import ItemFailure
from sluicegate.pipeline.check.result import fault, ok, unknown
from sluicegate.pipeline.engine_choice import engine_choice
from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.judge import LEAST_LABEL_MASS
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.protocol import Scored
    from sluicegate.pipeline.check.result import Result
    from sluicegate.pipeline.settings import EngineSettings, PolicySettings


def bundle_result(engine: EngineSettings) -> Result:
    """Read every file of the bundle, and compare its digest with the pin. Blocking, seconds for large ones."""
    if engine.backend == "fake":
        return ok("bundle", "the fake engine has none")
    path = engine.bundle or cpu_bundle_path()
    if engine.bundle is None and not path.exists():
        return fault("bundle", "the CPU model is not there", "sluicegate engine fetch-cpu")
    try:
        bundle = Bundle.open(path)
    except EngineError as error:
        again = "sluicegate engine fetch-cpu" if engine.bundle is None else _verify(path)
        return fault("bundle", str(error), again)
    if engine.digest is None:
        pin = f"to pin it: export SLUICEGATE_ENGINE__DIGEST={bundle.digest}"
        return ok("bundle", f"{bundle.manifest.name}: every file is as its manifest says; not pinned ({pin})")
    if engine.digest != bundle.digest:
        return fault(
            "bundle",
            f"its digest is {bundle.digest}, engine.digest pins {engine.digest}",
            f"export SLUICEGATE_ENGINE__DIGEST={bundle.digest}  # if {quote(str(path))} is the bundle you mean",
        )
    return ok(
        "bundle", f"{bundle.manifest.name}: every file is as its manifest says, and it is the pinned one"
    )


async def engine_result(engine: EngineSettings, bundle: Result) -> Result:
    """Start the engine, have it score one post, stop it again.

    Args:
        engine: Which one.
        bundle: What was found about its bundle: with a broken one nothing is started.
    """
    if bundle.state == "fault":
        return unknown("engine", "not started, for want of its bundle")
    began = time.monotonic()
    try:
        scored = await _score_one(engine)
    except (EngineError, PipelineError) as error:
        scored = str(error)
    if isinstance(scored, str):
        return fault("engine", f"{engine.backend}: {scored}", _engine_fix(engine))
    mass = scored.label_mass
    if mass is not None and mass < LEAST_LABEL_MASS and engine.backend == "completions":
        return fault(
            "engine",
            f"{engine.backend}: it gave the three labels only {mass:.0%} of the probability: "
            "the server serves another model than the bundle's",
            _engine_fix(engine),
        )
    return ok("engine", f"{engine.backend}: started and scored a post in {time.monotonic() - began:.1f} s")


async def _score_one(engine: EngineSettings) -> Scored | str:
    """What a plain post scores, or why it does not."""
    backend = open_backend(engine_choice(engine))
    prompt = backend.prompter.build(Post(id="check", text="Hello"))
    if isinstance(prompt, ItemFailure):
        return f"a plain post makes no prompt: {prompt.code.value}"
    async with backend.engine as running:
        health = await running.health()
        if not health.ok:
            return health.detail or "it does not answer"
        (scored,) = await running.score([prompt], timeout_s=engine.score_timeout_s)
    return f"a plain post gave {scored.code.value}" if isinstance(scored, ItemFailure) else scored


def policy_result(policy: PolicySettings) -> Result:
    """Read the policy."""
    try:
        loaded = Policy.load(policy.path)
    except PipelineError as error:
        return fault("policy", str(error), f"sluicegate policy check {quote(str(policy.path))}")
    where = policy.path or "built in"
    return ok("policy", f"{loaded.name} {loaded.version} ({where}), digest {loaded.digest}")


def _verify(path: Path) -> str:
    return f"sluicegate engine verify {quote(str(path))}  # after fetching or making it again"


def _engine_fix(engine: EngineSettings) -> str:
    if engine.backend == "completions":
        return f"curl -sS {quote(f'{engine.url}/v1/models')}  # must answer; else start the server, or set SLUICEGATE_ENGINE__URL"
    if engine.backend == "llama_cpp":
        return "pip install 'sluicegate[cpu]' && sluicegate engine fetch-cpu"
    if engine.backend == "tensorrt_llm":
        return "export SLUICEGATE_ENGINE__BACKEND=completions SLUICEGATE_ENGINE__DIALECT=trtllm"
    return "unset SLUICEGATE_ENGINE__FAKE_PROFILE  # or correct that file: docs/fake-engine.md"
