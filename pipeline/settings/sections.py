"""The sections of the settings: each field with its default, range and meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from sluicegate.pipeline.policy.document import TenantName
from sluicegate.pipeline.policy.rules import AdapterName
from sluicegate.pipeline.settings.adapters import Adapters, lacking, password_in
from sluicegate.pipeline.settings.security import SecuritySettings
from sluicegate.schemas.codec import POST_BYTES


class ScreenSettings(BaseModel):
    """The screen: a small guard before the large one. It answers what it is sure of. The policy says for which tenants."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path | None = Field(
        None,
        description="Folder with the small guard's measurement, guard.json; without one there is no screen.",
    )
    digest: str | None = Field(None, description="Pinned digest: another screen is refused.")
    guard: AdapterName | None = Field(
        None,
        description="The small guard: it is measured in screen.path, and served as this one of engine.adapters.",
    )
    guard_timeout_s: float = Field(
        2.0,
        gt=0,
        le=10,
        description="Posts that the small guard has not answered by then go to the large one.",
    )
    sample_share: float = Field(
        0.01,
        ge=0,
        le=1,
        description="The engine judges this share of its answers instead, and both are compared.",
    )
    off_confidence: float = Field(
        0.999,
        ge=0.9,
        lt=1,
        description="Every worker switches it off at this certainty that more of its allows are wrong than tolerated.",
    )
    off_samples: int = Field(
        10_000, ge=100, le=10_000_000, description="After this number of samples the count begins again."
    )

    @model_validator(mode="after")
    def _pins_something(self) -> Self:
        if self.digest is not None and self.path is None:
            raise ValueError(
                "screen.digest pins a screen, and there is none: give screen.path, for example /screens/guard, "
                "or leave screen.digest out"
            )
        if self.guard is not None and self.path is None:
            raise ValueError(
                "screen.guard names a small guard that nobody measured: give screen.path, for example "
                "/screens/guard, or leave screen.guard out"
            )
        return self


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
    instance_id: TopicName | None = Field(
        None,
        description="Name of this worker in the group, of its own: with it a restart within session_timeout_s keeps "
        "its partitions. Not on the embedded broker.",
    )
    session_timeout_s: Seconds = Field(
        20, description="After a crash, that worker's partitions stay idle for this long."
    )
    rebalance_timeout_s: Seconds = Field(
        90, description="Time that a worker has to hand over its partitions. Keep it above drain.finish_s."
    )
    commit_interval_s: Seconds = Field(
        1.0, description="How often offsets are committed. After a crash, the work of this time is repeated."
    )
    delivery_timeout_s: Seconds = Field(
        30, description="A verdict not delivered by then is a hold. It is sent again."
    )
    security: SecuritySettings = SecuritySettings()

    @field_validator("bootstrap_servers")
    @classmethod
    def _addresses(cls, servers: str) -> str:
        given = [one.strip() for one in servers.split(",") if one.strip()]
        for one in given:
            host, colon, port = ("", "", one) if one.endswith("]") else one.rpartition(":")
            number = int(port) if port.isascii() and port.isdecimal() else 0
            if colon and not (host and 0 < number < 65_536):
                raise ValueError(f"{one!r} is no host:port, such as 127.0.0.1:9092; the port is 1 to 65535")
        if not given:
            raise ValueError("names no broker; give host:port, such as 127.0.0.1:9092")
        return servers


