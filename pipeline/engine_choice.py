"""From settings to the choice of an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from sluicegate.engines.backends import EngineChoice
from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.pipeline.errors import SettingsError

if TYPE_CHECKING:
    from sluicegate.pipeline.settings import EngineSettings


def engine_choice(engine: EngineSettings) -> EngineChoice:
    """The engine that the settings name.

    Raises:
        SettingsError: The fake engine's profile cannot be used.
    """
    return EngineChoice(
        backend=engine.backend,
        bundle=engine.bundle,
        pinned_digest=engine.digest,
        url=engine.url,
        dialect=engine.dialect,
        model=engine.model,
        api_key=engine.api_key.get_secret_value() if engine.api_key else None,
        concurrency=engine.concurrency,
        slots=engine.slots,
        threads=engine.threads,
        fake=fake_profile(engine.fake_profile) if engine.fake_profile else None,
    )


def fake_profile(path: Path) -> FakeProfile:
    """Read a profile of the fake engine: a JSON object of its fields, and ``"preset": "h100"`` to start from.

    Raises:
        SettingsError: The file cannot be read, or has a field that the profile lacks.
    """
    try:
        fields = orjson.loads(path.read_bytes())
        base = FakeProfile.h100() if fields.pop("preset", None) == "h100" else FakeProfile()
        if "faults_file" in fields:
            fields["faults_file"] = Path(fields["faults_file"])
        return replace(base, **fields)
    except (OSError, orjson.JSONDecodeError, AttributeError, TypeError) as error:
        raise SettingsError(
            f"engine.fake_profile {path}: must be a JSON object with fields of FakeProfile ({type(error).__name__}); "
            "see docs/fake-engine.md"
        ) from error
