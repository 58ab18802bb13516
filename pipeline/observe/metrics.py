"""Metrics of a worker, in a registry of their own. Names and meanings are documented in docs/operations.md."""

from __future__ import annotations

import platform
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, get_args

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from sluicegate import __version__
from sluicegate.engines.protocol import EngineInfo
from sluicegate.pipeline.clock import AHEAD_S, OLDEST_S
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Action, AssessedBy, DeadLetter, MadeVerdict, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping


# From an idle GPU (a few ms) to a long hold, in steps of about 2.
_LATENCY_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
# From an idle GPU to the longest time-out of a call.
_CALL_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_POWERS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384, 32_768)
_LABEL_VALUES = 200  # a producer's invention must not grow the label set without bound
_OTHER = "other"
CIRCUIT = ("closed", "open", "half_open")
"""States of an engine as `sluicegate_engine_circuit` shows them: up, away, on trial."""

_Kind: TypeAlias = "tuple[str, str | None, Action, AssessedBy]"
"""Tenant, language, action and who assessed: what nearly all verdicts are counted by."""
_Series: TypeAlias = "tuple[Counter, tuple[str, ...]]"
"""A metric, and the values of its labels."""


class _Bounded:
    """Lets the first values of a label through and calls the rest ``other``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: set[str] = set()
        self._reserved: frozenset[str] = frozenset()

    def reserve(self, values: Iterable[str]) -> None:
        """Let these through whatever came before them; of more than the limit, the first by the alphabet."""
        self._reserved = frozenset(sorted(values)[: self._limit])

    def __call__(self, value: str) -> str:
        if value not in self._known and value not in self._reserved:
            if len(self._known) + len(self._reserved) >= self._limit:
                return _OTHER
            self._known.add(value)
        return value


class ReadCounter(Collector):
    """A counter that somebody else keeps: its value is read when it is scraped."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._name, self._documentation = name, documentation
        self._read: Callable[[], float] = float
        registry.register(self)

    def set_function(self, read: Callable[[], float]) -> None:
        """Take the value from here; it never falls."""
        self._read = read

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The value now."""
        yield CounterMetricFamily(self._name, self._documentation, value=self._read())

    def describe(self) -> list[CounterMetricFamily]:
        """It without its value."""
        return [CounterMetricFamily(self._name, self._documentation)]


class _Maker:
    """Makes metrics for a registry, and keeps the labels of each, which the client tells nobody."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self.labels: dict[str, tuple[str, ...]] = {}
        """By name, without what the client adds to it."""

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(self._named(name, labels), text, labels, registry=self._registry)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(self._named(name, labels), text, labels, registry=self._registry)

    def histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(self._named(name, labels), text, labels, buckets=buckets, registry=self._registry)

    def _named(self, name: str, labels: tuple[str, ...]) -> str:
        whole = f"sluicegate_{name}"
        self.labels[whole] = labels
        return whole


