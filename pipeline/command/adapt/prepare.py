"""``sluicegate adapt``: labelled examples to data that a model may learn from."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from sluicegate.engines.adapt.errors import FaultyRow, PrepareError
from sluicegate.pipeline.command.adapt import (
    calibrate as adapt_calibrate,
)
from sluicegate.pipeline.command.adapt import (
    cycle as adapt_cycle,
)
from sluicegate.pipeline.command.adapt import (
    evaluate as adapt_evaluate,
)
from sluicegate.pipeline.command.adapt import (
    export as adapt_export,
)
from sluicegate.pipeline.command.adapt import (
    gate as adapt_gate,
)
from sluicegate.pipeline.command.adapt import (
    mlflow_run as adapt_mlflow,
)
from sluicegate.pipeline.command.adapt import (
    screen_guard as adapt_screen_guard,
)
from sluicegate.pipeline.command.adapt import (
    train as adapt_train,
)
from sluicegate.pipeline.command.options import AsJson, progress
from sluicegate.pipeline.text import neutral, neutral_json

_SHOWN_NAMES = 30  # lines of one table; the card has all
_TABLES = ("language", "category", "kind", "source")
_COLUMNS = ("rows", "train", "dev", "safe", "controversial", "unsafe")

app = typer.Typer(
    help="Adaptation: teach a model your rules. The page: docs/adapt.md.\n\n"
    "Example: sluicegate adapt prepare labelled.jsonl --out prepared",
    no_args_is_help=True,
)


class Settling(StrEnum):
    """What to do about one text with several severities."""

    DROP = "drop"
    KEEP_MOST_SEVERE = "keep-most-severe"
    KEEP = "keep"


class RowKind(StrEnum):
    """What the text is."""

    POST = "post"
    PROMPT = "prompt"
    RESPONSE = "response"


@app.callback()
def _adapt() -> None:
    """Make `adapt` a group."""


@app.command("prepare")
def prepare(  # noqa: PLR0917 - options are parameters
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IN...", help="JSON lines, CSV, or folders of them. Read, never changed."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results; made if it is missing.")],
    dev_share: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of the rows without a split that goes to dev.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of the split. Another one draws other rows for dev.")] = 0,
    resplit: Annotated[bool, typer.Option("--resplit", help="Forget the splits that rows name.")] = False,
    conflicts: Annotated[
        Settling, typer.Option(help="The same text with several severities.")
    ] = Settling.DROP,
    near_conflicts: Annotated[
        Settling,
        typer.Option(
            help="What becomes of near duplicates with several severities. Kept, they teach the difference."
        ),
    ] = Settling.KEEP,
    similarity: Annotated[
        float,
        typer.Option(min=0.3, max=1.0, help="Share of common runs from which texts are near duplicates."),
    ] = 0.7,
    licence: Annotated[
        str | None, typer.Option(help="Only rows under one of these, such as MIT,Apache-2.0,CC-BY-4.0.")
    ] = None,
    kind: Annotated[RowKind, typer.Option(help="Kind of rows that do not say it.")] = RowKind.POST,
    language: Annotated[str | None, typer.Option(help="Language of rows that do not say it.")] = None,
    map_category: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=KNOWN", help="Read your name of a category as a known one. Repeatable."),
    ] = None,
    extra_category: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A category beside the nine. Repeatable.")
    ] = None,
    mask_pii: Annotated[
        bool, typer.Option("--mask-pii", help="Replace digits and letters of personal data; shapes stay.")
    ] = False,
    bundle: Annotated[
        Path | None, typer.Option(help="Engine bundle: count the rows that it does not take at once.")
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Write nothing if any row is faulty. Without: leave such rows out."),
    ] = False,
    faults: Annotated[int, typer.Option(min=0, max=1000, help="Faults listed; the rest is counted.")] = 20,
    show_text: Annotated[
        bool, typer.Option("--show-text", help="Show what stands in a faulty field. It may be offensive.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace earlier results in the folder.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check labelled texts and write train.jsonl, dev.jsonl, data-card.md and data-card.json.

    A row is an object with text, severity (safe, controversial, unsafe) and categories. It may have kind,
    context, refusal, reason, language, region, tenant, id, source, licence, group and split. CSV with these
    columns is taken, too, and so are records in the Chinese form and Feedback of reviewers.

    Faulty rows, equal rows and texts with two severities are left out and counted. So are train rows that
    are in dev, nearly are, or share its groups. conflicts.jsonl lists the rows that disagree. No text is shown.

    The exit code is 1 if nothing was written.

    Example: sluicegate adapt prepare labelled.jsonl feedback.jsonl --out prepared --mask-pii
    """
    try:
        from sluicegate.engines.adapt.data import (  # noqa: PLC0415 - an extra
            card,
            decisions,
            prepare,
            row_files,
        )
    except ImportError as error:
        raise PrepareError(f"{error.name} is missing: pip install 'sluicegate[prepare]'") from error

    compared = prepare.Lengths(bundle) if bundle else None
    request = prepare.Request(
        files=tuple(row_files.input_files(inputs)),
        choices=decisions.Choices(
            conflicts=decisions.ConflictSettling(conflicts.value),
            near_conflicts=decisions.ConflictSettling(near_conflicts.value),
            dev_share=dev_share,
            seed=seed,
            resplit=resplit,
        ),
        similarity=similarity,
        kind=kind.value,
        language=language,
        extra_categories=tuple(extra_category or ()),
        category_map=_category_map(map_category or []),
        licences=tuple(name.strip() for name in (licence or "").split(",") if name.strip()),
        mask_pii=mask_pii,
    )
    with progress(sys.stderr, counts=False) as advance:
        run = prepare.Preparation(request, advance)
        try:
            run.read()
        finally:
            _show_faults(run.faults[:faults], run.fault_count, show_text=show_text)
        if strict and run.fault_count:
            raise PrepareError(
                f"{run.fault_count:,} faults and --strict: nothing was written; correct the rows"
            )
        run.decide()
        written = run.write(out, lengths=compared, overwrite=overwrite)
    document = card.document(run, written, ["sluicegate", *sys.argv[1:]], compared)
    (out / "data-card.json").write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    (out / "data-card.md").write_text(card.page(document), encoding="utf-8")
    if as_json:
        typer.echo(neutral_json(orjson.dumps(document).decode()))
    else:
        for line in _told(document, out):
            typer.echo(line)


