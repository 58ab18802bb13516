"""``sluicegate adapt cycle``: from what people decided to a candidate."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sluicegate.engines.adapt.errors import CycleError, InterruptedStepError
from sluicegate.pipeline.command.adapt.data import Ledger
from sluicegate.pipeline.command.adapt.hand_over import commands, write_candidate
from sluicegate.pipeline.command.adapt.hand_over import hand_over as register
from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.errors import ClusterError
from sluicegate.pipeline.kafka.reader import TopicReader, TopicRecord
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.pipeline.text import neutral
from sluicegate.schemas import Feedback

if TYPE_CHECKING:
    from collections.abc import Iterator


_READ_S = 0.2
_ANSWER_S = 15.0
"""How long one that leads a partition may take to answer."""


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
    code 0: a bundle was written, or it is not worth it yet. 1: the model was refused, or a step failed, and why. 75: the
    brokers are away, or a step was ended by a signal; the same command goes on.

    Example: sluicegate adapt cycle cycle.yaml --ledger cycle
    """
    from sluicegate.engines.adapt.cycle.cycle import Cycle  # noqa: PLC0415 - loads numpy
    from sluicegate.engines.adapt.cycle.plan import CyclePlan  # noqa: PLC0415 - the same

    wanted = CyclePlan.load(plan)
    policy = load_settings(settings).policy.path
    work = Cycle(wanted, ledger, lambda line: typer.echo(line, err=True), policy=policy)
    records = _from_topic(settings) if feedback is None else _from_files(feedback)
    with _what_passes():
        found = work.run(records, force=force)
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
        with _what_passes():
            register(written, hand_over)
    elif not as_json:
        typer.echo("next, an editor of candidates says:\n" + "\n".join(commands(written)))


@contextmanager
def _what_passes() -> Iterator[None]:
    """End with 75 (EX_TEMPFAIL) where nothing has to be mended: whoever started the command may give it again."""
    try:
        yield
    except (ClusterError, InterruptedStepError) as error:
        typer.echo(f"sluicegate: {neutral(str(error), limit=1000)}", err=True)
        raise typer.Exit(os.EX_TEMPFAIL) from error


def _from_files(paths: list[Path]) -> Iterator[Feedback]:
    for path in paths:
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            record = TopicRecord(str(path), 0, number, None, line).event(Feedback)
            if record is None:
                raise CycleError(
                    f"{path}:{number} is no Feedback record of schema version 1; see docs/contract.md"
                )
            yield record


def _from_topic(settings: Path | None) -> Iterator[Feedback]:
    loaded = load_settings(settings)
    refused = 0
    with TopicReader(loaded.kafka, [loaded.topics.feedback], start="beginning") as reader:
        while True:
            records = reader.read(_READ_S)
            for record in records:
                feedback = record.event(Feedback)
                if feedback is None:
                    refused += 1
                else:
                    yield feedback
            if reader.at_end:
                break
            if not records:  # of a partition that nobody leads reading says nothing
                reader.look(within_s=_ANSWER_S)
    if refused:
        typer.echo(
            f"{refused:,} records of {loaded.topics.feedback} are no feedback of schema version 1; they were passed over",
            err=True,
        )


def _told(found: Any) -> Iterator[str]:
    yield f"{found.rows:,} rows to learn from, {found.held:,} cases held; {found.trigger}"
    if found.erased:
        yield f"the newest bundle learnt from {found.erased:,} rows that were erased since; one without them is owed"
    if found.run is None:
        return
    if found.taught_gain is not None:
        yield f"taught cases: {100 * found.taught_gain:+.1f} points"
    if found.worst_slice is not None:
        name, change = found.worst_slice
        yield f"worst slice: {name}, {100 * change:+.1f} points"
    if found.untouched is not None:
        yield f"confirmed cases: {100 * found.untouched:+.1f} points"
    if found.left_out:
        yield f"{found.left_out:,} rows were left out: {found.run / 'rows.json'} says why"
    yield "minutes: " + ", ".join(f"{name} {seconds / 60:.1f}" for name, seconds in found.seconds.items())
    if not found.passed:
        yield f"refused: {found.why}"
        return
    yield f"written: {found.bundle}; digest {found.digest}"
