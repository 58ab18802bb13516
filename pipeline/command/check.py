"""``sluicegate check``: what is missing, and the command that fixes it."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from sluicegate.engines.backends import open_backends
from sluicegate.engines.bundle import Bundle
from sluicegate.engines.cpu_model import SMALL, named_model
from sluicegate.engines.errors import EngineError
from sluicegate.engines.protocol import LEAST_LABEL_MASS, ItemFailure, Prompt, Scored
from sluicegate.engines.text.prompting import Prompter
from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.errors import PipelineError, SettingsError
from sluicegate.pipeline.flow.screening import open_screen
from sluicegate.pipeline.kafka.check import Result, fault, ok, unknown
from sluicegate.pipeline.kafka.topics import plan_of_desk
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.checks import require_adapters, require_digests, require_engines
from sluicegate.pipeline.settings.engine_choice import engine_choice, engine_choices
from sluicegate.pipeline.settings.tree import (
    EngineSettings,
    PolicySettings,
    ScreenSettings,
    Settings,
    variable,
)
from sluicegate.pipeline.text import neutral, neutral_json
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
    try:
        model = named_model(None if choice.bundle else choice.model)
    except EngineError as error:
        return fault(subject, str(error), f"export {variable('engine', 'model')}={SMALL.name}")
    path = choice.bundle or model.bundle_path()
    fetch = model.fetch_command
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


def screen_result(screen: ScreenSettings, engine: EngineSettings) -> Result:
    """Load the screen.

    Args:
        screen: Which one.
        engine: Serves its guard, which is checked as every adapter is.
    """
    try:
        backends = open_backends(engine_choices(engine)) if screen.guard is not None else {}
        found = open_screen(screen, backends)
    except (EngineError, PipelineError) as error:
        return fault("screen", str(error), "sluicegate settings docs  # the section screen")
    if found is None:
        return ok("screen", "there is none")
    right = f"export {variable('screen', 'digest')}={found.digest}"
    return ok(
        "screen", "loaded, the pinned one" if screen.digest else f"loaded; not pinned (to pin it: {right})"
    )


def policy_result(
    policy: PolicySettings,
    adapters: Collection[str] = (),
    engine: EngineSettings | None = None,
    guard: str | None = None,
) -> Result:
    """Read the policy, and see whether a worker would take it.

    Args:
        policy: Where it is.
        adapters: It may name no other.
        engine: It must be for these engines. None to leave that open.
        guard: The adapter that is the small guard: it answers nothing under a policy that is for others.
    """
    try:
        loaded = Policy.load(policy.path)
        require_adapters(loaded, adapters, str(policy.path))
        if engine is not None and loaded.engines:
            digests = _digests(engine)
            require_engines(loaded, digests, str(policy.path))
            if guard is not None and guard in digests:
                require_digests(loaded, {digests[guard]: f"the small guard `{guard}`"}, str(policy.path))
    except PipelineError as error:
        return fault("policy", str(error), f"sluicegate policy check {quote(str(policy.path))}")
    where = policy.path or "built in"
    return ok("policy", f"{loaded.name} {loaded.version} ({where}), digest {loaded.digest}")


_SEE_REVIEW = "sluicegate settings docs  # the section review"
_MIGRATE = "sluicegate review migrate  # `sluicegate review serve` does it, too, when it starts"


def store_result(settings: Settings) -> Result:
    """Open the store of a review desk, and see that its shape and the desk's key fit. It changes nothing."""
    try:
        from sluicegate.pipeline.review.desk import ReviewDesk  # noqa: PLC0415 - libraries of an extra
    except ModuleNotFoundError as error:
        return fault("store", f"the review desk needs {error.name}", "pip install 'sluicegate[review]'")
    try:
        desk = ReviewDesk(settings)
        try:
            shape = desk.store.shape()
            if shape == "today":
                with desk.store.reading() as connection:
                    desk.vault.require_key(connection)
        finally:
            desk.store.close()
    except PipelineError as error:
        return fault("store", str(error), _SEE_REVIEW)
    newer = "pip install --upgrade 'sluicegate[review]'  # or restore the store from a backup of before"
    return {
        "none": ok("store", f"it can be opened, and has no tables yet (to make them: {_MIGRATE})"),
        "older": fault("store", "it has the shape of an older version", _MIGRATE),
        "unknown": fault("store", "it has the shape of another version", newer),
        "today": ok("store", "it answers, has the shape of this version, and was made with this review.key"),
    }[shape]