class Metrics:
    """Everything that a worker counts, and what its process uses.

    The client's second series for each counter, the time of its making, is switched off in the whole process.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it alone has no types there
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._tenant, self._category, self._language = (_Bounded(_LABEL_VALUES) for _ in range(3))
        self._opened: set[str] = set()
        make = _Maker(registry)
        counter, gauge, histogram, self.labels = make.counter, make.gauge, make.histogram, make.labels

        self.taken = counter("records_taken", "Records taken from the input topic.")
        self.records_missed = counter(
            "records_missed",
            "Offsets that left the input topic before this group read them: an alarm.",
            "topic",
        )
        self.tombstones = counter("tombstones", "Records without a value: counted and skipped.")
        self.verdicts = counter("verdicts", "Verdicts delivered.", "tenant", "action", "assessed_by")
        self.categories = counter("verdict_categories", "Categories on delivered verdicts.", "category")
        self.languages = counter("verdict_languages", "Verdicts by language hint.", "language", "action")
        self.dead_letters = counter("dead_letters", "Dead letters delivered.", "code")
        self.failures = counter("failures", "Verdicts by failure mode.", "tenant", "code", "mode")
        self._add_explanations(counter)
        self.folded_parts = counter(
            "folded_parts",
            "Parts judged in a folded form beside the original, by who found it.",
            "assessed_by",
        )
        self.folded_verdicts = counter(
            "folded_verdicts", "Verdicts that a folded form decided, by rule that fired.", "rule"
        )
        self.cache_hits = counter("cache_hits", "Posts that needed no judgement of their own.", "how")
        self.shared_cache_errors = counter("shared_cache_errors", "Faults of the shared cache.", "call")
        self.produce_to_verdict = histogram(
            "produce_to_verdict_seconds",
            "From the record's timestamp to the delivered verdict, up to seven days.",
            _LATENCY_S,
        )
        self.micro_batch_posts = histogram("micro_batch_posts", "Judgements per micro-batch.", _POWERS)
        self.micro_batch_tokens = histogram("micro_batch_tokens", "Prompt tokens per micro-batch.", _TOKENS)
        self.prompt_tokens = counter("prompt_tokens", "Tokens of scored prompts.")
        self.cached_tokens = counter("cached_prompt_tokens", "Of those, served by the engine's prefix cache.")
        self._add_engine(counter, gauge, histogram)
        self.released = counter("released", "Posts given back unacknowledged in a drain.")
        self.oldest_post = gauge(
            "oldest_post_seconds",
            "Age of the oldest post without an answer in this worker's partitions, on the topic or held: an estimate.",
        )
        self.window_posts = gauge("window_posts", "Posts held in the window.")
        self.window_bytes = gauge("window_bytes", "Bytes held in the window.")
        self.patterns = gauge("shared_patterns", "Shared patterns that posts are compared with.")
        self.pattern_matches = counter(
            "pattern_matches",
            "Posts that the policy allows and that match a shared pattern: raised to review, or over the budget of a "
            "pattern that nobody here has confirmed; or a fault of the comparison.",
            "outcome",
        )
        self.cache_entries = gauge("cache_entries", "Assessments in the cache.")
        self.hold = gauge("hold", "1 while the stream waits for this.", "name")
        self.partitions = gauge("partitions_assigned", "Partitions this worker reads.")
        self.rebalances = counter("rebalances", "Times that the group gave this worker an assignment.")
        self.breaker_open = gauge(
            "block_breaker_open", "1 while a tenant's blocks are withheld: an alarm.", "tenant"
        )
        self.breaker_trips = counter("block_breaker_trips", "Block-volume breakers that tripped here.")
        self.blocks_withheld = counter(
            "block_breaker_withheld", "Blocks delivered as review by an open breaker.", "tenant"
        )
        self.control_followed = gauge(
            "control_topic_followed", "1 while trips and resets of breakers reach this worker."
        )
        self.control_refused = counter(
            "control_records_refused", "Records of the control topic that are not what they claim."
        )
        self.policy_reloads = counter("policy_reloads", "Changed policy files taken up.")
        self.policy_reload_failed = gauge(
            "policy_reload_failed", "1 while the policy file cannot be used and an older one is in force."
        )
        self.policy_for_other_engines = gauge(
            "policy_for_other_engines",
            "1 while the policy file is for other engines than this worker's: it keeps an older one, or takes no posts.",
        )
        self.log_lines_dropped = counter("log_lines_dropped", "Log lines that could not be written.")
        self._add_screens_and_stamps(counter, gauge)
        self._add_candidate(counter, gauge)
        for name in ("engine", "publish", "input", "login"):
            self.hold.labels(name).set(0)
        self._show_circuit(CIRCUIT[0])

    def _add_engine(
        self,
        counter: Callable[..., Counter],
        gauge: Callable[..., Gauge],
        histogram: Callable[..., Histogram],
    ) -> None:
        self.engine_seconds = counter("engine_call_seconds", "Wall time of engine calls.", "call")
        self.engine_call_duration = histogram(
            "engine_call_duration_seconds", "Wall time of each engine call.", _CALL_S, "call"
        )
        self.saturated_seconds = ReadCounter(
            "sluicegate_engine_saturated_seconds", "Seconds in which the engine was saturated.", self.registry
        )
        self.busy_seconds = gauge(
            "engine_busy_seconds", "The older name of `sluicegate_engine_saturated_seconds_total`."
        )
        self.in_work = gauge("engine_prompts_in_work", "Prompts in the engine now.")
        self.prompts_limit = gauge(
            "engine_prompts_limit",
            "Another micro-batch is sent while fewer prompts are in the engine: found from its answers.",
        )
        self.circuit = gauge("engine_circuit", "1 for the state of the engine's circuit breaker.", "state")
        self.circuit_changes = counter(
            "engine_circuit_changes", "Times that a circuit breaker of an engine took this state.", "state"
        )
        self.adapter_circuit = gauge(
            "adapter_circuit",
            "1 for the state of the circuit breaker of an adapter's engine.",
            "adapter",
            "state",
        )
        self.adapters = gauge("adapter_in_service", "1 for each adapter in service.", "adapter", "digest")

    def _add_explanations(self, counter: Callable[..., Counter]) -> None:
        self.explanation_failures = counter(
            "explanation_failures", "Verdicts without the explanation asked for.", "code"
        )
        self.explanations = counter(
            "explanations",
            "Verdicts with an explanation, by the severity that it was made to begin with.",
            "explained_as",
        )
        for severity in get_args(
            Severity
        ):  # from 0: where every explanation fails there are none to compare with
            self.explanations.labels(severity)

    def _add_candidate(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        self.candidate_state = gauge(
            "candidate_state", "1 for the state of the candidate that this worker knows of.", "state"
        )
        self.candidate_acts = gauge(
            "candidate_acts", "Share of the posts on which the candidate acts here; 0 where it acts on none."
        )
        self.candidate_followed = gauge(
            "candidate_followed", "1 while facts about the candidate reach this worker."
        )
        self.candidate_barred = gauge(
            "candidate_barred", "1 while facts let the candidate act, and this worker does not: an alarm."
        )
        self.candidate_posts = counter(
            "candidate_posts", "Posts that the candidate was given in place of the incumbent."
        )
        self.candidate_facts_refused = counter(
            "candidate_facts_refused",
            "Facts about the candidate that count for nothing, such as unsigned ones.",
        )

    def _add_screens_and_stamps(self, counter: Callable[..., Counter], gauge: Callable[..., Gauge]) -> None:
        self.screen_samples = counter(
            "screen_samples",
            "Answers of the screen that the engine judged instead, by what either says.",
            "screen",
            "engine",
        )
        for said in (Action.ALLOW, Action.BLOCK):
            for judged in Action:  # from 0, or the first of each would be no increase
                self.screen_samples.labels(said.value, judged.value)
        self.screen_faults = counter("screen_faults", "Chunks of posts that the screen failed on.")
        self.screen_off = gauge(
            "screen_off", "1 while this worker's screen is switched off for errors: an alarm."
        )
        self.screen_guard_away = gauge(
            "screen_guard_away", "1 while the small guard rests after a fault: the engine gets its posts."
        )
        self.screen_guard_barred = gauge(
            "screen_guard_barred",
            "1 while the policy lets the small guard answer nothing: not among its engines, or an adapter that judges.",
        )
        self._build = Info("sluicegate_build", "The package's version, and Python's.", registry=self.registry)
        self._build.info({"version": __version__, "python": platform.python_version()})
        self._engine = Info("sluicegate_engine", "The engine in force.", registry=self.registry)
        self._policy = Info("sluicegate_policy", "The policy in force.", registry=self.registry)
        self.screen = Info("sluicegate_screen", "The screen in force.", registry=self.registry)

    def describe(self, engines: Mapping[str | None, EngineInfo], policy: Policy) -> None:
        """Stamp the engines, by adapter, and the policy in force."""
        for name, engine in engines.items():
            if name is None:
                self._engine.info({"digest": engine.digest, "backend": engine.backend, "model": engine.model})
            else:
                self.adapters.labels(name, engine.digest).set(1)
                self._show_circuit(CIRCUIT[0], name)
        self._stamp(policy)

    def engine_called(self, call: str, seconds: float) -> None:
        """Count a call of the engine, answered or not, by its wall time."""
        self.engine_seconds.labels(call).inc(seconds)
        self.engine_call_duration.labels(call).observe(seconds)

    def rebalanced(self) -> None:
        """Count an assignment that the group gave, the first and an empty one included."""
        self.rebalances.inc()

    def circuit_is(self, state: str, adapter: str | None = None) -> None:
        """Show that the circuit breaker of the engine, or of an adapter's, took a state."""
        self.circuit_changes.labels(state).inc()
        self._show_circuit(state, adapter)

    def _show_circuit(self, state: str, adapter: str | None = None) -> None:
        for one in CIRCUIT:
            shown = self.circuit if adapter is None else self.adapter_circuit
            shown.labels(*([adapter] if adapter is not None else []), one).set(int(one == state))

    def policy_changed(self, policy: Policy) -> None:
        """Count a changed policy file that was taken up."""
        self.policy_reloads.inc()
        self._show_refused()
        self._stamp(policy)

    def policy_refused(self, *, other_engines: bool) -> None:
        """Show that the policy file cannot be used, for a fault of its own or as one for other engines."""
        self._show_refused(failed=not other_engines, other_engines=other_engines)

    def _show_refused(self, *, failed: bool = False, other_engines: bool = False) -> None:
        self.policy_reload_failed.set(int(failed))
        self.policy_for_other_engines.set(int(other_engines))

    def _stamp(self, policy: Policy) -> None:
        self._tenant.reserve(policy.scope.tenants)
        self._policy.info({"name": policy.name, "version": policy.version, "digest": policy.digest})

    def show_breakers(self, tenants: Iterable[str]) -> None:
        """Show whose block-volume breaker is open, and that all others are closed."""
        now_open = {self._tenant(tenant) for tenant in tenants}
        self._opened |= now_open
        for label in self._opened:
            self.breaker_open.labels(label).set(int(label in now_open))

    def count(
        self, delivered: Iterable[tuple[MadeVerdict | DeadLetter, int | None]], *, now_ms: float
    ) -> None:
        """Count what was delivered together: each series is touched once for all that belong to it.

        Args:
            delivered: Each event, with the timestamp of the record that it answers, Unix milliseconds. One older
                than ``OLDEST_S``, or ahead by more than ``AHEAD_S``, gives no latency.
            now_ms: The time of delivery, Unix milliseconds.
        """
        kinds: defaultdict[_Kind, int] = defaultdict(int)
        sums: defaultdict[_Series, int] = defaultdict(int)
        for event, produced_ms in delivered:
            if not isinstance(event, MadeVerdict):
                sums[self.dead_letters, (str(event.code),)] += 1
                continue
            kinds[event.tenant, event.language, event.action, event.assessed_by] += 1
            if event.explained_as or event.categories or event.explanation_failure or event.form_rules:
                self._count_findings(event, sums)
            if event.failure is not None or event.breaker is not None:
                self._count_failures(event, sums)
            if produced_ms is not None:
                age_s = (now_ms - produced_ms) / 1000
                if -AHEAD_S <= age_s <= OLDEST_S:  # one wild timestamp would outweigh all others in the sum
                    self.produce_to_verdict.observe(max(0.0, age_s))
        for (tenant, tag, action, assessed_by), events in kinds.items():
            language = self._language((tag or "unknown").split("-")[0].lower())
            sums[self.verdicts, (self._tenant(tenant), action.value, assessed_by.value)] += events
            sums[self.languages, (language, action.value)] += events
        for (metric, labels), events in sums.items():
            metric.labels(*labels).inc(events)

    def _count_findings(self, verdict: MadeVerdict, sums: defaultdict[_Series, int]) -> None:
        """Count what an explanation says, and what the folding of the text found."""
        for rule in verdict.form_rules:
            sums[self.folded_verdicts, (rule,)] += 1
        for category in verdict.categories:
            sums[self.categories, (self._category(category),)] += 1
        if verdict.explanation_failure is not None:
            sums[self.explanation_failures, (str(verdict.explanation_failure),)] += 1
        if verdict.explained_as is not None:
            sums[self.explanations, (verdict.explained_as,)] += 1

    def _count_failures(self, verdict: MadeVerdict, sums: defaultdict[_Series, int]) -> None:
        """Count a failure mode, and a block that was withheld."""
        tenant = self._tenant(verdict.tenant)
        if verdict.failure is not None:
            sums[self.failures, (tenant, str(verdict.failure.code), verdict.failure.mode.value)] += 1
        if verdict.breaker is not None:
            sums[self.blocks_withheld, (tenant,)] += 1