class TopicSettings(_Section):
    """Names of the topics; ``sluicegate topics plan`` prints them with partitions, retention and rights."""

    posts: TopicName = Field("posts", description="Posts come in here.")
    allow: TopicName = Field("verdicts.allow", description="Verdicts whose action is allow.")
    review: TopicName = Field("verdicts.review", description="Verdicts whose action is review.")
    block: TopicName = Field("verdicts.block", description="Verdicts whose action is block.")
    resolutions: TopicName = Field(
        "resolutions", description="What people decided; only the review desk writes it."
    )
    feedback: TopicName = Field(
        "feedback",
        description="Posts with what a person found, to learn from; only the review desk writes it.",
    )
    shadow: TopicName = Field(
        "verdicts.shadow",
        description="Verdicts of a candidate, which act on nothing; only a shadow writes it.",
    )
    comparisons: TopicName = Field(
        "comparisons",
        description="Posts that people shall judge blindly, since a candidate judged them, too; only the comparator writes it.",
    )
    candidates: TopicName = Field(
        "candidates",
        description="History of every candidate: signed facts, in their order. It is not compacted.",
    )
    patterns: TopicName = Field(
        "patterns",
        description="Signed feeds of threat patterns, where a circle shares them on a topic (docs/patterns.md).",
    )
    dead_letter: TopicName = Field("posts.deadletter", description="Records that can never be judged.")
    control: TopicName = Field(
        "sluicegate.control",
        description="State that outlives a process: replayed dead letters, tripped breakers. It is compacted.",
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        seen: dict[str, str] = {}
        for setting, name in self.model_dump().items():
            if name in seen:
                raise ValueError(
                    f"topics.{seen[name]} and topics.{setting} are both {name!r}; every topic has a name of "
                    f"its own, for example {name} and {name}.{setting}"
                )
            seen[name] = setting
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
        None, description="Folder of the engine bundle. llama_cpp finds the fetched one by itself."
    )
    digest: str | None = Field(None, description="Pinned bundle digest: another bundle is refused.")
    url: str | None = Field(
        None, description="completions: base URL of the server, such as http://127.0.0.1:8000."
    )
    dialect: Literal["openai", "vllm", "sglang", "trtllm", "trtllm_chat", "llama_cpp"] = Field(
        "openai", description="completions: the kind of server, which decides small differences of requests."
    )
    model: str | None = Field(
        None,
        description="completions: what the server calls the model. llama_cpp without a bundle: the CPU model, smollm2-135m or qwen2.5-0.5b; the former without.",
    )
    api_key: SecretStr | None = Field(None, description="completions: bearer token, if the server wants one.")
    concurrency: int | None = Field(
        None,
        ge=1,
        le=4096,
        description="completions: most prompts in work at once. Default: twice what the bundle's serving.json says of one step, or 8.",
    )
    slots: int = Field(4, ge=1, le=64, description="llama_cpp: prompts in work at once.")
    threads: int = Field(0, ge=0, le=1024, description="llama_cpp: CPU threads; 0 takes every core.")
    score_timeout_s: Seconds = Field(
        30, description="A micro-batch that has no scores by then gets its failure mode."
    )
    explain_timeout_s: Seconds = Field(
        60, description="Explanations that are not there by then are left out, with a code."
    )
    circuit_mute_calls: int = Field(
        5,
        ge=1,
        le=10_000,
        description="If this number of calls in a row time out or fail as a whole, nothing is sent until the engine is well.",
    )
    circuit_pause_s: float = Field(
        0.2, gt=0, le=60, description="Pause before its health is asked. It doubles up to 5 s."
    )
    in_work_folder: Path | None = Field(
        None,
        description="tensorrt_llm: where a worker notes what is in work, to be read after a crash. It must outlive a restart. Default: a folder in the system's temporary folder.",
    )
    fake_profile: Path | None = Field(
        None, description="fake: JSON file with the latency model and fault switches."
    )
    adapter_wait_s: Seconds = Field(
        300,
        description="If an adapter's engine is away for longer while another is at work, its posts get their failure mode.",
    )
    adapters: Adapters = Field(
        default_factory=dict, description="Adapters that a policy may name, each with where it is served."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.backend == "completions" and (self.url is None or self.bundle is None):
            raise ValueError(
                "engine.backend 'completions' needs engine.url and engine.bundle; "
                "for example url http://127.0.0.1:8000 and bundle /bundles/guard"
            )
        lacks = lacking(self.backend, self.dialect, self.model, self.adapters)
        if fault := password_in(self.url, "engine.url") or lacks:
            raise ValueError(fault)
        return self


class PolicySettings(_Section):
    """Which policy decides."""

    path: Path | None = Field(None, description="Policy file; without one the built-in policy decides.")


class WindowSettings(_Section):
    """How much stands between the take and the acknowledgement: the back-pressure."""

    posts: int = Field(4096, ge=1, le=1_000_000, description="Most posts held at once.")
    bytes: int = Field(64 * 2**20, ge=2**20, description="Most bytes of records held at once.")


class MicroBatchSettings(_Section):
    """How posts are sent to the engine together."""

    posts: int | None = Field(
        None,
        ge=1,
        le=65_536,
        description="Most posts in one. By default, what saturates the engine.",
    )
    tokens: int = Field(16_384, ge=1, description="Most tokens in one. A longer post goes alone.")
    max_age_ms: float | None = Field(
        None,
        ge=0,
        le=60_000,
        description="A post waits no longer for company. By default it waits while the engine has enough to do, for two answers' time at most, or half of one's where the engine works at all calls together.",
    )
    in_flight: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Micro-batches in work at once. By default enough to keep the engine saturated, found from its answers.",
    )


class NearDuplicateSettings(_Section):
    """Findings reused for texts that differ in nothing that could carry meaning."""

    enabled: bool = Field(
        default=False, description="Answer near duplicates of a judged post without asking the engine."
    )
    entries: int = Field(20_000, ge=1, le=10_000_000, description="Most findings kept.")
    bytes: int = Field(
        32 * 2**20, ge=2**16, description="Most bytes of findings kept, by a cautious estimate."
    )
    ttl_s: Seconds = Field(
        3600,
        description="A finding is reused for this long after it was learned, from the engine or the exact cache.",
    )
    confidence: float = Field(
        0.9,
        ge=0.5,
        le=1,
        description="A finding is reused only if its likeliest severity has this probability or more.",
    )


