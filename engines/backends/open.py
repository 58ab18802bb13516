"""Opening: the backend that is chosen by name. Importing this loads no engine; :func:`open_backend` loads the chosen one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from sluicegate.engines.backends.dialects import Lora, ServedModel, Vocabulary, make_dialect
from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.engines.bundle import MANIFEST, Bundle, Calibration, Manifest
from sluicegate.engines.errors import BundleError, EngineError, EngineSetupError
from sluicegate.engines.protocol import Engine, EngineInfo, Prompt
from sluicegate.engines.text.prompting import PassageFinder, Prompter
from sluicegate.schemas import CATEGORIES, Post

if TYPE_CHECKING:
    from pathlib import Path


BackendName = Literal["fake", "completions", "llama_cpp", "tensorrt_llm"]

_CONCURRENCY, _CONCURRENCY_MOST = 8, 4096
"""In flight before a server of which nothing is known, and before any."""

_COMPLETION_TOKENS = 64
"""Room in a slot beside the prompt: forced label and head, and the explanation."""

_KEPT_MIB = 16
"""For each slot, since a prompt is explained after those beside it are scored. Of 80 tokens of an explained prompt 69
came from the cache so, and 25 without it: a tenth of the server's CPU time (40 short posts, 4 slots)."""


_PROBE = (
    "Hello, and welcome to our garden club. We meet on Sundays at ten, rain or shine; bring a cup for tea."
)
"""Long enough that a chat server which passes over the tokens, and renders a template around a word of its own, does not
come to as many by chance: by their number :class:`~sluicegate.engines.backends.dialects.TrtllmChatDialect` tells it."""


@dataclass(frozen=True)
class EngineChoice:
    """Which engine, and how. What a backend does not use is ignored."""

    backend: BackendName
    bundle: Path | None = None
    """Folder of the engine bundle; for ``llama_cpp`` the fetched CPU model of the name ``model`` unless given."""
    pinned_digest: str | None = None
    """Refuse any other bundle."""
    refuse_drafts: bool = False
    """True in a worker: what passed no gate is evaluated, and not served."""
    url: str | None = None
    """``completions``: base address of the server, without ``/v1``."""
    dialect: str = "openai"
    """``completions``: one of :data:`~sluicegate.engines.backends.dialects.DIALECTS`."""
    model: str | None = None
    """``completions``: what the server calls the model; the bundle's own name unless given. ``llama_cpp`` without a
    bundle: the CPU model's name; the small one unless given."""
    api_key: str | None = field(default=None, repr=False)
    concurrency: int | None = None
    """``completions``: prompts in flight. Unless given, twice what the bundle's ``serving.json`` says of one step, or 8."""
    slots: int = 4
    """``llama_cpp``: prompts decoded side by side."""
    threads: int = 0
    """``llama_cpp``: 0 takes as many as the process has cores."""
    max_prompt_tokens: int | None = None
    """Longest prompt; at most the bundle's own limit, which is the default."""
    adapter: str | None = None
    """What the adapter is called; the bundle's own name for it unless given."""
    lora_path: str | None = None
    """``completions``, dialects of ``trtllm-serve``: the adapter's folder as the server sees it; ``sglang``: its name there."""
    fake: FakeProfile | None = None
    """``fake``: speed, rules and faults; takes no time unless given."""


@dataclass(frozen=True)
class Backend:
    """An engine that is not started yet, and what makes its prompts."""

    engine: Engine
    prompter: Prompter
    categories: tuple[str, ...]
    """Names that an explanation may give."""
    calibration: Calibration | None = None
    """Turns its scores into what the policy sees; None where the bundle has none."""
    server: str | None = None
    """Address of the server behind it: engines with the same address live and die together. None: its own process."""
    asked_as: str = ""
    """What its requests name on that server; the server takes engines with the same name for one."""
    tokenizer_digest: str | None = None
    """Of its bundle; None for the fake engine, whose tokens are bytes."""
    passages: PassageFinder | None = None
    """Finds what of a long text its model has to be shown apart; None where the bundle asks for none."""
    in_process: bool = False
    """True if a crash of the engine ends the worker."""


Backends = Mapping[str | None, Backend]
"""The engines of one worker by adapter; None is the engine's own."""


def open_backend(choice: EngineChoice) -> Backend:
    """Open the chosen backend. Reads the bundle; the engine starts when it is entered.

    Raises:
        EngineSetupError: A setting is missing or wrong; the message says which.
        BundleError: The bundle does not fit.
    """
    match choice.backend:
        case "fake":
            return _fake(choice)
        case "completions":
            return _completions(choice)
        case "llama_cpp":
            return _llama_cpp(choice)
        case "tensorrt_llm":
            return _tensorrt_llm(choice)


