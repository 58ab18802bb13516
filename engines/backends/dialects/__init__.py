"""Dialects: how each kind of completions server is asked, and how its answers are read.

=========== ============================ ==================================== ==========================
name        server                       candidates named by                  checked against
=========== ============================ ==================================== ==========================
openai      any with legacy completions  text                                 vLLM's and SGLang's files
vllm        vLLM                         id, the labels by their ids          its own files, executed
trtllm      ``trtllm-serve`` from 1.3    text                                 its source, read
trtllm_chat ``trtllm-serve`` 1.2.1       text                                 its source, read
sglang      SGLang's ``/generate``       id, the labels by their ids          its own files, executed
llama_cpp   llama.cpp's ``/completion``  id                                   the real server
=========== ============================ ==================================== ==========================
"""

from __future__ import annotations

from sluicegate.engines.backends.dialects.base import (
    CATEGORY_HEAD,
    EXPLANATION_TOKENS,
    Completion,
    Dialect,
    Lora,
    ServedModel,
    Vocabulary,
)
from sluicegate.engines.backends.dialects.llama_cpp import LlamaCppDialect
from sluicegate.engines.backends.dialects.openai import OpenAIDialect, VllmDialect
from sluicegate.engines.backends.dialects.sglang import SglangDialect
from sluicegate.engines.backends.dialects.trtllm import TrtllmChatDialect, TrtllmDialect
from sluicegate.engines.errors import EngineSetupError

__all__ = [
    "CATEGORY_HEAD",
    "DIALECTS",
    "EXPLANATION_TOKENS",
    "Completion",
    "Dialect",
    "LlamaCppDialect",
    "Lora",
    "OpenAIDialect",
    "ServedModel",
    "SglangDialect",
    "TrtllmChatDialect",
    "TrtllmDialect",
    "VllmDialect",
    "Vocabulary",
    "make_dialect",
]

_OPENAI_LIKE = {dialect.name: dialect for dialect in (OpenAIDialect, VllmDialect)}
_TRTLLM = {dialect.name: dialect for dialect in (TrtllmDialect, TrtllmChatDialect)}

DIALECTS = (*_OPENAI_LIKE, SglangDialect.name, *_TRTLLM, LlamaCppDialect.name)
"""The names that the settings take."""


def make_dialect(
    name: str, vocabulary: Vocabulary, *, model: str, lora: Lora | None = None, guided: bool = False
) -> Dialect:
    """Make a dialect by its name in the settings.

    Args:
        name: One of :data:`DIALECTS`.
        vocabulary: The bundle's tokens.
        model: What the server calls the model; llama.cpp and SGLang serve one and do not ask.
        lora: What the server is to add to that model; for dialects that name it in the request.
        guided: ``trtllm``: the server was started with a backend for guided decoding.

    Raises:
        EngineSetupError: There is no such dialect; or its server names tokens by their texts, and two have one.
    """
    if name in (OpenAIDialect.name, *_TRTLLM) and not vocabulary.texts_differ:
        raise EngineSetupError(
            f"two labels or categories begin with tokens of one text, and a server of dialect {name} tells them apart by "
            "nothing else; serve the bundle with vLLM or SGLang"
        )
    if name == LlamaCppDialect.name:
        return LlamaCppDialect(vocabulary)
    if name == SglangDialect.name:
        return SglangDialect(vocabulary, lora=lora)
    if name in _TRTLLM:
        return _TRTLLM[name](vocabulary, model=model, lora=lora, guided=guided)
    if name in _OPENAI_LIKE:
        return _OPENAI_LIKE[name](vocabulary, model=model)
    raise EngineSetupError(f"dialect {name!r} is not one of: {', '.join(DIALECTS)}")
