"""The border's arithmetic on real tensors of torch, which the stand-in's are not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from sluicegate.engines.backends.trtllm.border import Asked, UnreadableError
from sluicegate.engines.backends.trtllm.serving import Serving
from support.trtllm_bundle import PADDED, small_serving

pytestmark = pytest.mark.adapt
IDS = (17, 400, 639)


def asked(logits: Any) -> Asked:
    completion = SimpleNamespace(token_ids=[17], generation_logits=logits)
    serving = Serving.model_validate_json(orjson.dumps(small_serving("engine")))
    return Asked(SimpleNamespace(outputs=[completion], cached_tokens=0), serving, prompt_tokens=8)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("rows", [1, 3])
def test_logits_of_any_precision_give_the_logarithms_of_a_softmax(dtype: str, rows: int) -> None:
    import torch  # noqa: PLC0415 - only where it is installed

    torch.manual_seed(7)
    logits = (4 * torch.randn(rows, PADDED)).to(getattr(torch, dtype))
    found = asked(logits).candidates(IDS)
    expected = torch.log_softmax(logits[0].float(), dim=-1)[list(IDS)].tolist()
    assert [found.logprobs[token] for token in IDS] == pytest.approx(expected, abs=1e-5)
    assert found.floor == min(found.logprobs.values())


def test_logits_of_another_shape_or_of_no_number_are_unreadable() -> None:
    import torch  # noqa: PLC0415 - only where it is installed

    poisoned = torch.zeros(1, PADDED)
    poisoned[0, IDS[0]] = float("nan")
    masked = torch.zeros(1, PADDED)
    masked[0, IDS[1]] = float("-inf")
    for logits in (
        None,
        torch.zeros(PADDED),
        torch.zeros(1, 1, PADDED),
        torch.zeros(0, PADDED),
        torch.zeros(1, 639),
        poisoned,
        masked,
    ):
        with pytest.raises(UnreadableError, match="generation_logits"):
            asked(logits).candidates(IDS)
