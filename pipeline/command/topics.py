"""``sluicegate topics``: which topics a deployment needs, and their creation."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.kafka.topics import (
    FOR_EVER_MS,
    PlannedTopic,
    create_topics,
    group_rights,
    plan_candidate_topics,
    plan_desk_topics,
    plan_pattern_topics,
    plan_topics,
)
from sluicegate.pipeline.settings.tree import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_PARTITIONS = 12  # divides among 2, 3, 4 and 6 workers
_REPLICATION = 3
_DAY_MS = 86_400_000

Partitions = Annotated[
    int,
    typer.Option(
        min=1, help="Partitions of the post and verdict topics. This many workers can share the work."
    ),
]
Replication = Annotated[
    int, typer.Option(min=1, help="Copies of each partition; 1 on a cluster of one broker.")
]

Desk = Annotated[
    bool, typer.Option("--review", help="With the topics of a review desk: resolutions and feedback.")
]

Candidate = Annotated[
    bool,
    typer.Option(
        "--candidate",
        help="With the topics of an experiment with a candidate: its verdicts, its history, comparisons.",
    ),
]

Patterns = Annotated[
    bool,
    typer.Option("--patterns", help="With the topic of feeds of threat patterns, where a circle uses one."),
]

Config = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        metavar="<topic.name=value>",
        help="Kafka's own configuration of a topic that is created, over the plan's: posts.retention.ms=86400000. "
        "Topics go by their settings: posts, allow, review, block, dead_letter, control, resolutions, feedback, shadow, comparisons, candidates, patterns. Repeatable.",
    ),
]


app = typer.Typer(
    help="The topics: plan them, create them.\n\nExample: sluicegate topics plan", no_args_is_help=True
)


@app.command("plan")
def plan(
    partitions: Partitions = _PARTITIONS,
    replication: Replication = _REPLICATION,
    review: Desk = False,
    candidate: Candidate = False,
    patterns: Patterns = False,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Print every topic with partitions, copies, retention, cleanup policy and rights. Asks no cluster.

    Example: sluicegate topics plan --partitions 24 --json
    """
    loaded = load_settings(settings)
    planned = _planned(loaded, partitions, replication, desk=review, candidate=candidate, circle=patterns)
    if as_json:
        document = {
            "topics": [{**asdict(one), "config": one.config} for one in planned],
            "rights": group_rights(loaded.kafka),
        }
        typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
        return
    rows = [("topic", "partitions", "copies", "cleanup", "retention", "rights"), *map(_row, planned)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    typer.echo()
    for who, rights in group_rights(loaded.kafka).items():
        typer.echo(f"beside these, a {who} needs: {rights}")


@app.command("create")
def create(
    *,
    partitions: Partitions = _PARTITIONS,
    replication: Replication = _REPLICATION,
    review: Desk = False,
    candidate: Candidate = False,
    patterns: Patterns = False,
    config: Config = None,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Create the topics that are missing; those that exist are left as they are. Safe to repeat.

    Example: sluicegate topics create --partitions 3 --replication 1
    """
    loaded = load_settings(settings)
    planned = _planned(loaded, partitions, replication, desk=review, candidate=candidate, circle=patterns)
    created = create_topics(loaded.kafka, configured(planned, config or ()))
    if as_json:
        typer.echo(orjson.dumps([asdict(one) for one in created], option=orjson.OPT_INDENT_2).decode())
        return
    for one in created:
        note = f"; {one.note}" if one.note else ""
        typer.echo(f"{one.name}: {one.outcome}, partitions {one.partitions}{note}")


def _planned(
    settings: Settings, partitions: int, replication: int, *, desk: bool, candidate: bool, circle: bool
) -> tuple[PlannedTopic, ...]:
    shape: Any = {"partitions": partitions, "replication": replication}
    planned = list(plan_topics(settings, **shape))
    planned += plan_desk_topics(settings, **shape) if desk else ()
    planned += plan_candidate_topics(settings, **shape) if candidate else ()
    planned += plan_pattern_topics(settings, replication=replication) if circle else ()
    return tuple(
        replace(one, desk=one.desk if desk else (), shadow=one.shadow if candidate else ()) for one in planned
    )


def configured(planned: Sequence[PlannedTopic], given: Sequence[str]) -> list[PlannedTopic]:
    """The plan with configuration over it, each as ``posts.retention.ms=86400000``.

    Raises:
        typer.BadParameter: One names no topic of the plan, or is no configuration.
    """
    over: dict[str, dict[str, str]] = {one.setting.removeprefix("topics."): {} for one in planned}
    for one in given:
        found = re.fullmatch(r"(\w+)\.([\w.]+)=(.+)", one)
        if found is None or found[1] not in over:
            raise typer.BadParameter(
                f"{one}: no configuration of a topic; write it as posts.retention.ms=86400000, where the topic is one of: "
                f"{', '.join(over)}",
                param_hint="--config",
            )
        over[found[1]][found[2]] = found[3]
    return [replace(one, given=over[one.setting.removeprefix("topics.")]) for one in planned]


def _row(topic: PlannedTopic) -> tuple[str, ...]:
    if topic.retention_ms is None:
        kept = "newest per key"
    else:
        kept = "for ever" if topic.retention_ms == FOR_EVER_MS else f"{topic.retention_ms // _DAY_MS} days"
    needs = {
        "worker": topic.worker,
        "producer": topic.producer,
        "consumer": topic.consumer,
        "desk": topic.desk,
        "shadow": topic.shadow,
        "circle": topic.circle,
    }
    rights = "; ".join(f"{who} {'+'.join(what)}" for who, what in needs.items() if what)
    return topic.name, str(topic.partitions), str(topic.replication), topic.cleanup, kept, rights
