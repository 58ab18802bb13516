"""The page ``docs/settings.md``, made from the settings themselves. Pure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import orjson
from pydantic import BaseModel
from pydantic_settings import EnvSettingsSource

from sluicegate.pipeline.settings.tree import Settings, load_settings, read_tree, variable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_NONE_TO_GUESS = "No other value could be guessed."
_VERDICTS = "It sorts together with the other verdict topics."

REASONS: dict[str, str] = {
    "kafka.bootstrap_servers": "It is Kafka's own port on this machine. That is right for a first try, and nowhere else.",
    "kafka.group": "One deployment has one group.",
    "kafka.instance_id": "Without one a worker that stops leaves at once, and others take over.",
    "kafka.session_timeout_s": "Heartbeats have a thread of their own: a worker that is silent for so long is gone. Shorter is fewer idle posts.",
    "kafka.rebalance_timeout_s": "It is more than three times drain.finish_s: a slow hand-over throws no worker out.",
    "kafka.commit_interval_s": "Little is repeated after a crash, for one small request a second.",
    "kafka.delivery_timeout_s": "It outlasts the election of a new leader. What takes longer is shown as a hold.",
    "kafka.security.protocol": "It is Kafka's own default. That is right for a first try, and inside a network of your own.",
    "kafka.security.ca_file": "Brokers with a certificate of a public authority need no file.",
    "kafka.security.certificate_file": "Only brokers that ask for certificates of clients need one.",
    "kafka.security.key_file": "Only a certificate needs one.",
    "kafka.security.key_password": "Mounted secrets mostly hold the key as it is.",
    "kafka.security.mechanism": "No broker ever sees the password.",
    "kafka.security.username": _NONE_TO_GUESS,
    "kafka.security.password": _NONE_TO_GUESS,
    "kafka.security.password_file": _NONE_TO_GUESS,
    "kafka.security.oauth_callback": "Only tokens need one.",
    "topics.posts": "The name says what it holds.",
    "topics.allow": _VERDICTS,
    "topics.review": _VERDICTS,
    "topics.block": _VERDICTS,
    "topics.resolutions": "The name says what it holds.",
    "topics.feedback": "The name says what it holds.",
    "topics.shadow": _VERDICTS,
    "topics.comparisons": "The name says what it holds.",
    "topics.candidates": "The name says what it holds.",
    "topics.patterns": "The name says what it holds.",
    "topics.dead_letter": "It sorts beside the topic that its records come from.",
    "topics.control": "It is named after the product, which alone uses it.",
    "engine.backend": "It runs on any machine: a first try needs no server and no GPU.",
    "engine.bundle": "The CPU model is found where `sluicegate engine fetch-cpu` puts it. Any other bundle lies where you put it.",
    "engine.digest": "A first try has nothing to pin. In production pin it: `sluicegate check` prints the line.",
    "engine.url": _NONE_TO_GUESS,
    "engine.dialect": "All such servers understand it.",
    "engine.model": "Without it the bundle's own name is sent. A server that was started from the bundle knows it by that name.",
    "engine.api_key": "Servers inside one network mostly ask for none.",
    "engine.concurrency": "With twice a step the next step is always full. No other server tells its limit: there 8 is a cautious start, and you raise it until posts/s grow no more. Set less where several workers share one server.",
    "engine.slots": "On two cores more slots brought no more posts (measured). With fewer, an explanation holds up scores. Each also takes up to 16 MiB for prompts that it was taken from.",
    "engine.threads": "The worker's own work is small beside the model's.",
    "engine.score_timeout_s": "It is generous for a CPU, too: only an engine that is stuck should meet it.",
    "engine.explain_timeout_s": "It is twice that of the scores: an explanation is many tokens, one after the other.",
    "engine.circuit_mute_calls": "Chance and a few hard posts do not reach it. If an engine hangs, this number of micro-batches and those in flight lose their judgement.",
    "engine.in_work_folder": "The chart's temporary folder is an emptyDir, which outlives a container. Workers may share a folder.",
    "engine.circuit_pause_s": "A small model's server is back within a second. A large one is asked every five.",
    "engine.fake_profile": "Without one the fake engine takes no time, which is what tests want.",
    "engine.adapters.NAME.bundle": _NONE_TO_GUESS,
    "engine.adapters.NAME.digest": "The reason is that of engine.digest.",
    "engine.adapters.NAME.url": "One server has its base in memory once, where it can serve several adapters.",
    "engine.adapters.NAME.model": "Without it the bundle's own name is sent, where the adapter has a server of its own.",
    "engine.adapters.NAME.lora_path": _NONE_TO_GUESS,
    "engine.adapters.NAME.fake_profile": "An adapter may differ by its name alone.",
    "engine.adapter_wait_s": "It outlasts the restart of a large model's server. Afterwards neighbours wait no longer for it.",
    "policy.path": "The built-in policy lets a first try decide something. Write your own with `sluicegate policy new`.",
    "screen.path": "It is off unless you ask for it: only you can say which errors are tolerable.",
    "screen.digest": "The reason is that of engine.digest.",
    "screen.guard": "It needs a bundle of its own and a measurement, and saves engine time at a price that only you can accept.",
    "screen.guard_timeout_s": "The large guard answers what is late, so that a slow small one costs no judgement. It was not measured on a GPU.",
    "screen.sample_share": "It costs a hundredth of what is saved, and compares ten thousand of a million answers.",
    "screen.off_confidence": "A screen that is in order is switched off once in a thousand counts.",
    "screen.off_samples": "A long good past must not hide a bad present. At 1 % they come from a million answers.",
    "window.posts": "It keeps some micro-batches ready for a fast engine. window.bytes admits fewer long posts.",
    "window.bytes": "It has room for 256 posts of the largest size, which bounds what a flood of them costs in memory.",
    "micro_batch.posts": "The engine says with how many it is saturated.",
    "micro_batch.tokens": "It keeps an accelerator busy, and the next micro-batch comes soon. It was not measured on a GPU.",
    "micro_batch.max_age_ms": "Waiting costs a post nothing while the engine has enough to do. A number of milliseconds suits one engine only (simulated).",
    "micro_batch.in_flight": "No number suits near and far engines, scores and explanations (simulated): docs/adr/0016-in-flight-depth.md.",
    "cache.entries": "They take 43 to 122 MiB (measured). Copies of a text mostly follow each other soon.",
    "cache.bytes": "It holds the default's entries, each explained with a reason of 150 characters (measured).",
    "cache.redis_url": "It is off unless you ask for it: a worker needs nothing but Kafka and its engine.",
    "cache.redis_timeout_ms": "Asking the engine again takes far longer.",
    "cache.redis_ttl_s": "A wave of copies is over within a day.",
    "cache.near_duplicates.enabled": "It is off until harm on your own posts is known: docs/shortcuts.md says how it is measured.",
    "cache.near_duplicates.entries": "Unexplained they take 31 MiB. Explained they take more, and cache.near_duplicates.bytes bounds them. A flood is one entry.",
    "cache.near_duplicates.bytes": "It has room for the entries with their reasons. Where all reasons are long, fewer stay.",
    "cache.near_duplicates.ttl_s": "A flood of copies is over by then, and old findings make room.",
    "cache.near_duplicates.confidence": "It is far from every threshold of the built-in policy. The guard beside it knows yours.",
    "limits.post_bytes": "It holds 32,768 tokens of every script, and fits Kafka's default of 1 MiB for a record.",
    "limits.post_tokens": "It is the context that Qwen3Guard is served with.",
    "limits.segments": "The longest text fits at any engine limit from about a thousand tokens on.",
    "limits.folded_forms": "People disguise letters to pass a filter. Of ordinary traffic, 14 posts in a thousand are judged twice for it (measured).",
    "limits.dead_letter_bytes": "It becomes 683 KiB in base64, below Kafka's default of 1 MiB for a record.",
    "drain.budget_s": "It has room for the three parts, and five seconds for what comes between them.",
    "drain.finish_s": "A micro-batch and its explanations end well within it. Another worker judges the rest.",
    "drain.flush_s": "It outlasts the election of a new leader.",
    "drain.leave_s": "It suffices for one commit, one request to leave, and the end of an engine process.",
    "patterns.path": "Without a circle there is nothing to compare posts with, and no post costs anything.",
    "patterns.tenants": "Nobody but the tenant can say that its posts take part.",
    "ops.host": "No other machine reaches it unless you say so.",
    "ops.port": "It needs no privilege, and probes are commonly looked for there.",
    "log.level": "It writes a line for each change of state, and none for each post.",
    "tracing.enabled": "It is off unless you ask for it: spans cost time and need a collector.",
    "tracing.endpoint": "OpenTelemetry's own variables are there already where it is in use.",
    "review.store": "A file needs no server. In production take PostgreSQL: it outlives a pod.",
    "review.key": "A first try has no secret. With one, the store alone tells nobody a text.",
    "review.host": "No other machine reaches it unless you say so.",
    "review.port": "It needs no privilege, and is no port of the worker.",
    "review.oidc_issuer": "Without one only the demo lets anybody in.",
    "review.oidc_client_id": _NONE_TO_GUESS,
    "review.oidc_client_secret": "A public client has none: PKCE protects the code.",
    "review.oidc_role_claim": "Most issuers can put roles under this name.",
    "review.oidc_tenant_claim": "One tenant needs none.",
    "review.public_url": "Only the ingress knows it.",
    "review.text_s": "It is as long as the topic of posts keeps them.",
    "review.join_wait_s": "A post stands on its topic before its verdict does. A minute outlasts a slow reader.",
    "review.sla_s": "A day is the time that most queues promise. It orders cases, and closes none.",
    "review.half_life_s": "It is a quarter of review.sla_s: a case that comes gets ahead of a mild one within hours.",
    "review.reach": "Only you know which entry counts readers.",
    "review.lease_s": "It outlasts a text that is read slowly. A reviewer who leaves holds a case up for no longer.",
    "review.audit_share": "At a million verdicts a day it is a thousand cases.",
    "review.margin_share": "A model is trained by few. Where one is, such posts teach most.",
    "review.novelty_share": "A model is trained by few. Where one is, such posts teach what it never saw.",
    "review.familiar_languages": "Only your decisions say which they are.",
    "review.double_share": "Agreement is measured on it, and it costs one case more in twenty.",
    "review.blind_share": "Who sees the verdict leans towards it. On a quarter the lean can be measured.",
    "review.dispositions": "They are those of the built-in policy's kind. Yours may have others.",
    "review.exposure_cap": "It is one a minute. No study says which number protects: choose with your reviewers.",
    "review.lift_sample": "Ten alike of a flood say that most of it is: a lead decides whether they do.",
    "review.golden_share": "It is one case in fifty: enough for a rate within a month.",
    "candidate.experiment": _NONE_TO_GUESS,
    "candidate.policy": "Without it no candidate acts here.",
    "candidate.keys": "Whose word counts is nobody's to guess.",
    "candidate.key": "A worker signs nothing, and needs none.",
    "candidate.share": "At a million posts a day it gives evidence for a certificate within an hour, at a twentieth of the incumbent's cost.",
    "candidate.audit_share": "Without it nobody learns where both are wrong. It is one post in a hundred of the sample.",
    "candidate.state_file": "It stands where the command runs. In a pod give a place on a volume.",
    "candidate.terms.max_permissive": "One post in 200. A candidate whose true share is one in 1,000 shows it with some 1,350 posts (measured).",
    "candidate.terms.max_shift": "Reviewers notice more: at 2 % of the posts a queue of 10 % grows by a fifth.",
    "candidate.terms.min_posts": "No stratum shows a share below one in 200 with fewer.",
    "candidate.terms.min_coverage": "What is missing may be what differs. Restarts of a shadow cost less than this.",
    "candidate.terms.alpha": "It is the usual one. Certificates are few, and each is watched after a promotion.",
}

UNITS: dict[str, str] = {
    "cache.entries": "assessments",
    "cache.near_duplicates.confidence": "probability",
    "cache.near_duplicates.entries": "findings",
    "engine.circuit_mute_calls": "calls",
    "engine.concurrency": "prompts",
    "engine.slots": "prompts",
    "engine.threads": "threads",
    "limits.segments": "segments",
    "review.audit_share": "share of 1",
    "review.blind_share": "share of 1",
    "review.double_share": "share of 1",
    "review.margin_share": "share of 1",
    "review.novelty_share": "share of 1",
    "review.golden_share": "share of 1",
    "review.exposure_cap": "texts",
    "review.lift_sample": "cases",
    "candidate.audit_share": "share of 1",
    "candidate.share": "share of 1",
    "candidate.terms.max_permissive": "share of 1",
    "candidate.terms.max_shift": "share of 1",
    "candidate.terms.min_coverage": "share of 1",
    "candidate.terms.alpha": "probability",
    "screen.off_confidence": "probability",
    "screen.off_samples": "samples",
    "screen.sample_share": "share of 1",
    "micro_batch.in_flight": "micro-batches",
}


Origin = Literal["default", "file", "environment"]


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting as a worker would use it."""

    name: str
    """Dotted, such as ``kafka.group``."""
    value: Any
    """As a JSON value; a secret is stars."""
    origin: Origin
    where: str | None
    """The file, or the variable; None for a default."""


