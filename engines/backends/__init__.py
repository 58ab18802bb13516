"""Backends: what stands behind the engine protocol, chosen by name.

Importing this package loads none of them; :func:`open_backend` loads the one that is chosen.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from sluicegate.engines.errors import EngineSetupError

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.backends.completions import ServedModel
    from sluicegate.engines.backends.fake_profile import FakeProfile
    from sluicegate.engines.bundle import Bundle
    from sluicegate.engines.prompting import Prompter
    from sluicegate.engines.protocol import Engine

BackendName = Literal["fake", "completions", "llama_cpp", "tensorrt_llm"]

_COMPLETION_TOKENS = 64
"""Room in a slot beside the prompt: forced label and head, and the explanation."""


@dataclass(frozen=True)
class EngineChoice:
    """Which engine, and how. What a backend does not use is ignored."""

    backend: BackendName
    bundle: Path | None = None
    """Folder of the engine bundle; for ``llama_cpp`` the fetched CPU model unless given."""
    pinned_digest: str | None = None
    """Refuse any other bundle."""
    url: str | None = None
    """``completions``: base address of the server, without ``/v1``."""
    dialect: str = "openai"
    """``completions``: one of ``openai``, ``vllm``, ``trtllm``, ``llama_cpp``."""
    model: str | None = None
    """``completions``: what the server calls the model; the bundle's own name unless given."""
    api_key: str | None = field(default=None, repr=False)
    concurrency: int = 8
    """``completions``: prompts in flight."""
    slots: int = 4
    """``llama_cpp``: prompts decoded side by side."""
    threads: int = 0
    """``llama_cpp``: 0 takes as many as the process has cores."""
    max_prompt_tokens: int | None = None
    """Longest prompt; at most the bundle's own limit, which is the default."""
    fake: FakeProfile | None = None
    """``fake``: speed, rules and faults; takes no time unless given."""


@dataclass(frozen=True)
class Backend:
    """An engine that is not started yet, and what makes its prompts."""

    engine: Engine
    prompter: Prompter
    categories: tuple[str, ...]
    """Names that an explanation may give."""


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
            raise EngineSetupError(
                "backend tensorrt_llm arrives with the compiled-engine work; today, run trtllm-serve "
                "on the engine and choose backend completions with dialect trtllm"
            )


def _fake(choice: EngineChoice) -> Backend:
    from sluicegate.engines.backends.fake import FakeEngine, FakeProfile, fake_prompter  # noqa: PLC0415 - lazy
    from sluicegate.schemas import CATEGORIES  # noqa: PLC0415 - lazy

    profile = choice.fake or FakeProfile()
    if choice.max_prompt_tokens:
        profile = replace(profile, max_prompt_tokens=choice.max_prompt_tokens)
    return Backend(FakeEngine(profile), fake_prompter(profile), CATEGORIES)


def _completions(choice: EngineChoice) -> Backend:
    from sluicegate.engines.backends.completions import CompletionsEngine  # noqa: PLC0415 - lazy
    from sluicegate.engines.backends.dialects import make_dialect  # noqa: PLC0415 - lazy

    if choice.bundle is None:
        raise EngineSetupError("engine.bundle is missing: the folder of the bundle that the server serves")
    url = _base_address(choice.url)
    bundle = _open_bundle(choice, choice.bundle)
    prompter, model = _served(choice, bundle, saturating_prompts=choice.concurrency)
    dialect = make_dialect(choice.dialect, model.vocabulary, model=choice.model or bundle.manifest.name)
    engine = CompletionsEngine(
        lambda: url, dialect, model, concurrency=choice.concurrency, api_key=choice.api_key
    )
    return Backend(engine, prompter, model.categories)


def _base_address(url: str | None) -> str:
    try:
        parts = urlsplit(url or "")
        if url and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return url
    except ValueError:  # a port that is no number
        pass
    raise EngineSetupError("engine.url is missing or no http address; an example is http://127.0.0.1:8000")


def _llama_cpp(choice: EngineChoice) -> Backend:
    from sluicegate.engines.backends.llama_cpp import LlamaCppEngine  # noqa: PLC0415 - lazy
    from sluicegate.engines.backends.llama_server import ServerOptions  # noqa: PLC0415 - lazy
    from sluicegate.engines.cpu_model import cpu_bundle_path  # noqa: PLC0415 - lazy

    path = choice.bundle or cpu_bundle_path()
    if choice.bundle is None and not path.exists():
        raise EngineSetupError("the CPU model is not there: run `sluicegate engine fetch-cpu`")
    bundle = _open_bundle(choice, path)
    prompter, model = _served(choice, bundle, saturating_prompts=choice.slots)
    options = ServerOptions(
        model=str(bundle.file("model")),
        slots=choice.slots,
        slot_tokens=model.info.max_prompt_tokens + _COMPLETION_TOKENS,
        threads=choice.threads or _cores(),
    )
    return Backend(LlamaCppEngine(model, options), prompter, model.categories)


def _open_bundle(choice: EngineChoice, path: Path) -> Bundle:
    from sluicegate.engines.bundle import Bundle  # noqa: PLC0415 - lazy

    bundle = Bundle.open(path, pinned_digest=choice.pinned_digest)
    limit = bundle.manifest.limits.max_prompt_tokens
    if choice.max_prompt_tokens and choice.max_prompt_tokens > limit:
        raise EngineSetupError(
            f"engine.max_prompt_tokens is {choice.max_prompt_tokens}; the bundle allows {limit}"
        )
    return bundle


def _served(choice: EngineChoice, bundle: Bundle, *, saturating_prompts: int) -> tuple[Prompter, ServedModel]:
    from sluicegate.engines.backends.completions import ServedModel  # noqa: PLC0415 - lazy
    from sluicegate.engines.backends.dialects import Vocabulary  # noqa: PLC0415 - lazy
    from sluicegate.engines.prompting import Prompter  # noqa: PLC0415 - lazy
    from sluicegate.engines.protocol import EngineInfo, ItemFailure  # noqa: PLC0415 - lazy
    from sluicegate.schemas import Post  # noqa: PLC0415 - lazy

    manifest = bundle.manifest
    limit = choice.max_prompt_tokens or manifest.limits.max_prompt_tokens
    prompter = Prompter(bundle.tokenizer, bundle.layout, max_prompt_tokens=limit)
    probe = prompter.build(Post(id="probe", text="Hello"))
    if isinstance(probe, ItemFailure):
        raise EngineSetupError(f"engine.max_prompt_tokens is {limit}, less than an empty prompt needs")
    info = EngineInfo(
        digest=bundle.digest,
        backend=choice.backend,
        model=manifest.base.name,
        layout_digest=bundle.layout.digest,
        max_prompt_tokens=limit,
        saturating_prompts=saturating_prompts,
        adapter=manifest.adapter.name if manifest.adapter else None,
    )
    vocabulary = Vocabulary.of(bundle.tokenizer, bundle.labels, bundle.category_tokens)
    return prompter, ServedModel(info, vocabulary, manifest.categories, probe)


def _cores() -> int:
    """Cores that this process may use, which in a container can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
