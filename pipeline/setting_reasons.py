"""Why each default is what it is, and the units that a setting's name does not tell.

One entry for every setting: a test compares them with the settings' own list. A reason that rests
on a measurement says which; the others are choices, and say what for.
"""

from __future__ import annotations

_NONE_TO_GUESS = "No other value could be guessed."
_VERDICTS = "Sorts together with the other verdict topics."

REASONS: dict[str, str] = {
    "kafka.bootstrap_servers": "Kafka's own port on this machine: right for a first try, and nowhere else.",
    "kafka.group": "One deployment, one group.",
    "kafka.session_timeout_s": "Kafka's own default: the pause of a busy machine is no crash.",
    "kafka.rebalance_timeout_s": "More than three times drain.finish_s: a slow hand-over throws nobody out.",
    "kafka.commit_interval_s": "Little is repeated after a crash, for one small request a second.",
    "kafka.delivery_timeout_s": "Outlasts the election of a new leader; what takes longer is shown as a hold.",
    "kafka.security.protocol": "Kafka's own default: right for a first try, and inside a network that nobody else is on.",
    "kafka.security.ca_file": "Brokers with a certificate of a public authority need no file.",
    "kafka.security.certificate_file": "Only brokers that ask for certificates of clients need one.",
    "kafka.security.key_file": "Only a certificate needs one.",
    "kafka.security.key_password": "Mounted secrets mostly hold the key as it is.",
    "kafka.security.mechanism": "The strongest of the three; no broker ever sees the password.",
    "kafka.security.username": _NONE_TO_GUESS,
    "kafka.security.password": _NONE_TO_GUESS,
    "kafka.security.password_file": _NONE_TO_GUESS,
    "topics.posts": "What it holds.",
    "topics.allow": _VERDICTS,
    "topics.review": _VERDICTS,
    "topics.block": _VERDICTS,
    "topics.dead_letter": "Sorts beside the topic that its records come from.",
    "topics.control": "Named after the product: nobody else has business there.",
    "engine.backend": "Runs on any machine: a first try needs no server and no GPU.",
    "engine.bundle": "The CPU model is found where `sluicegate engine fetch-cpu` puts it; any other lies where you put it.",
    "engine.digest": "A first try has nothing to pin. In production pin it: `sluicegate check` prints the line.",
    "engine.url": _NONE_TO_GUESS,
    "engine.dialect": "The common ground of such servers.",
    "engine.model": "Unset, the bundle's own name: a server that was started from the bundle knows it by that.",
    "engine.api_key": "Servers inside one network mostly ask for none.",
    "engine.concurrency": "A cautious start, not measured on a GPU: raise it until posts/s grow no more.",
    "engine.slots": "On two cores more slots brought no more posts (measured); fewer let an explanation hold up scores.",
    "engine.threads": "The worker's own work is small beside the model's.",
    "engine.score_timeout_s": "Generous for a CPU, too: only an engine that is stuck should meet it.",
    "engine.explain_timeout_s": "Twice that of the scores: an explanation is many tokens, one after the other.",
    "engine.circuit_mute_calls": "Two rounds of micro_batch.in_flight: chance and a few hard posts do not reach it, and so many micro-batches at most lose their judgement to an engine that hangs.",
    "engine.circuit_pause_s": "A small model's server is back within a second; a large one is asked every five.",
    "engine.fake_profile": "Without one the fake engine takes no time, which is what tests want.",
    "policy.path": "The built-in policy lets a first try decide something; write your own with `sluicegate policy new`.",
    "window.posts": "Some micro-batches ahead of a fast engine; of long posts window.bytes admits fewer.",
    "window.bytes": "256 posts of the largest size: bounds what a flood of them costs in memory.",
    "micro_batch.posts": "The engine says with how many it is saturated.",
    "micro_batch.tokens": "Keeps an accelerator busy, and the next micro-batch comes soon; not measured on a GPU.",
    "micro_batch.max_age_ms": "Small beside the engine's own time; long enough for a burst to gather.",
    "micro_batch.in_flight": "One in the engine, one queued behind it, one on its way.",
    "cache.entries": "About 100 MB, and copies of a text mostly follow each other soon.",
    "cache.redis_url": "Off unless asked for: a worker needs nothing but Kafka and its engine.",
    "cache.redis_timeout_ms": "Far less than asking the engine again.",
    "cache.redis_ttl_s": "A day: a wave of copies is over by then.",
    "limits.post_bytes": "Holds 32,768 tokens of every script, and fits Kafka's default of 1 MiB for a record.",
    "limits.post_tokens": "The context that Qwen3Guard is served with.",
    "limits.segments": "The longest text fits at any engine limit from about a thousand tokens on.",
    "limits.dead_letter_bytes": "683 KiB as base64: below Kafka's default of 1 MiB for a record.",
    "drain.budget_s": "The three parts, and five seconds for what comes between them.",
    "drain.finish_s": "A micro-batch and its explanations end well within it; the rest another worker judges.",
    "drain.flush_s": "Outlasts the election of a new leader.",
    "drain.leave_s": "One commit, one request to leave, and the end of an engine process.",
    "ops.host": "Nobody from outside unless asked for.",
    "ops.port": "Needs no privilege, and is where probes are commonly looked for.",
    "log.level": "A line for each change of state, and none for each post.",
    "tracing.enabled": "Off unless asked for: spans cost time and need a collector.",
    "tracing.endpoint": "OpenTelemetry's own variables are there already where it is in use.",
}

UNITS: dict[str, str] = {
    "cache.entries": "assessments",
    "engine.circuit_mute_calls": "calls",
    "engine.concurrency": "requests",
    "engine.slots": "prompts",
    "engine.threads": "threads",
    "limits.segments": "segments",
    "micro_batch.in_flight": "micro-batches",
}