def effective_settings(path: Path | None) -> tuple[Settings, list[EffectiveSetting]]:
    """Load the settings and say for each where its value comes from.

    Raises:
        SettingsError: As :func:`~sluicegate.pipeline.settings.tree.load_settings`.
    """
    settings, written = load_settings(path), read_tree(path)
    environment: dict[str, Any] = EnvSettingsSource(Settings)()
    found = []
    for names, value in _leaves(settings.masked()):
        origin: Origin = "default"
        where: str | None = None
        if _has(environment, names):
            origin, where = "environment", _set_variable(names)
        elif _has(written, names):
            origin, where = "file", str(path)
        found.append(EffectiveSetting(".".join(names), value, origin, where))
    return settings, found


def _leaves(tree: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name), value


def _has(tree: Any, names: tuple[str, ...]) -> bool:
    for name in names:
        if not isinstance(tree, dict) or name not in tree:
            return False
        tree = tree[name]
    return True


def _set_variable(names: tuple[str, ...]) -> str:
    """The variable that sets this: its own, or one that holds a whole section as JSON."""
    candidates = [variable(*names[:length]) for length in range(len(names), 0, -1)]
    return next((one for one in candidates if os.environ.get(one)), candidates[0])


# A number's unit is the end of its name.
_UNITS = {"_s": "seconds", "_ms": "milliseconds", "bytes": "bytes", "tokens": "tokens", "posts": "posts"}
_INTRODUCTION = """\
# Settings

After this page you know every setting, with its unit, its range and the reason for its default. `sluicegate settings
docs` makes the page: do not edit it by hand.

Settings come from their defaults, then from a YAML file (`--settings FILE` or `SLUICEGATE_SETTINGS`), then
from the environment: the later wins. In the file a setting is a key of its section. In the environment it
is `SLUICEGATE_` and its name in capitals, with two underscores for the dot:

```yaml
kafka:
  group: sluicegate-eu
```

```sh
export SLUICEGATE_KAFKA__GROUP=sluicegate-eu
```

At the start a worker refuses an unknown key, a value out of range, and two settings that cannot both hold. It
names them, and a pair that works. `sluicegate settings show` prints every value and where it comes from.
Secrets are shown as stars."""


