"""One tree of settings, from defaults, a YAML file and the environment, in that order of precedence.

Environment names are ``SLUICEGATE_`` and the path with double underscores, such as
``SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS``. Parsed and validated once, then frozen and passed down.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import orjson
import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from sluicegate.pipeline.errors import SettingsError
from sluicegate.schemas.codec import POST_BYTES

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Port = Annotated[int, Field(ge=0, le=65_535)]
TopicName = Annotated[
    str, Field(min_length=1, max_length=249, pattern=r"^[A-Za-z0-9._-]+$")
]  # Kafka's own rule


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Section):
    """The cluster and this group's place in it."""

    bootstrap_servers: str = Field(
        "127.0.0.1:9092", description="Brokers to ask first, as host:port, by commas."
    )
    group: str = Field("sluicegate", description="Consumer group of the workers.")
    session_timeout_s: Seconds = Field(45, description="After a crash, partitions stay idle for so long.")
    rebalance_timeout_s: Seconds = Field(
        90, description="A worker has so long to hand over; above drain.finish_s."
    )
    commit_interval_s: Seconds = Field(
        1.0, description="After a crash, so many seconds of work are repeated."
    )
    delivery_timeout_s: Seconds = Field(
        30, description="A verdict not delivered by then is a hold, and sent again."
    )


class TopicSettings(_Section):
    """Names of the topics; ``sluicegate topics plan`` prints them with partitions, retention and rights."""

    posts: TopicName = Field("posts", description="Posts in.")
    allow: TopicName = Field("verdicts.allow", description="Verdicts whose action is allow.")
    review: TopicName = Field("verdicts.review", description="Verdicts whose action is review.")
    block: TopicName = Field("verdicts.block", description="Verdicts whose action is block.")
    dead_letter: TopicName = Field("posts.deadletter", description="Records that can never be judged.")
    control: TopicName = Field("sluicegate.control", description="State that workers share; compacted.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = list(self.model_dump().values())
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"topic {twice[0]!r} is used twice; give every topic its own name")
        return self

    @property
    def outputs(self) -> tuple[str, str, str, str]:
        """The topics that this worker writes: allow, review, block, dead letter."""
        return self.allow, self.review, self.block, self.dead_letter


