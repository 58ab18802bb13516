"""The CPU model: a bundle for any machine without a GPU, and the adapter that is merged into it."""

from sluicegate.engines.cpu_model.cpu_model import (
    ADAPTER_FACTS,
    ADAPTER_WEIGHTS,
    AdapterFacts,
    cpu_bundle_path,
    fetch_cpu_model,
    original_beside,
    read_shipped,
)
from sluicegate.engines.cpu_model.gguf_model import (
    GgufModel,
)
from sluicegate.engines.cpu_model.peft_adapter import (
    CONFIG,
    WEIGHTS,
    PeftAdapter,
    read_adapter,
)

__all__ = [
    "ADAPTER_FACTS",
    "ADAPTER_WEIGHTS",
    "CONFIG",
    "WEIGHTS",
    "AdapterFacts",
    "GgufModel",
    "PeftAdapter",
    "cpu_bundle_path",
    "fetch_cpu_model",
    "original_beside",
    "read_adapter",
    "read_shipped",
]
