"""Looks at what judges: bundle, engine and policy. The engine is started, and asked for one token and one explanation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

from sluicegate.engines.backends import open_backends
from sluicegate.engines.bundle import Bundle
from sluicegate.engines.cpu_model import cpu_bundle_path
from sluicegate.engines.errors import EngineError
from sluicegate.engines.label_mass import LEAST_LABEL_MASS
from sluicegate.engines.protocol import ItemFailure, Prompt, Scored
from sluicegate.engines.text.prompting import Prompter
from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.flow.engine_choice import engine_choice
from sluicegate.pipeline.flow.screening import open_screen
from sluicegate.pipeline.kafka.check.result import Result, fault, ok, unknown
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.adapters import require_adapters
from sluicegate.pipeline.settings.tree import EngineSettings, PolicySettings, ScreenSettings, variable
from sluicegate.schemas import FailureCode, Post

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


_SEE_ADAPTERS = "sluicegate settings docs  # the section engine.adapters"


def bundle_result(engine: EngineSettings, adapter: str | None = None) -> Result:
    """Read every file of a bundle, and compare its digest with the pin. Blocking, seconds for large ones.

    Args:
        engine: Which one.
        adapter: One of its adapters; None is the engine's own bundle.
    """
    subject = _of("bundle", adapter)
    if engine.backend == "fake":
        return ok(subject, "the fake engine has none")
    try:
        choice = engine_choice(engine, adapter)
    except PipelineError as error:
        return fault(subject, str(error), _SEE_ADAPTERS)
    path = choice.bundle or cpu_bundle_path()
    fetch = "sluicegate engine fetch-cpu"
    if choice.bundle is None and not path.exists():
        return fault(subject, "the CPU model is not there", fetch)
    try:
        bundle = Bundle.open(path)
    except EngineError as error:
        return fault(subject, str(error), fetch if choice.bundle is None else _verify(path))
    return _pinned(subject, bundle, choice.pinned_digest, _of("engine.digest", adapter))


def _pinned(subject: str, bundle: Bundle, pin: str | None, setting: str) -> Result:
    """A sound bundle beside the pin that the settings have for it."""
    name, right = bundle.manifest.name, f"export {variable(*setting.split('.'))}={bundle.digest}"
    if pin is None:
        return ok(subject, f"{name}: every file is as its manifest says; not pinned (to pin it: {right})")
    if pin != bundle.digest:
        return fault(
            subject,
            f"its digest is {bundle.digest}, {setting} pins {pin}",
            f"{right}  # if {quote(str(bundle.path))} is the bundle you mean",
        )
    return ok(subject, f"{name}: every file is as its manifest says, and it is the pinned one")


async def engine_result(engine: EngineSettings, bundle: Result, adapter: str | None = None) -> Result:
    """Start an engine, have it score one post and explain one prompt of full length, stop it again.

    Args:
        engine: Which one.
        bundle: What was found about its bundle: with a broken one nothing is started.
        adapter: One of its adapters; None is the engine's own.
    """
    subject = _of("engine", adapter)
    if bundle.state == "fault":
        return unknown(subject, "not started, for want of its bundle")
    began = time.monotonic()
    try:
        tried = await _try_out(engine, adapter)
    except (EngineError, PipelineError) as error:
        tried = str(error)
    if isinstance(tried, str):
        return fault(subject, f"{engine.backend}: {tried}", _engine_fix(engine, adapter))
    mass = tried.scored.label_mass
    if mass < LEAST_LABEL_MASS:
        return fault(
            subject,
            f"{engine.backend}: it gave the three labels only {mass:.0%} of the probability; "
            "it runs a model that never learnt them, or another model than the bundle's",
            _engine_fix(engine, adapter),
        )
    if tried.unexplained is not None:
        return fault(
            subject,
            f"{engine.backend}: a prompt of {tried.longest_tokens} tokens, the longest there may be, got no explanation "
            f"({tried.unexplained.code.value}): such posts get the severest bar of their policy, or the failure mode",
            _explain_fix(engine, adapter, tried),
        )
    return ok(
        subject,
        f"{engine.backend}: started, scored a post and explained a prompt of {tried.longest_tokens} tokens "
        f"in {time.monotonic() - began:.1f} s",
    )


@dataclass(frozen=True, slots=True)
class _Tried:
    """What an engine made of two prompts of ours."""

    scored: Scored
    longest_tokens: int
    unexplained: ItemFailure | None


async def _try_out(engine: EngineSettings, adapter: str | None) -> _Tried | str:
    """What a plain post scores and whether a long one is explained, or why nothing is scored."""
    choices = {name: engine_choice(engine, name) for name in (None, adapter)}
    backend = open_backends(choices)[adapter]
    prompt = backend.prompter.build(Post(id="check", text="Hello"))
    if isinstance(prompt, ItemFailure):
        return f"a plain post makes no prompt: {prompt.code.value}"
    async with backend.engine as running:
        health = await running.health()
        if not health.ok:
            return health.detail or "it does not answer"
        (scored,) = await running.score([prompt], timeout_s=engine.score_timeout_s)
        if isinstance(scored, ItemFailure):
            return f"a plain post gave {scored.code.value}"
        longest = longest_prompt(backend.prompter)
        (explained,) = await running.explain([longest], ["unsafe"], timeout_s=engine.explain_timeout_s)
    unexplained = explained if isinstance(explained, ItemFailure) else None
    return _Tried(scored, len(longest.token_ids), unexplained)


def longest_prompt(prompter: Prompter) -> Prompt:
    """A prompt as long as one may be, to within a word: a server's context must have room for the answer behind it.

    Args:
        prompter: One that a plain post fits.

    Raises:
        ValueError: It takes not even that.
    """

    def built(words: int) -> Prompt | ItemFailure:
        return prompter.build(Post(id="check", text="Hello " * words))

    fits, too_many = 1, prompter.max_prompt_tokens + 1  # no word is less than a token
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        fits, too_many = (middle, too_many) if isinstance(built(middle), Prompt) else (fits, middle)
    found = built(fits)
    if isinstance(found, ItemFailure):
        raise ValueError("a plain post makes no prompt")  # noqa: TRY004 - it is a value
    return found


def screen_result(screen: ScreenSettings) -> Result:
    """Load the screen and have it look at one post."""
    try:
        found = open_screen(screen)
    except (EngineError, PipelineError) as error:
        return fault("screen", str(error), "sluicegate settings docs  # the section screen")
    if found is None:
        return ok("screen", "there is none")
    found.answers([Post(id="check", text="Hello", language="en")])  # without a language it reads nothing
    right = f"export {variable('screen', 'digest')}={found.digest}"
    return ok(
        "screen", "loaded, the pinned one" if screen.digest else f"loaded; not pinned (to pin it: {right})"
    )


def policy_result(policy: PolicySettings, adapters: Collection[str] | None = ()) -> Result:
    """Read the policy; it may name no adapter but these. None for who asks no engine."""
    try:
        loaded = Policy.load(policy.path)
        if adapters is not None:
            require_adapters(loaded, adapters, str(policy.path))
    except PipelineError as error:
        return fault("policy", str(error), f"sluicegate policy check {quote(str(policy.path))}")
    where = policy.path or "built in"
    return ok("policy", f"{loaded.name} {loaded.version} ({where}), digest {loaded.digest}")


def _verify(path: Path) -> str:
    return f"sluicegate engine verify {quote(str(path))}  # after fetching or making it again"


def _of(name: str, adapter: str | None) -> str:
    """``bundle`` of the engine's own; ``adapters.teens.bundle`` of an adapter; ``engine.`` stays in front."""
    if adapter is None:
        return name
    if name == "engine":
        return f"adapters.{adapter}"
    section, _, last = name.rpartition(".")
    return f"{section}.adapters.{adapter}.{last}".removeprefix(".")


def _engine_fix(engine: EngineSettings, adapter: str | None) -> str:
    if engine.backend == "completions":
        url = (engine.adapters[adapter].url if adapter is not None else None) or engine.url
        return f"curl -sS {quote(f'{url}/v1/models')}  # must answer; else start the server, or set SLUICEGATE_ENGINE__URL"
    if engine.backend == "llama_cpp":
        return "pip install 'sluicegate[cpu]' && sluicegate engine fetch-cpu"
    if engine.backend == "tensorrt_llm":
        return "export SLUICEGATE_ENGINE__BACKEND=completions SLUICEGATE_ENGINE__DIALECT=trtllm"
    return "unset SLUICEGATE_ENGINE__FAKE_PROFILE  # or correct that file: docs/testing.md"


def _explain_fix(engine: EngineSettings, adapter: str | None, tried: _Tried) -> str:
    if tried.unexplained is not None and tried.unexplained.code is FailureCode.TIMED_OUT:
        longer = f"{variable('engine', 'explain_timeout_s')}={2 * engine.explain_timeout_s:g}"
        return f"export {longer}  # if the engine is well, and slow"
    return (
        f"{_engine_fix(engine, adapter)}; its context must hold {tried.longest_tokens} tokens and the answer"
    )
