"""The import of TensorRT-LLM: late, once, and of the release that is expected."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Any

from sluicegate.engines.backends.trtllm.serving import VERSION, Runtime
from sluicegate.engines.errors import EngineSetupError

_HOW = (
    f"run the worker in the container nvcr.io/nvidia/tensorrt-llm/release:{VERSION} or, on Linux with CUDA 13.1, "
    "`pip install 'sluicegate[gpu]'` (docs/engine.md); or serve the bundle with trtllm-serve and "
    "choose backend completions"
)


@dataclass(frozen=True)
class Library:
    """What we use of TensorRT-LLM."""

    LLM: Any
    SamplingParams: Any
    GuidedDecodingParams: Any
    KvCacheConfig: Any


def load_library(runtime: Runtime) -> Library:
    """Import TensorRT-LLM. Blocks for many seconds and starts MPI: never at the import of a module of ours.

    Raises:
        EngineSetupError: It is not installed, of another release, or does not load.
    """
    try:
        found = importlib.metadata.version("tensorrt-llm")
    except importlib.metadata.PackageNotFoundError as error:
        raise EngineSetupError(f"TensorRT-LLM is not installed: {_HOW}") from error
    if found != VERSION:
        raise EngineSetupError(f"TensorRT-LLM {found[:32]} is installed, and {VERSION} is needed: {_HOW}")
    try:
        from tensorrt_llm.llmapi import GuidedDecodingParams, KvCacheConfig, SamplingParams  # noqa: PLC0415 - lazy

        if runtime == "engine":
            from tensorrt_llm._tensorrt_engine import LLM  # noqa: PLC0415 - lazy
        else:
            from tensorrt_llm import LLM  # noqa: PLC0415 - lazy
    except Exception as error:  # a driver or an MPI that does not fit fails in any way
        raise EngineSetupError(
            f"TensorRT-LLM does not load ({type(error).__name__}: {str(error)[:300]}): {_HOW}"
        ) from error
    return Library(LLM, SamplingParams, GuidedDecodingParams, KvCacheConfig)