class EngineSettings(_Section):
    """Which engine judges."""

    backend: Literal["llama_cpp", "completions", "tensorrt_llm", "fake"] = Field(
        "llama_cpp",
        description="llama_cpp needs nothing but Python; completions is any OpenAI-completions server.",
    )
    bundle: Path | None = Field(
        None, description="Folder of the engine bundle; llama_cpp finds the fetched one."
    )
    digest: str | None = Field(None, description="Pinned bundle digest: another bundle is refused.")
    url: str | None = Field(
        None, description="completions: base URL of the server, such as http://127.0.0.1:8000."
    )
    dialect: Literal["openai", "vllm", "trtllm", "llama_cpp"] = Field(
        "openai", description="completions: which server's small differences to speak."
    )
    api_key: SecretStr | None = Field(None, description="completions: bearer token, if the server wants one.")
    concurrency: int = Field(8, ge=1, le=4096, description="completions: most requests in work at once.")
    slots: int = Field(4, ge=1, le=64, description="llama_cpp: prompts in work at once.")
    threads: int = Field(0, ge=0, le=1024, description="llama_cpp: CPU threads; 0 takes every core.")
    score_timeout_s: Seconds = Field(
        30, description="A micro-batch without scores by then gets its failure mode."
    )
    explain_timeout_s: Seconds = Field(
        60, description="Explanations not there by then are left out, with a code."
    )
    fake_profile: Path | None = Field(
        None, description="fake: JSON file with the latency model and fault switches."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.backend == "completions" and (self.url is None or self.bundle is None):
            raise ValueError(
                "engine.backend 'completions' needs engine.url and engine.bundle; "
                "for example url http://127.0.0.1:8000 and bundle /bundles/guard"
            )
        return self


class PolicySettings(_Section):
    """Who decides."""

    path: Path | None = Field(None, description="Policy file; without one the built-in policy decides.")


class WindowSettings(_Section):
    """How much stands between the take and the acknowledgement: the back-pressure."""

    posts: int = Field(4096, ge=1, le=1_000_000, description="Most posts held at once.")
    bytes: int = Field(64 * 2**20, ge=2**20, description="Most bytes of records held at once.")


class MicroBatchSettings(_Section):
    """How posts are sent to the engine together."""

    posts: int | None = Field(
        None, ge=1, le=65_536, description="Most posts in one; default: what saturates the engine."
    )
    tokens: int = Field(16_384, ge=1, description="Token budget of one; a longer post goes alone.")
    max_age_ms: float = Field(10, ge=0, le=60_000, description="A post waits no longer for company.")
    in_flight: int = Field(3, ge=1, le=256, description="Micro-batches in work at once.")


class CacheSettings(_Section):
    """The assessment cache."""

    entries: int = Field(
        100_000, ge=0, description="Most assessments kept, about 1 KiB each; 0 turns it off."
    )


class LimitSettings(_Section):
    """Limits on what comes in and what goes out."""

    post_bytes: int = Field(
        POST_BYTES, ge=1024, description="A longer record is a dead letter (oversize), unread."
    )
    post_tokens: int = Field(
        32_768, ge=1, description="A text with more tokens is too_long; longer prompts are cut into segments."
    )
    segments: int = Field(64, ge=1, le=1024, description="A text that needs more segments is too_long.")
    dead_letter_bytes: int = Field(
        512 * 1024, ge=0, description="So much of a dead record's payload is kept."
    )


class DrainSettings(_Section):
    """What a worker may take when it is told to stop, or loses partitions; in seconds."""

    budget_s: Seconds = Field(50, description="The whole; keep the pod's grace period above it.")
    finish_s: Seconds = Field(
        25, description="To finish what is in flight; the rest is released unacknowledged."
    )
    flush_s: Seconds = Field(10, description="To deliver the verdicts already handed to the producer.")
    leave_s: Seconds = Field(10, description="To commit, leave the group and stop the engine.")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        parts = self.finish_s + self.flush_s + self.leave_s
        if parts > self.budget_s:
            raise ValueError(
                f"drain.finish_s + drain.flush_s + drain.leave_s = {parts:g} exceeds drain.budget_s = "
                f"{self.budget_s:g}; raise drain.budget_s to {parts:g}, and the pod's grace period above it"
            )
        return self


class OpsSettings(_Section):
    """The port of /livez, /readyz and /metrics."""

    host: str = Field("127.0.0.1", description="Address to listen on; in a pod 0.0.0.0.")
    port: Port = Field(8080, description="0 takes a free one; the log says which.")


class LogSettings(_Section):
    """Logs: JSON lines on stderr. No level ever shows the text of a post."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level shown.")


class Settings(BaseSettings):
    """All settings of a worker and of the commands."""

    model_config = SettingsConfigDict(
        env_prefix="SLUICEGATE_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
    )

    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    engine: EngineSettings = EngineSettings()
    policy: PolicySettings = PolicySettings()
    window: WindowSettings = WindowSettings()
    micro_batch: MicroBatchSettings = MicroBatchSettings()
    cache: CacheSettings = CacheSettings()
    limits: LimitSettings = LimitSettings()
    drain: DrainSettings = DrainSettings()
    ops: OpsSettings = OpsSettings()
    log: LogSettings = LogSettings()

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

        The slowest allowed calls, one commit, and a margin for a busy machine.
        """
        return self.engine.score_timeout_s + self.engine.explain_timeout_s + self.kafka.commit_interval_s + 30

    def masked(self) -> dict[str, Any]:
        """The tree as JSON values, with secrets as stars."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """Digest of the masked tree: two workers with the same digest run the same settings."""
        canonical = orjson.dumps(self.masked(), option=orjson.OPT_SORT_KEYS)
        return f"sha256:{hashlib.sha256(canonical).hexdigest()}"


def load_settings(path: Path | None = None, **sections: Any) -> Settings:
    """Read settings from a YAML file (if given), then the environment.

    Args:
        path: YAML file with the tree of :class:`Settings`.
        sections: Whole sections that replace those of the file; the environment still wins.

    Raises:
        SettingsError: A file that cannot be read, an unknown key, a value out of range, or two
            settings that do not fit together; every fault is named.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        try:
            tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SettingsError(
                f"{path}: cannot be read as YAML ({type(error).__name__}); fix or leave out"
            ) from error
        if not isinstance(tree, dict):
            raise SettingsError(f"{path}: must be a mapping of sections, such as `kafka:`")
    try:
        return Settings(**{**tree, **sections})
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or 'settings'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise SettingsError("; ".join(faults)) from error
