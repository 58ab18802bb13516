"""The CPU models: bundles for any machine without a GPU, and the adapters that are merged into them."""

from sluicegate.engines.cpu_model.cpu_model import (
    ADAPTER_FACTS,
    ADAPTER_WEIGHTS,
    AdapterFacts,
    fetch_cpu_model,
    original_beside,
    read_shipped,
)
from sluicegate.engines.cpu_model.gguf_model import (
    GgufModel,
)
from sluicegate.engines.cpu_model.models import (
    MODELS,
    SMALL,
    CpuModel,
    base_model,
    cpu_bundle_path,
    named_model,
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
    "MODELS",
    "SMALL",
    "WEIGHTS",
    "AdapterFacts",
    "CpuModel",
    "GgufModel",
    "PeftAdapter",
    "base_model",
    "cpu_bundle_path",
    "fetch_cpu_model",
    "named_model",
    "original_beside",
    "read_adapter",
    "read_shipped",
]
