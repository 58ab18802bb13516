"""``sluicegate adapt cycle``: from what people decided to a candidate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluicegate.engines.adapt.errors import CycleError
from sluicegate.pipeline.command.adapt.data import Ledger
from sluicegate.pipeline.command.adapt.hand_over import commands, write_candidate
from sluicegate.pipeline.command.adapt.hand_over import hand_over as register
from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.schemas import Feedback

if TYPE_CHECKING:
    from collections.abc import Iterator


def cycle(
    plan: Annotated[Path, typer.Argument(metavar="CYCLE.yaml", help="What is trained from: docs/cycle.md.")],
    ledger: Ledger = Path("cycle"),
    feedback: Annotated[
        list[Path] | None,
        typer.Option(
            help="Files of Feedback records. Default: the feedback topic of the settings. Repeatable."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Train even if it is not worth it yet.")] = False,
    hand_over: Annotated[
        Path | None,
        typer.Option(
            "--hand-over",
            metavar="KEY",
            help="Private key of an editor of candidates: the new model is registered and judges beside the live one. "
            "Default: the commands are printed, for a person.",
        ),
    ] = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Learn from what people decided: collect, qualify, snapshot, train, evaluate, gate, write a bundle and hand it over.

    The same command goes on after a Ctrl-C, and does nothing twice. Nothing of it acts on a post: an approver lets it. Exit
    code 0: a bundle was written, or it is not worth it yet. 1: the model was refused, and why.

    Example: sluicegate adapt cycle cycle.yaml --ledger cycle
    """
    from sluicegate.engines.adapt.cycle.cycle import Cycle, CyclePlan  # noqa: PLC0415 - loads numpy

    wanted = CyclePlan.load(plan)
    records = _from_topic(settings) if feedback is None else _from_files(feedback)
    found = Cycle(wanted, ledger, lambda line: typer.echo(line, err=True)).run(records, force=force)
    if as_json:
        typer.echo(found.model_dump_json())
    else:
        typer.echo("\n".join(_told(found)))
    if found.run is None:
        return
    if found.bundle is None or found.digest is None:
        raise typer.Exit(1)
    written = write_candidate(found.run, found.bundle, found.digest, wanted.tenant, settings)
    if hand_over is not None:
        register(written, hand_over)
    elif not as_json:
        typer.echo("next, an editor of candidates says:\n" + "\n".join(commands(written)))


def _from_files(paths: list[Path]) -> Iterator[Feedback]:
    for path in paths:
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                yield Feedback.model_validate_json(line)
            except ValueError as error:  # pydantic quotes what it refuses, which may be a text
                raise CycleError(f"{path}:{number} is no Feedback record; see docs/contract.md") from error


def _from_topic(settings: Path | None) -> Iterator[Feedback]:
    from sluicegate.pipeline.kafka.reader import TopicReader  # noqa: PLC0415 - loads the client
    from sluicegate.pipeline.settings.tree import load_settings  # noqa: PLC0415 - the same

    loaded = load_settings(settings)
    refused = 0
    with TopicReader(loaded.kafka, [loaded.topics.feedback], start="beginning") as reader:
        for record in reader.read_all():
            try:
                yield Feedback.model_validate_json(record.value or b"")
            except ValueError:
                refused += 1
    if refused:
        typer.echo(
            f"{refused:,} records of {loaded.topics.feedback} are no feedback; they were passed over",
            err=True,
        )


def _told(found: Any) -> Iterator[str]:
    yield f"{found.rows:,} rows to learn from, {found.held:,} cases held; {found.trigger}"
    if found.run is None:
        return
    if found.taught_gain is not None:
        yield f"taught cases: {100 * found.taught_gain:+.1f} points"
    if found.worst_slice is not None:
        name, change = found.worst_slice
        yield f"worst slice: {name}, {100 * change:+.1f} points"
    yield "minutes: " + ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in found.seconds.items())
    if not found.passed:
        yield f"refused: {found.why}"
        return
    yield f"written: {found.bundle}; digest {found.digest}"
