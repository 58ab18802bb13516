"""The CPU model: a bundle for any machine without a GPU, and the adapter that is merged into it."""

from sluicegate.engines.cpu_model.cpu_model import (
    cpu_bundle_path,
    fetch_cpu_model,
    original_beside,
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
from sluicegate.engines.cpu_model.shipped import (
    ADAPTER_FACTS,
    ADAPTER_WEIGHTS,
    AdapterFacts,
    read_shipped,
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
