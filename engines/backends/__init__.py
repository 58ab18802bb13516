"""Backends: what stands behind the engine protocol. Importing them loads none; opening loads the one that is chosen."""

from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.engines.backends.open import (
    Backend,
    BackendName,
    Backends,
    EngineChoice,
    open_backend,
    open_backends,
)

__all__ = [
    "Backend",
    "BackendName",
    "Backends",
    "EngineChoice",
    "FakeProfile",
    "open_backend",
    "open_backends",
]