@dataclass(frozen=True, slots=True)
class SettingEntry:
    """What the page says of one setting."""

    section: str
    name: str
    unit: str
    allowed: str
    default: str
    meaning: str
    reason: str
    """Why the default is what it is."""


def setting_entries() -> Iterator[SettingEntry]:
    """Every setting, in the order of the settings tree.

    Raises:
        KeyError: A setting without a reason for its default.
    """
    for section, kind in _sections():
        properties = kind.model_json_schema()["properties"]
        for name, field in kind.model_fields.items():
            if _section_in(field.annotation) is not None:
                continue
            dotted = f"{section}.{name}"
            yield SettingEntry(
                section=section,
                name=dotted,
                unit=UNITS.get(dotted) or _unit(name, properties[name]),
                allowed=_allowed(properties[name]),
                default=_shown(field.get_default(call_default_factory=True)),
                meaning=field.description or "",
                reason=REASONS[dotted],
            )


def settings_page() -> str:
    """The whole page, as Markdown."""
    parts = [_INTRODUCTION]
    entries = list(setting_entries())
    for section, kind in _sections():
        purpose = _plain(" ".join((kind.__doc__ or "").split()).replace("``", "`"))
        parts.append(f"\n## {section}\n\n{purpose}\n")
        parts += [_entry(entry) for entry in entries if entry.section == section]
    return "\n".join(parts) + "\n"


