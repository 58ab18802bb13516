"""Makes the in-process engine from a bundle."""

from __future__ import annotations

from sluicegate.engines.backends.dialects import ServedModel
from sluicegate.engines.backends.tensorrt_llm import TensorRTEngine
from sluicegate.engines.backends.trtllm.serving import Serving
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.errors import EngineSetupError
from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import Kind, Post

_END = "<|im_end|>"
_KINDS: tuple[Kind, ...] = ("post", "prompt", "response")


def make_engine(model: ServedModel, serving: Serving, bundle: Bundle, prompter: Prompter) -> TensorRTEngine:
    """The engine of a bundle, not started yet.

    Raises:
        EngineSetupError: The bundle does not say which token ends an answer.
    """
    end_id = bundle.manifest.tokenizer.control_tokens.get(_END)
    if end_id is None:
        raise EngineSetupError(
            f"manifest.json: tokenizer.control_tokens has no {_END}, which ends an answer; make the bundle again"
        )
    built = (prompter.build(Post(id="warm", text="Hello", kind=kind)) for kind in _KINDS)
    warm = {
        prompt.token_ids[: prompt.shared_tokens]: prompt for prompt in built if isinstance(prompt, Prompt)
    }
    return TensorRTEngine(model, serving, bundle.path, bundle.tokenizer, warm=[*warm.values()], end_id=end_id)
