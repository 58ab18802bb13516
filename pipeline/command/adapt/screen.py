"""``sluicegate adapt screen``: prepared rows to a light model that answers the easy posts."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from sluicegate.engines.errors import ScreenError
from sluicegate.pipeline.command.options import AsJson, progress
from sluicegate.pipeline.text import neutral, neutral_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LIBRARIES = ("numpy", "sklearn", "matplotlib", "safetensors")


def screen(  # noqa: PLR0917 - options are parameters
    train: Annotated[
        Path,
        typer.Argument(metavar="TRAIN.jsonl", help="Rows to learn from, as `adapt prepare` writes them."),
    ],
    dev: Annotated[
        Path,
        typer.Argument(metavar="DEV.jsonl", help="Rows to report on; none of them may be in TRAIN.jsonl."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the screen; missing or empty.")],
    report: Annotated[
        Path | None,
        typer.Option(
            "--report", help="The report, such as screen.json; page and picture beside it. Default: by --out."
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the screen. Default: the folder's.")] = None,
    features: Annotated[
        int,
        typer.Option(
            min=1000, max=1_000_000, help="Hashed runs of characters and words to keep; 10 bytes each."
        ),
    ] = 160_000,
    minimum_rows: Annotated[
        int, typer.Option(min=100, help="A kind and language needs this many rows to be answered.")
    ] = 200,
    folds: Annotated[int, typer.Option(min=2, max=20, help="Parts that are held out in turn.")] = 5,
    seed: Annotated[int, typer.Option(help="The seed of the folds.")] = 0,
    unseen_sources: Annotated[
        bool,
        typer.Option(help="Learn again without each source, to report what the screen does to a new one."),
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a screen in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a screen: a small linear model that answers easy posts before the engine is asked.

    It learns three severities from hashed runs of characters and words. Then each part of the rows in turn is held
    out, rows of one group together, and a table says for every kind and language how often answers at or above a
    score are wrong, at most. In service it answers where that is within the tenant's tolerance, and nothing else.
    What has too few rows, no language, or context is left to the engine.

    Some minutes on one core for 40,000 rows. The page: docs/shortcuts.md.

    Example: sluicegate adapt screen prepared/train.jsonl prepared/dev.jsonl --out screen
    """
    written = report or out.with_name(f"{out.name}.json")
    if written.suffix != ".json":
        raise typer.BadParameter(
            "--report is a JSON file, such as screen.json; page and picture go beside it"
        )
    called = name or out.resolve().name.lower()
    if not _NAME.fullmatch(called):
        raise typer.BadParameter("--name: up to 64 of a-z 0-9 . _ -, such as forum-1")
    _require_libraries()
    from sluicegate.engines.adapt.evaluate.labelled_rows import read_labelled  # noqa: PLC0415 - an extra
    from sluicegate.engines.adapt.screen import making  # noqa: PLC0415 - the same
    from sluicegate.engines.adapt.screen.report import document  # noqa: PLC0415 - the same
    from sluicegate.engines.screen import Screen  # noqa: PLC0415 - the same

    rows, dev_rows = read_labelled([train]).rows, read_labelled([dev]).rows
    shared = {row.id for row in rows} & {row.id for row in dev_rows}
    if shared or any(row.split == "dev" for row in rows):
        raise ScreenError(
            f"{train} has rows of {dev}: a screen is measured on others; run `sluicegate adapt prepare`"
        )
    terms = making.ScreenTerms(called, features=features, minimum_rows=minimum_rows, folds=folds, seed=seed)
    making.claim(out, overwrite=overwrite)
    with progress(sys.stderr) as advance:
        made = making.make(rows, terms, advance)
        making.write(made, out)
        measured = making.measured(Screen.load(out), dev_rows, advance)
        unseen = making.unseen(made, terms, advance) if unseen_sources else []
    found = document(made, terms, measured, unseen, ["sluicegate", *sys.argv[1:]])
    _write(found, written)
    if as_json:
        typer.echo(neutral_json(orjson.dumps(found).decode()))
        return
    for line in _told(found, out, written):
        typer.echo(line)


def _require_libraries() -> None:
    missing = [name for name in _LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise ScreenError(f"{missing[0]} is missing: pip install 'sluicegate[screen,evaluate]'")


def _write(found: Mapping[str, Any], path: Path) -> None:
    from sluicegate.engines.adapt.screen import report  # noqa: PLC0415 - an extra

    picture = path.with_suffix(".png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        report.draw(found, picture)
        path.with_suffix(".md").write_text(report.page(found, picture.name), encoding="utf-8")
        path.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    except OSError as error:
        raise ScreenError(f"{path} cannot be written ({error.strerror}); give another --report") from error


def _told(found: Mapping[str, Any], out: Path, report: Path) -> Iterator[str]:
    """The report for people, in short."""
    left_out = ", ".join(f"{name} {count:,}" for name, count in found["left_out"].items())
    yield f"{found['rows']:,} rows learnt from; left out: {left_out or 'none'}"
    for one in found["calibrated"]:
        name = neutral(f"{one['kind']}, {one['language']}", limit=31)
        sides = ", ".join(
            f"{side} from {one[side][-1][1]:.4f}" for side in ("safe", "unsafe") if one.get(side)
        )
        yield f"{name:20}{one['rows']:>8,} rows: {one.get('why_not') or f'answers {sides}'}"
    yield "dev rows answered safe, and wrong of them, by tolerance:"
    for point in found["dev"]["all"]["safe"]:
        share, wrong = (100 * point.get(key, 0) for key in ("share_answered", "share_wrong"))
        yield f"{point['tolerance']:>8g}{share:>8.1f} %{wrong:>8.1f} %"
    yield f"written to {neutral(str(out))}: {found['bytes']:,} bytes, digest {found['digest']}"
    yield f"report: {neutral(str(report))}, {report.with_suffix('.md').name}, {report.with_suffix('.png').name}"
