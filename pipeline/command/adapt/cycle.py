"""``sluicegate adapt cycle``, ``sluicegate trace`` and ``sluicegate data``: decisions to a model, and back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from sluicegate.engines.adapt.errors import CycleError
from sluicegate.pipeline.command.adapt.hand_over import commands, write_candidate
from sluicegate.pipeline.command.adapt.hand_over import hand_over as register
from sluicegate.pipeline.command.options import AsJson, SettingsFile
from sluicegate.pipeline.text import neutral
from sluicegate.schemas import Feedback

if TYPE_CHECKING:
    from collections.abc import Iterator

Ledger = Annotated[Path, typer.Option("--ledger", help="Folder of the cycle: decisions, snapshots and runs.")]

data_app = typer.Typer(
    help="The data that models learn from. The page: docs/cycle.md.\n\n"
    "Example: sluicegate data erase --tenant forum --author 4711 --ledger cycle",
    no_args_is_help=True,
)


@data_app.callback()
def _data() -> None:
    """Make `data` a group."""


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


def trace(
    verdict: Annotated[
        str, typer.Argument(metavar="VERDICT", help="Its id, a file with the verdict's JSON, or - for stdin.")
    ],
    ledger: Ledger = Path("cycle"),
    as_json: AsJson = False,
) -> None:
    """Show what taught the model behind a verdict, what people decided about it, and which models learnt from that.

    Example: sluicegate verdicts --format json --no-follow | head -1 | sluicegate trace - --ledger cycle
    """
    from sluicegate.engines.adapt.cycle.ledger import CycleLedger  # noqa: PLC0415 - loads the cipher
    from sluicegate.engines.adapt.cycle.trace import trace as follow  # noqa: PLC0415 - the same

    name, engine = _verdict(verdict)
    found = follow(_opened(CycleLedger, ledger), name, engine)
    if as_json:
        typer.echo(orjson.dumps(found.document()).decode())
        return
    bundle = found.bundle
    typer.echo(f"verdict {neutral(found.verdict)}: judged by {found.engine or 'an engine that nobody named'}")
    if bundle is None:
        typer.echo("  no cycle of this folder made that engine")
    else:
        corrected = {one for row in found.rows for one in row.verdicts}
        decisions = sum(len(row.decisions) for row in found.rows)
        typer.echo(
            f"  bundle {bundle.digest} of {bundle.run.name}, from snapshot {bundle.snapshot}: {len(found.rows):,} rows, "
            f"{decisions:,} decisions about {len(corrected):,} verdicts (--json lists them)"
        )
    for one in found.decisions:
        said = "blind" if one.blind else "seen"
        typer.echo(
            f"  {one.reviewed_at:%Y-%m-%d %H:%M} {neutral(one.reviewer or 'somebody')} decided {one.severity} ({said}); the verdict said {one.found or 'nothing that is known'}"
        )
    for row, learnt in found.taught:
        typer.echo(
            f"  row {row.id[:16]} ({row.severity}, {row.split or 'not split yet'}) taught {', '.join(learnt)}"
        )


@data_app.command("erase")
def erase(
    author: Annotated[str, typer.Option("--author", help="The author's id, as posts name it.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose author it is.")] = "default",
    ledger: Ledger = Path("cycle"),
    every_days: Annotated[
        float,
        typer.Option(min=0.1, help="How often a cycle runs: the date of the next model follows from it."),
    ] = 7,
    key: Annotated[
        Path | None, typer.Option(help="Ed25519 key in PEM that signs the certificate. Default: unsigned.")
    ] = None,
) -> None:
    """Take an author's texts out of every snapshot, and print a certificate.

    The review desk keeps texts of its own: `sluicegate review erase` takes them away there.

    Example: sluicegate data erase --tenant forum --author 4711 --ledger cycle --key erasures.pem
    """
    from sluicegate.engines.adapt.cycle.erasure import erase_author  # noqa: PLC0415 - loads the cipher
    from sluicegate.engines.adapt.cycle.keys import signed  # noqa: PLC0415 - the same
    from sluicegate.engines.adapt.cycle.ledger import CycleLedger  # noqa: PLC0415 - the same

    certificate = erase_author(_opened(CycleLedger, ledger), tenant, author, every_days=every_days)
    document: dict[str, Any] = {"certificate": certificate}
    if key is not None:
        document["signature"] = signed(
            orjson.dumps(certificate, option=orjson.OPT_SORT_KEYS), key.read_bytes()
        )
    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _opened(kind: Any, folder: Path) -> Any:
    if not folder.is_dir():
        raise CycleError(
            f"{folder} is no folder of a cycle; give --ledger the one that `adapt cycle` writes to"
        )
    return kind(folder)


def _verdict(given: str) -> tuple[str, str | None]:
    if given == "-":
        raw: bytes | None = sys.stdin.buffer.readline()
    else:
        raw = Path(given).read_bytes() if Path(given).is_file() else None
    if raw is None:
        return given, None
    try:
        document = orjson.loads(raw)
        return str(document["verdict_id"]), str(document["engine"]["digest"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise CycleError(
            "that is no verdict's JSON; `sluicegate verdicts --format json` prints them"
        ) from error


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