def open_backends(choices: Mapping[str | None, EngineChoice]) -> Backends:
    """Open an engine and its adapters.

    Args:
        choices: By adapter; None is the engine's own, which is always there.

    Raises:
        EngineSetupError: As :func:`open_backend`; or an adapter on the engine's server has another tokenizer;
            or a server would take two of them for one.
        BundleError: A bundle does not fit; the message names the adapter.
    """
    choices = {name: replace(choice, refuse_drafts=True) for name, choice in choices.items()}
    own = open_backend(choices[None])
    opened: dict[str | None, Backend] = {None: own}
    for name, choice in choices.items():
        if name is None:
            continue
        try:
            backend = open_backend(choice)
        except EngineError as error:
            raise type(error)(f"engine.adapters.{name}: {error}") from error
        one_server = backend.server is not None and backend.server == own.server
        if one_server and backend.tokenizer_digest != own.tokenizer_digest:
            raise EngineSetupError(
                f"engine.adapters.{name}: its bundle's tokenizer is {backend.tokenizer_digest}, that of "
                f"engine.bundle {own.tokenizer_digest}; an adapter on the engine's server needs a bundle of the same base"
            )
        opened[name] = backend
    _require_apart(choices, opened)
    return opened


def _require_apart(choices: Mapping[str | None, EngineChoice], opened: Backends) -> None:
    """Refuse two models that one server would take for one: it would answer with either for both."""
    seen: dict[tuple[str, str], str | None] = {}
    for name, backend in opened.items():
        if backend.server is None:
            continue
        other = seen.setdefault((backend.server, backend.asked_as), name)
        one, its = choices[name], choices[other]
        same_bundle = backend.engine.info.digest == opened[other].engine.info.digest
        if same_bundle and one.lora_path == its.lora_path:
            continue  # one model under two names
        place, beside = f"engine.adapters.{name}", f"engine.adapters.{other}" if other else "the engine"
        if one.lora_path is not None and one.dialect == "sglang":
            why = f"the server would answer for both with {one.lora_path}; {place}.lora_path must be its own name there"
        elif one.lora_path is not None:
            right = (
                "export one of them again under another name"
                if not same_bundle
                else f"{place}.bundle must be its own"
            )
            why = f"their bundles' digests give the server the same number; {right}"
        elif backend.asked_as:
            why = f"the server would answer for both as {backend.asked_as}; {place}.model must be its own name there"
        else:
            why = f"one server of dialect {one.dialect} cannot tell them apart; {place}.url must be a server of its own"
        raise EngineSetupError(f"{place} and {beside}: {why}")


def _fake(choice: EngineChoice) -> Backend:
    from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, fake_prompter  # noqa: PLC0415 - lazy

    profile = choice.fake or FakeProfile()
    if choice.max_prompt_tokens:
        profile = replace(profile, max_prompt_tokens=choice.max_prompt_tokens)
    engine = FakeEngine(profile, adapter=choice.adapter)
    return Backend(engine, fake_prompter(profile), CATEGORIES, in_process=True)


def _completions(choice: EngineChoice) -> Backend:
    from sluicegate.engines.backends.completions import CompletionsEngine  # noqa: PLC0415 - lazy
    from sluicegate.engines.backends.http_client import base_address  # noqa: PLC0415 - lazy
    from sluicegate.engines.backends.trtllm.serving import Serving  # noqa: PLC0415 - lazy

    if choice.bundle is None:
        raise EngineSetupError("engine.bundle is missing: the folder of the bundle that the server serves")
    url = base_address(choice.url)
    bundle = _open_bundle(choice, choice.bundle)
    batch = Serving.batch_of(bundle)
    # Enough that the next step is full; what waits beyond that waits in the worker.
    concurrency = choice.concurrency or min(2 * batch if batch else _CONCURRENCY, _CONCURRENCY_MOST)
    prompter, model = _served(
        choice, bundle, saturating_prompts=batch or concurrency, most_prompts=concurrency
    )
    lora = Lora.of(choice.adapter or "adapter", choice.lora_path, bundle.digest) if choice.lora_path else None
    served_name = choice.model or bundle.manifest.name
    dialect = make_dialect(
        choice.dialect, model.vocabulary, model=served_name, lora=lora, guided=_is_guided(bundle)
    )
    engine = CompletionsEngine(lambda: url, dialect, model, concurrency=concurrency, api_key=choice.api_key)
    by_name = choice.dialect == "sglang"  # the name that the server was given for an adapter
    named = f"model {served_name}" if choice.dialect == "vllm" else ""
    if lora:
        named = f"adapter {lora.path if by_name else lora.number}"
    return replace(
        _of_bundle(engine, prompter, bundle),
        server=url.rstrip("/"),
        asked_as=named,
    )


def _is_guided(bundle: Bundle) -> bool:
    """True if the bundle's ``serving.json`` has its server started with a backend for guided decoding."""
    from sluicegate.engines.backends.trtllm.serving import ROLE, Serving  # noqa: PLC0415 - lazy

    return ROLE in bundle.manifest.files and Serving.of(bundle).guided_decoding