class CacheSettings(_Section):
    """The assessment cache."""

    entries: int = Field(
        100_000, ge=0, description="Most assessments kept, within cache.bytes; 0 turns it off."
    )
    bytes: int = Field(
        128 * 2**20, ge=2**16, description="Most bytes of them in memory: about 0.4 to 1.3 KiB each."
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis in which all workers share findings. Without it, each keeps its own."
    )
    redis_timeout_ms: float = Field(
        20, gt=0, le=1000, description="A chunk of posts waits no longer for Redis. A later answer is a miss."
    )
    redis_ttl_s: int = Field(
        86_400, ge=1, le=31_536_000, description="Redis forgets a finding after this time."
    )
    near_duplicates: NearDuplicateSettings = NearDuplicateSettings()

    @model_validator(mode="after")
    def _shared_has_a_front(self) -> Self:
        if self.redis_url is not None and not self.entries:
            raise ValueError(
                "cache.redis_url needs cache.entries above 0, where findings are kept for the posts at hand; "
                "for example 1000"
            )
        return self


class LimitSettings(_Section):
    """Limits on what comes in and what goes out."""

    post_bytes: int = Field(
        POST_BYTES, ge=1024, description="A record with a longer value is a dead letter (oversize), unread."
    )
    post_tokens: int = Field(
        32_768, ge=1, description="A text with more tokens is too_long; longer prompts are cut into segments."
    )
    segments: int = Field(64, ge=1, le=1024, description="A text that needs more segments is too_long.")
    folded_forms: bool = Field(
        default=True,
        description="Judge a post's folded form, too, where it differs in substance. The higher risk decides.",
    )
    dead_letter_bytes: int = Field(
        512 * 1024, ge=0, description="Most bytes of a dead record's payload that are kept."
    )


class DrainSettings(_Section):
    """What a worker may take when it is told to stop, or loses partitions; in seconds."""

    budget_s: Seconds = Field(
        50, description="Time for the whole drain. Keep the pod's grace period above it."
    )
    finish_s: Seconds = Field(
        25, description="Time to finish what is in flight. The rest is released unacknowledged."
    )
    flush_s: Seconds = Field(10, description="Time to deliver the verdicts that the producer has.")
    leave_s: Seconds = Field(10, description="Time to commit, leave the group and stop the engine.")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        parts = self.finish_s + self.flush_s + self.leave_s
        if parts > self.budget_s:
            raise ValueError(
                f"drain.finish_s + drain.flush_s + drain.leave_s = {parts:g} exceeds drain.budget_s = "
                f"{self.budget_s:g}; raise drain.budget_s to {parts:g}, and the pod's grace period above it"
            )
        return self


class PatternSettings(_Section):
    """Threat patterns shared between institutions. Without a path there are none, and nothing is compared."""

    path: Path | None = Field(
        None,
        description="Folder with the circle's file, the feeds taken in and the journal (docs/patterns.md).",
    )
    tenants: Annotated[tuple[TenantName, ...], Field(strict=False)] = Field(
        (),
        description="Tenants that opted in: their posts are compared, and what is confirmed of theirs may leave.",
    )

    @model_validator(mode="after")
    def _has_both(self) -> Self:
        if (self.path is None) != (not self.tenants):
            raise ValueError(
                "patterns.path and patterns.tenants go together, as nothing is shared for a tenant that did not opt in; "
                'for example path /patterns and tenants ["default"], or leave out both'
            )
        return self


class OpsSettings(_Section):
    """The port of /livez, /readyz and /metrics."""

    host: str = Field("127.0.0.1", description="Address to listen on. In a pod, take 0.0.0.0.")
    port: Port = Field(8080, description="Port to listen on. 0 takes a free one, and the log says which.")


class TracingSettings(_Section):
    """Spans for OpenTelemetry. OTEL_* variables set what is not here, such as the sampler."""

    enabled: bool = Field(
        default=False, description="Send spans of every sampled post; needs the extra `otel`."
    )
    endpoint: str | None = Field(
        None,
        pattern=r"^https?://",
        description="OTLP over HTTP, such as http://collector:4318/v1/traces; without one OTEL_EXPORTER_OTLP_* decide.",
    )

    @model_validator(mode="after")
    def _open(self) -> Self:
        if self.endpoint is not None and "@" in self.endpoint.partition("://")[2].partition("/")[0]:
            raise ValueError(
                "tracing.endpoint is shown in logs and must hold no password; set tracing.endpoint to "
                "http://collector:4318/v1/traces and the variable OTEL_EXPORTER_OTLP_HEADERS to the credentials"
            )
        return self


class LogSettings(_Section):
    """Logs: JSON lines on stderr. No level ever shows the text of a post."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level shown.")
