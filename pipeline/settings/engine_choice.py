"""From settings to the choice of an engine."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import orjson

from sluicegate.engines.backends import EngineChoice
from sluicegate.engines.backends.fake_profile import FakeProfile
from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.settings.adapters import lacking
from sluicegate.pipeline.settings.tree import EngineSettings
from sluicegate.pipeline.text import neutral


def engine_choice(engine: EngineSettings, adapter: str | None = None) -> EngineChoice:
    """The engine that the settings name, or that of one of its adapters.

    Raises:
        SettingsError: The fake engine's profile cannot be used; or the settings have no such adapter, or
            not all that it needs.
    """
    profile = engine.fake_profile
    choice = EngineChoice(
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
        adapter=adapter,
    )
    if adapter is not None:
        own = engine.adapters.get(adapter)
        if own is None:
            raise SettingsError(
                f"engine.adapters.{adapter}: no such adapter, and the policy names it; say there where it is served, "
                f"or correct the policy; there {_known(list(engine.adapters))}"
            )
        # Again, since a command may have chosen another backend than the settings were checked for.
        if fault := lacking(engine.backend, engine.dialect, engine.model, {adapter: own}):
            raise SettingsError(fault)
        profile = own.fake_profile or profile
        choice = dataclasses.replace(
            choice,
            bundle=own.bundle,
            pinned_digest=own.digest,
            url=own.url or engine.url,
            # A server of its own does not know the engine's name for its model.
            model=own.model or (engine.model if own.url is None else None),
            lora_path=own.lora_path,
        )
    return dataclasses.replace(choice, fake=fake_profile(profile)) if profile else choice


def engine_choices(engine: EngineSettings) -> dict[str | None, EngineChoice]:
    """The engine of the settings and those of its adapters, by adapter.

    Raises:
        SettingsError: As :func:`engine_choice`.
    """
    return {name: engine_choice(engine, name) for name in (None, *engine.adapters)}


def _known(names: list[str]) -> str:
    return f"are {', '.join(names)}" if names else "are none"


def fake_profile(path: Path) -> FakeProfile:
    """Read a profile of the fake engine: a JSON object of its fields, and ``"preset": "h100"`` to start from.

    Raises:
        SettingsError: The file cannot be read, or has a field that the profile lacks.
    """
    try:
        fields = orjson.loads(path.read_bytes())
        base = FakeProfile.h100() if fields.pop("preset", None) == "h100" else FakeProfile()
        known = [field.name for field in dataclasses.fields(FakeProfile)]
        if unknown := sorted(set(fields) - set(known)):
            raise SettingsError(
                f"engine.fake_profile {path}: {neutral(unknown[0])}: no such field; there are preset, {', '.join(known)}"
            )
        for name in {"faults_file", "counts_file"} & fields.keys():
            fields[name] = Path(fields[name])
        return dataclasses.replace(base, **fields)
    except (OSError, orjson.JSONDecodeError, AttributeError, TypeError) as error:
        raise SettingsError(
            f"engine.fake_profile {path}: must be a JSON object with fields of FakeProfile ({type(error).__name__}); "
            "see docs/testing.md"
        ) from error
