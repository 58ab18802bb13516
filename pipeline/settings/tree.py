"""One tree of settings, from defaults, a YAML file and the environment, in that order of precedence.

Environment names are ``SLUICEGATE_`` and the path with double underscores, such as
``SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS``. Parsed and validated once, then frozen and passed down.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

import orjson
import yaml
from pydantic import ValidationError, model_validator
from pydantic_core import PydanticSerializationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as EnvironmentFault

from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.settings.candidate import CandidateSettings
from sluicegate.pipeline.settings.review import ReviewSettings
from sluicegate.pipeline.settings.sections import (
    CacheSettings,
    DrainSettings,
    EngineSettings,
    KafkaSettings,
    LimitSettings,
    LogSettings,
    MicroBatchSettings,
    OpsSettings,
    PatternSettings,
    PolicySettings,
    ScreenSettings,
    TopicSettings,
    TracingSettings,
    WindowSettings,
)
from sluicegate.pipeline.settings.security import SecuritySettings
from sluicegate.pipeline.text import neutral

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "CacheSettings",
    "CandidateSettings",
    "DrainSettings",
    "EngineSettings",
    "KafkaSettings",
    "LimitSettings",
    "LogSettings",
    "MicroBatchSettings",
    "OpsSettings",
    "PatternSettings",
    "PolicySettings",
    "ReviewSettings",
    "ScreenSettings",
    "SecuritySettings",
    "Settings",
    "TopicSettings",
    "TracingSettings",
    "WindowSettings",
    "load_settings",
    "read_tree",
    "variable",
]

_PREFIX, _NESTED = "SLUICEGATE_", "__"
_OTHER_VARIABLES = {"SLUICEGATE_SETTINGS", "SLUICEGATE_CACHE_DIR"}
"""Ours, and no settings: the file of settings, and where the CPU model lies."""
_OF_KUBERNETES = re.compile(
    r"SLUICEGATE_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
"""What it sets in each pod for a service whose name begins with ours."""


_GONE = {
    "worker": "there is no edge any more, and every worker has an engine: leave the section worker out, and let workers with "
    "an engine read what the edge read, in its kafka.group (CHANGELOG.md)",
    "topics.forward": "no worker forwards posts any more: leave topics.forward out (CHANGELOG.md says how an edge is taken away)",
    "screen.from_edge": "no post comes from an edge any more: leave screen.from_edge out (CHANGELOG.md says how an edge is taken away)",
}
"""Settings that there were, and what to do now. They are refused: to pass over one would be another worker than was meant."""


class Settings(BaseSettings):
    """All settings of a worker and of the commands."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter=_NESTED,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    engine: EngineSettings = EngineSettings()
    policy: PolicySettings = PolicySettings()
    screen: ScreenSettings = ScreenSettings()
    window: WindowSettings = WindowSettings()
    micro_batch: MicroBatchSettings = MicroBatchSettings()
    cache: CacheSettings = CacheSettings()
    limits: LimitSettings = LimitSettings()
    drain: DrainSettings = DrainSettings()
    ops: OpsSettings = OpsSettings()
    log: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    review: ReviewSettings = ReviewSettings()
    candidate: CandidateSettings = CandidateSettings()
    patterns: PatternSettings = PatternSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment overrides the file, which arrives as the init values."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @model_validator(mode="after")
    def _handover_fits(self) -> Self:
        if self.kafka.rebalance_timeout_s <= self.drain.finish_s:
            raise ValueError(
                f"kafka.rebalance_timeout_s = {self.kafka.rebalance_timeout_s:g} must exceed drain.finish_s = "
                f"{self.drain.finish_s:g}, or a rebalance throws this worker out; for example 90 and 25"
            )
        return self

    @property
    def stall_after_s(self) -> float:
        """A partition without progress for longer, and without a hold, has stalled.

        The slowest allowed calls, a delivery that is not called a hold yet, one commit, and a
        margin for a busy machine.
        """
        calls_s = self.engine.score_timeout_s + self.engine.explain_timeout_s
        if self.screen.guard is not None:
            calls_s += self.screen.guard_timeout_s
        return calls_s + self.kafka.delivery_timeout_s + self.kafka.commit_interval_s + 30

    def masked(self) -> dict[str, Any]:
        """The tree as JSON values, with secrets as stars."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """Digest of the masked tree: two workers with the same digest run the same settings."""
        canonical = orjson.dumps(self.masked(), option=orjson.OPT_SORT_KEYS)
        return f"sha256:{hashlib.sha256(canonical).hexdigest()}"


def variable(*names: str) -> str:
    """The environment's name of a setting, or of a section, given the names on the way to it."""
    return f"{_PREFIX}{_NESTED.join(names)}".upper()