def _digests(engine: EngineSettings) -> dict[str | None, str]:
    """Digest of each engine by adapter; none where they cannot be opened, which was told before."""
    try:
        opened = open_backends(engine_choices(engine))
    except (EngineError, PipelineError):
        return {}
    return {adapter: backend.engine.info.digest for adapter, backend in opened.items()}


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
        return "export SLUICEGATE_ENGINE__BACKEND=completions SLUICEGATE_ENGINE__DIALECT=trtllm_chat"
    return "unset SLUICEGATE_ENGINE__FAKE_PROFILE  # or correct that file: docs/client.md"


def _explain_fix(engine: EngineSettings, adapter: str | None, tried: _Tried) -> str:
    if tried.unexplained is not None and tried.unexplained.code is FailureCode.TIMED_OUT:
        longer = f"{variable('engine', 'explain_timeout_s')}={2 * engine.explain_timeout_s:g}"
        return f"export {longer}  # if the engine is well, and slow"
    return (
        f"{_engine_fix(engine, adapter)}; its context must hold {tried.longest_tokens} tokens and the answer"
    )


_MARKS = {"ok": ("ok", typer.colors.GREEN), "fault": ("FAULT", typer.colors.RED), "unknown": ("-", None)}
_DETAIL_CHARACTERS = 500


Review = Annotated[
    bool,
    typer.Option("--review", help="Look at what a review desk needs instead: its topics, rights and store."),
]


def check(review: Review = False, as_json: AsJson = False, settings: SettingsFile = None) -> None:
    """Look at all that a worker needs, and name for each fault the command that fixes it.

    Settings, broker, topics, rights, group, clocks, bundle, engine, screen, policy. Writes nothing and
    joins no group. Starts the engine to have one post scored. Exit code 1 if anything is wrong.

    With --review: settings, broker, topics, rights, clocks and store of a review desk.

    Example: sluicegate check --json
    """
    results = _results(settings, review=review)
    faults = sum(result.state == "fault" for result in results)
    if as_json:
        document = {"ok": not faults, "results": [asdict(result) for result in results]}
        text = orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()
        typer.echo("\n".join(map(neutral_json, text.split("\n"))))
    else:
        for result in results:
            _show(result)
        typer.echo(_sum(results))
    if faults:
        raise typer.Exit(1)


def _results(path: Path | None, *, review: bool) -> list[Result]:
    from sluicegate.pipeline.command.check import (  # noqa: PLC0415 - the same
        bundle_result,
        engine_result,
        policy_result,
        screen_result,
    )
    from sluicegate.pipeline.kafka.check import (  # noqa: PLC0415 - the same
        cluster_results,
        fault,
        ok,
        probe_cluster,
    )
    from sluicegate.pipeline.observe.logs import configure_logs  # noqa: PLC0415 - the same
    from sluicegate.pipeline.settings.tree import load_settings  # noqa: PLC0415 - the same

    option = f" --settings {shlex.quote(str(path))}" if path else ""
    try:
        settings = load_settings(path)
    except SettingsError as error:
        # Without settings there is nothing that could be asked.
        return [
            fault("settings", str(error), f"sluicegate settings docs  # then try: sluicegate check{option}")
        ]
    configure_logs("error")
    found = ok("settings", f"{path or 'defaults and environment'}, digest {settings.digest}")
    if review:
        facts = probe_cluster(settings, planned=plan_of_desk(settings))
        return [found, *cluster_results(settings, facts, option=option, desk=True), store_result(settings)]
    judging: list[Result] = []
    for adapter in (None, *settings.engine.adapters):
        bundle = bundle_result(settings.engine, adapter)
        judging += [bundle, asyncio.run(engine_result(settings.engine, bundle, adapter))]
    return [
        found,
        *cluster_results(settings, probe_cluster(settings), option=option),
        *judging,
        *([screen_result(settings.screen, settings.engine)] if settings.screen.path is not None else []),
        policy_result(
            settings.policy,
            settings.engine.adapters,
            settings.engine,
            settings.screen.guard,
        ),
    ]


def _sum(results: list[Result]) -> str:
    states = [result.state for result in results]
    if faults := states.count("fault"):
        return f"{faults} fault{'s'[: faults != 1]}"
    return "all is in place, as far as could be asked" if "unknown" in states else "all is in place"


def _show(result: Result) -> None:
    mark, colour = _MARKS[result.state]
    # typer drops colours where there is no terminal; a user who sets NO_COLOR wants none there either.
    shown = mark.ljust(6) if colour is None or os.environ.get("NO_COLOR") else _coloured(mark, colour)
    typer.echo(f"{shown} {result.subject:9} {neutral(result.detail, _DETAIL_CHARACTERS)}")
    if result.fix is not None:
        typer.echo(f"{'':16} fix: {neutral(result.fix, _DETAIL_CHARACTERS)}")


def _coloured(mark: str, colour: str) -> str:
    return typer.style(mark.ljust(6), fg=colour)