def _entry(entry: SettingEntry) -> str:
    facts = "; ".join(fact for fact in (f"default {entry.default}", entry.unit, entry.allowed) if fact)
    return f"- **`{entry.name}`** ({facts}). {_plain(entry.meaning)}\n  *Why:* {entry.reason}"


def _plain(text: str) -> str:
    """A star in a description stands for itself."""
    return text.replace("*", "\\*")


def _sections(within: type[BaseModel] = Settings, prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every section, each before those inside it; one that holds for a name of the user's has ``NAME`` for it."""
    for name, field in within.model_fields.items():
        if (kind := _section_in(field.annotation)) is not None:
            path = prefix + name + ("" if kind is field.annotation else ".NAME")
            yield path, kind
            yield from _sections(kind, f"{path}.")


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, or holds by name; None for a setting."""
    held = get_args(annotation)[-1] if get_origin(annotation) is dict else annotation
    return held if isinstance(held, type) and issubclass(held, BaseModel) else None


def _unit(name: str, schema: dict[str, Any]) -> str:
    if _rule(schema).get("type") not in ("integer", "number"):
        return ""
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")


def _allowed(schema: dict[str, Any]) -> str:
    """The range or the choices that the setting's JSON Schema tells."""
    rule = _rule(schema)
    if "enum" in rule:
        return f"one of {', '.join(f'`{one}`' for one in rule['enum'])}"
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "up to"}
    return " ".join(f"{word} {rule[key]:,}" for key, word in words.items() if key in rule)


def _rule(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a value that is not null."""
    (rule,) = (one for one in schema.get("anyOf", [schema]) if one.get("type") != "null")
    return dict(rule)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"`{value if isinstance(value, str) else orjson.dumps(value, default=str).decode()}`"
