"""The section ``engine.adapters``: where each adapter that a policy may name is served."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from sluicegate.pipeline.policy.rules import AdapterName

if TYPE_CHECKING:
    from collections.abc import Mapping


class AdapterSettings(BaseModel):
    """One adapter, by the name that a policy gives it. What is left out is as for the engine, but for the bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path | None = Field(None, description="Folder of the adapter's own bundle; fake has none.")
    digest: str | None = Field(None, description="Pinned digest of that bundle: another one is refused.")
    url: str | None = Field(
        None,
        description="completions: address of its own server. Without it, the engine's server has the adapter.",
    )
    model: str | None = Field(
        None, description="completions: what the server calls the model with this adapter."
    )
    lora_path: str | None = Field(
        None,
        min_length=1,
        max_length=1024,
        description="completions, sent with every request. Dialects trtllm and trtllm_chat: the adapter's folder as the server sees it; sglang: the name that the server was given for it.",
    )
    fake_profile: Path | None = Field(
        None, description="fake: JSON file with its rules and seed. Without it, the engine's own is taken."
    )


_WITH_LORA = ("sglang", "trtllm", "trtllm_chat")
"""Dialects whose requests name an adapter beside the model."""

Adapters = Annotated[dict[AdapterName, AdapterSettings], Field(max_length=64)]


def lacking(
    backend: str, dialect: str, model: str | None, adapters: Mapping[str, AdapterSettings]
) -> str | None:
    """What an adapter needs and has not, as a sentence; None where nothing is missing.

    Without it the server would answer for its base, unseen.

    Args:
        backend: Of the engine.
        dialect: Of the engine's server.
        model: What that server calls its base, if the settings say it.
        adapters: By name.
    """
    if backend == "fake":
        return None
    for name, adapter in adapters.items():
        place = f"engine.adapters.{name}"
        if adapter.bundle is None:
            return f"{place}.bundle is missing; give the folder of the adapter's own bundle, for example /bundles/{name}"
        fault = password_in(adapter.url, f"{place}.url")
        if backend == "completions" and adapter.lora_path is not None and dialect not in _WITH_LORA:
            return f"{place}.lora_path is not sent in dialect {dialect}; leave it out, or say engine.dialect: one of {', '.join(_WITH_LORA)}"
        if fault is None and backend == "completions" and adapter.url is None:
            fault = _not_named(place, name, adapter, dialect, model)
        if fault is not None:
            return fault
    return None


def _not_named(
    place: str, name: str, adapter: AdapterSettings, dialect: str, model: str | None
) -> str | None:
    """What keeps the engine's own server from telling this adapter from its base."""
    if dialect == "vllm":
        missing = f"{place}.model", "the name that vLLM serves the adapter under", name
        return None if adapter.model is not None else _sentence(*missing)
    if dialect == "sglang":
        missing = f"{place}.lora_path", "the name that SGLang was given for the adapter", name
        return None if adapter.lora_path is not None else _sentence(*missing)
    if dialect in _WITH_LORA:
        if adapter.lora_path is None:
            return _sentence(
                f"{place}.lora_path", "the adapter's folder as the server sees it", f"/adapters/{name}"
            )
        return (
            None
            if model is not None
            else _sentence("engine.model", "what the server calls its base", "guard")
        )
    why = f"an address of its own, since a server of dialect {dialect} may answer for its base whatever it is asked"
    return _sentence(f"{place}.url", why, "http://127.0.0.1:8001")


def _sentence(setting: str, right: str, example: str) -> str:
    return f"{setting} is missing; give {right}, for example {example}"


def password_in(url: str | None, place: str) -> str | None:
    """A sentence if an address holds what must not be shown."""
    if url is None or "@" not in url.partition("://")[2].partition("/")[0]:
        return None
    return (
        f"{place} is shown in logs and must hold no password; put a token into engine.api_key, "
        "for example url http://127.0.0.1:8000 and api_key secret"
    )