def _llama_cpp(choice: EngineChoice) -> Backend:
    from sluicegate.engines.backends.llama_cpp import LlamaCppEngine  # noqa: PLC0415 - lazy
    from sluicegate.engines.backends.llama_server import ServerOptions, usable_cores  # noqa: PLC0415 - lazy
    from sluicegate.engines.cpu_model import named_model  # noqa: PLC0415 - lazy

    path = choice.bundle
    if path is None:
        named = named_model(choice.model)
        path = named.bundle_path()
        if not path.exists():
            raise EngineSetupError(f"the CPU model is not there: run `{named.fetch_command}`")
    bundle = _open_bundle(choice, path)
    prompter, model = _served(choice, bundle, saturating_prompts=choice.slots)
    options = ServerOptions(
        model=str(bundle.file("model")),
        slots=choice.slots,
        slot_tokens=model.info.max_prompt_tokens + _COMPLETION_TOKENS,
        threads=choice.threads or usable_cores(),
        kept_mib=_KEPT_MIB * choice.slots,
    )
    engine = LlamaCppEngine(model, options)
    return _of_bundle(engine, prompter, bundle)


def _tensorrt_llm(choice: EngineChoice) -> Backend:
    from sluicegate.engines.backends.gpu import check_gpu  # noqa: PLC0415 - lazy
    from sluicegate.engines.backends.tensorrt_llm import make_engine  # noqa: PLC0415 - lazy
    from sluicegate.engines.backends.trtllm.serving import Serving  # noqa: PLC0415 - lazy

    if choice.bundle is None:
        raise EngineSetupError(
            "engine.bundle is missing: the folder of the bundle that was built for TensorRT-LLM"
        )
    bundle = _open_bundle(choice, choice.bundle)
    serving = Serving.of(bundle, max_prompt_tokens=choice.max_prompt_tokens, in_process=True)
    check_gpu(bundle.manifest)
    prompter, model = _served(choice, bundle, saturating_prompts=serving.max_batch_size)
    engine = make_engine(model, serving, bundle, prompter)
    return replace(_of_bundle(engine, prompter, bundle), in_process=True)


def _open_bundle(choice: EngineChoice, path: Path) -> Bundle:

    bundle = Bundle.open(path, pinned_digest=choice.pinned_digest)
    if choice.refuse_drafts and bundle.manifest.is_draft:
        raise EngineSetupError(f"{bundle.manifest.name} is a draft, to be evaluated; export it with --gate")
    limit = bundle.manifest.limits.max_prompt_tokens
    if choice.max_prompt_tokens and choice.max_prompt_tokens > limit:
        raise EngineSetupError(
            f"engine.max_prompt_tokens is {choice.max_prompt_tokens}; the bundle allows {limit}"
        )
    return bundle


def _of_bundle(engine: Engine, prompter: Prompter, bundle: Bundle) -> Backend:
    return Backend(
        engine,
        prompter,
        bundle.manifest.categories,
        bundle.calibration,
        tokenizer_digest=bundle.tokenizer.digest,
        passages=_passages(bundle.manifest),
    )


def _passages(manifest: Manifest) -> PassageFinder | None:
    """What finds the passages that a model has to be shown apart; None where its manifest asks for none.

    Raises:
        BundleError: It asks, and a library is missing or what the package brings is damaged.
    """
    if not manifest.passages:
        return None
    try:
        from sluicegate.engines.text.passages import Passages  # noqa: PLC0415 - an extra

        return Passages.shipped()
    except ImportError as error:
        raise BundleError(
            f"{MANIFEST}: passages: {error.name} is missing; pip install 'sluicegate[passages]'"
        ) from error


def _served(
    choice: EngineChoice, bundle: Bundle, *, saturating_prompts: int, most_prompts: int | None = None
) -> tuple[Prompter, ServedModel]:
    manifest = bundle.manifest
    limit = choice.max_prompt_tokens or manifest.limits.max_prompt_tokens
    prompter = Prompter(bundle.tokenizer, bundle.layout, max_prompt_tokens=limit)
    texts = (
        Post(id="probe", text=text) for text in (_PROBE, "Hello")
    )  # a limit may have room for the short one alone
    probe = next((one for post in texts if isinstance(one := prompter.build(post), Prompt)), None)
    if probe is None:
        raise EngineSetupError(f"engine.max_prompt_tokens is {limit}, less than an empty prompt needs")
    info = EngineInfo(
        digest=bundle.digest,
        backend=choice.backend,
        model=manifest.base.name,
        layout_digest=bundle.layout.digest,
        max_prompt_tokens=limit,
        saturating_prompts=saturating_prompts,
        most_prompts=most_prompts,
        adapter=choice.adapter or (manifest.adapter.name if manifest.adapter else None),
        reasons=manifest.reasons,
        continuous=True,  # vLLM, TensorRT-LLM and llama.cpp, and whoever else serves completions
    )
    vocabulary = Vocabulary.of(
        bundle.tokenizer, bundle.labels, bundle.category_tokens, reasons=manifest.reasons
    )
    return prompter, ServedModel(info, vocabulary, manifest.categories, probe)