def _category_map(given: list[str]) -> dict[str, str]:
    found = {}
    for one in given:
        name, equals, known = one.partition("=")
        if not (name and equals and known):
            raise typer.BadParameter("write --map-category 'YOUR NAME=Known Name'")
        found[name] = known
    return found


def _show_faults(listed: Sequence[FaultyRow], count: int, *, show_text: bool) -> None:
    for one in listed:
        value = one.fault.value
        shown = f' (there stands "{neutral(value)}")' if show_text and value is not None else ""
        typer.echo(neutral(one.sentence, limit=400) + shown, err=True)
    if count > len(listed):
        typer.echo(f"and {count - len(listed):,} more faults; --faults lists up to 1,000", err=True)


def _told(card: Mapping[str, Any], out: Path) -> Iterator[str]:
    """The card for people, in short."""
    fates, near, conflicts = card["fates"], card["near_duplicates"], card["conflicts"]
    read = sum(fates.values()) + sum(
        one["faulty_rows"] + one["rows_under_other_licences"] for one in card["inputs"]
    )
    yield f"{read:,} rows read from {len(card['inputs'])} files: {fates['train']:,} to train, {fates['dev']:,} to dev"
    left_out = {
        "faulty": sum(one["faulty_rows"] for one in card["inputs"]),
        **{f"licence {name}": count for name, count in card["rows_left_out_by_licence"].items()},
        **{fate: count for fate, count in fates.items() if fate not in {"train", "dev"}},
    }
    said = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in left_out.items() if count)
    yield f"left out: {neutral(said, limit=1000) or 'none'}"
    yield (
        f"near duplicates: {near['rows']:,} rows, {near['clusters']:,} clusters; "
        f"conflicts: {conflicts['same_text']:,} texts, {conflicts['near_duplicates']:,} among near duplicates"
    )
    found = ", ".join(
        f"{name.replace('_', ' ')} {count:,}" for name, count in card["personal_data"]["places"].items()
    )
    masked = " (masked)" if card["personal_data"]["masked"] and found else ""
    yield f"personal data: {found or 'none found'}{masked}"
    longest = f"longest text: {card['longest_text_characters']:,} characters"
    yield (
        longest if card["compared_with_engine"] else f"{longest}; --bundle compares with what an engine takes"
    )
    for dimension in _TABLES:
        yield ""
        yield from _table(dimension, card["balance"][dimension])
    if card["warnings"]:
        yield ""
    for warning in card["warnings"]:
        yield f"warning: {neutral(warning, limit=1000)}"
    yield ""
    yield f"written to {out}: {', '.join(one['file'] for one in card['outputs'])}, data-card.json, data-card.md"


def _table(name: str, table: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    yield f"{name:32}" + "".join(f"{column:>14}" for column in _COLUMNS)
    for value, line in list(table.items())[:_SHOWN_NAMES]:
        yield f"{neutral(value, limit=31):32}" + "".join(f"{line[column]:>14,}" for column in _COLUMNS)
    if len(table) > _SHOWN_NAMES:
        yield f"and {len(table) - _SHOWN_NAMES} more: see the card"


# In the order of the work, which is that of `--help`; `prepare` stands above.
app.command("train")(adapt_train.train)
app.command("evaluate")(adapt_evaluate.evaluate)
app.command("calibrate")(adapt_calibrate.calibrate)
app.command("gate")(adapt_gate.gate)
app.command("export")(adapt_export.export)
app.command("screen-guard")(adapt_screen_guard.screen_guard)
app.command("cycle")(adapt_cycle.cycle)
app.command("mlflow")(adapt_mlflow.mlflow)