DOCUMENT = Path("docs/operations.md")

_BEGIN, _END = "<!-- metrics: generated -->", "<!-- metrics: end -->"
_SUFFIXES = {"counter": "_total", "info": "_info"}  # what the client adds to a name when it exports it


def metrics_table() -> str:
    """Every metric: name as exported, type, labels and meaning, as a Markdown table."""
    # The registry lists samples, and a metric that nobody has counted yet has none that would tell its
    # labels: so the attributes of Metrics are the list.
    rows = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    metrics = Metrics()
    for collector in vars(metrics).values():
        if not isinstance(collector, Counter | Gauge | Histogram | Info | ReadCounter):
            continue
        (metric,) = collector.describe()
        shown = ", ".join(f"`{label}`" for label in metrics.labels.get(metric.name, ())) or "-"
        rows.append(
            f"| `{metric.name}{_SUFFIXES.get(metric.type, '')}` | {metric.type} | {shown} | {metric.documentation} |"
        )
    return "\n".join(rows)


def refreshed(document: str) -> str:
    """A document with its table of metrics as the code has it now."""
    block = f"{_BEGIN}\n{metrics_table()}\n{_END}"
    pattern = re.compile(f"{re.escape(_BEGIN)}.*?{re.escape(_END)}", re.DOTALL)
    return pattern.sub(block.replace("\\", r"\\"), document)


def main() -> None:
    """Write the table of the document in the current folder again."""
    DOCUMENT.write_text(refreshed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