def read_tree(path: Path | None) -> dict[str, Any]:
    """What a YAML file of settings says, not validated yet; nothing without a file.

    Raises:
        SettingsError: The file cannot be read, or is no mapping.
    """
    if path is None:
        return {}
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise SettingsError(
            f"{path}: cannot be read ({error.strerror}); check the name and your rights"
        ) from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is no UTF-8 text; save the file as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        # Nothing of what the library says: its words quote the file, and a password may stand there.
        raise SettingsError(f"{path}{_yaml_fault(error)}") from None
    except (yaml.YAMLError, RecursionError, ValueError, OverflowError) as error:
        # The last two are PyYAML's as well: a day that no month has, a number of 5,000 digits.
        raise SettingsError(
            f"{path}: cannot be read as YAML ({type(error).__name__}); fix or leave out"
        ) from error
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: must be a mapping of sections, such as `kafka:`")
    for name in tree:
        # One underscore first would be an option of the library that reads settings.
        if not isinstance(name, str) or name.startswith("_"):
            raise SettingsError(
                f"{path}: {neutral(str(name))}: no such setting{_meant(str(name), list(Settings.model_fields))}"
            )
    return tree


def _yaml_fault(error: yaml.MarkedYAMLError) -> str:
    """Where the file ceases to be YAML, and what may be wrong there."""
    mark, begun = error.problem_mark, error.context_mark
    line = f":{mark.line + 1}" if mark is not None else ""
    if isinstance(error, yaml.composer.ComposerError | yaml.constructor.ConstructorError):
        return f"{line}: a value begins with a sign that YAML gives a meaning (* ! & % @ `); put it in quotes"
    since = f", in what begins in line {begun.line + 1}" if begun is not None else ""
    return (
        f"{line}: this is no YAML{since}: look for a bracket, a quote, a colon or an indentation that is missing or too many; "
        "put a value in quotes that begins with one of * ! & % @ `"
    )


def load_settings(path: Path | None = None, *, library: bool = False, **sections: Any) -> Settings:
    """Read settings from a YAML file (if given), then the environment.

    Args:
        path: YAML file with the tree of :class:`Settings`.
        library: True in somebody else's process, whose own variables may begin as ours do: those that are no
            setting are passed over.
        sections: Whole sections that replace those of the file; the environment still wins.

    Raises:
        SettingsError: A file that cannot be read, an unknown key, a value out of range, or two
            settings that do not fit together; every fault is named.
    """
    tree = read_tree(path)
    _refuse_unknown_variables(library=library)
    try:
        settings = Settings(**{**tree, **sections})
    except (EnvironmentFault, RecursionError) as error:
        raise SettingsError(
            f"a whole section in one variable must be JSON ({error}); "
            f"or set its keys one by one, such as {variable('kafka', 'group')}"
        ) from error
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        # Without its cause, whose message quotes what was given: a password may be among it.
        raise SettingsError("; ".join(map(_sentence, faults))) from None
    for name, section in settings:
        try:
            orjson.dumps(section.model_dump(mode="json"))
        except (TypeError, PydanticSerializationError) as error:
            raise SettingsError(f"{name}: holds characters that are no UTF-8; write plain text") from error
    return settings


def _refuse_unknown_variables(*, library: bool) -> None:
    """A misspelt section, or one underscore for two, would otherwise be passed over in silence.

    What Kubernetes sets for a service of this name is let through, such as ``SLUICEGATE_PORT``.
    """
    meant = {
        f"{section}_{key}".upper(): variable(section, key)
        for section, field in Settings.model_fields.items()
        for key in getattr(field.annotation, "model_fields", ())
    }
    for name in os.environ:
        if name.upper().startswith(_PREFIX) and (right := meant.get(name.upper().removeprefix(_PREFIX))):
            raise SettingsError(f"{name}: section and key are joined by two underscores: {right}")
        section = name.upper().removeprefix(_PREFIX).partition(_NESTED)[0].lower()
        if name.upper().startswith(_PREFIX) and section in _GONE:
            raise SettingsError(f"{name}: {_GONE[section]}")
        if name.upper().startswith(_PREFIX) and _NESTED in name and section not in Settings.model_fields:
            raise SettingsError(
                f"{name}: no section {section!r}{_meant(section, list(Settings.model_fields))}"
            )
        alone = name.upper().startswith(_PREFIX) and section not in Settings.model_fields
        if (
            alone
            and not library
            and name.upper() not in _OTHER_VARIABLES
            and not _OF_KUBERNETES.fullmatch(name.upper())
        ):
            raise SettingsError(
                f"{name}: no such setting; the name of a setting looks like {variable('kafka', 'group')}: "
                "correct it, or unset the variable"
            )


def _sentence(fault: ErrorDetails) -> str:
    place = neutral(".".join(str(part) for part in fault["loc"])) or "settings"
    if fault["type"] != "extra_forbidden":
        return f"{place}: {fault['msg'].removeprefix('Value error, ')}"
    if place in _GONE:
        return f"{place}: {_GONE[place]}"
    kind: Any = Settings
    for section in fault["loc"][:-1]:
        # Below `engine.adapters` come names that the user chose, each with the same settings.
        kind = (
            kind.model_fields[str(section)].annotation if hasattr(kind, "model_fields") else get_args(kind)[1]
        )
    known = list(kind.model_fields)
    return f"{place}: no such setting{_meant(str(fault['loc'][-1]), known)}"


def _meant(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"
