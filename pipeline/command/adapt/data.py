"""``sluicegate trace`` and ``sluicegate data``: from a verdict to what taught its model, and texts out of all of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from sluicegate.engines.adapt.errors import CycleError
from sluicegate.pipeline.command.options import AsJson
from sluicegate.pipeline.text import neutral

Ledger = Annotated[Path, typer.Option("--ledger", help="Folder of the cycle: decisions, snapshots and runs.")]

app = typer.Typer(
    help="The data that models learn from. The page: docs/cycle.md.\n\n"
    "Example: sluicegate data erase --tenant forum --author 4711 --ledger cycle",
    no_args_is_help=True,
)


@app.callback()
def _data() -> None:
    """Make `data` a group."""


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
        typer.echo(f"  row {row.id[:16]} ({row.severity}) taught {', '.join(learnt) or 'no bundle'}")
    for name, digest, why in found.not_taught:
        said = "was held out: it judged" if why == "dev" else f"was left out ({why}): it did not teach"
        typer.echo(f"  row {name[:16]} {said} {digest}")


@app.command("erase")
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


@app.command("dvc")
def dvc(
    out: Annotated[Path, typer.Option("--out", help="Folder for the files: one in your repository.")],
    ledger: Ledger = Path("cycle"),
    snapshot: Annotated[
        str | None, typer.Option(help="Digest of a snapshot, sha256:… . Default: the newest one.")
    ] = None,
) -> None:
    """Write a snapshot's rows without their texts, and the .dvc file that DVC knows them by.

    DVC is not needed for it. `dvc commit` puts the file into its cache.

    Example: sluicegate data dvc --ledger cycle --out snapshots
    """
    from sluicegate.engines.adapt.cycle.dvc import write_for_dvc  # noqa: PLC0415 - loads the cipher
    from sluicegate.engines.adapt.cycle.ledger import CycleLedger  # noqa: PLC0415 - the same

    opened = _opened(CycleLedger, ledger)
    digest = snapshot or opened.newest()
    if digest is None:
        raise CycleError(f"{ledger} has no snapshot yet; `sluicegate adapt cycle` takes one")
    written = write_for_dvc(opened.snapshot(digest), out)
    typer.echo(f"written: {written.with_suffix('')} and {written.name}; next: dvc commit {written}")


def _opened(kind: Any, folder: Path) -> Any:
    from sluicegate.engines.adapt.cycle.ledger import KEYS  # noqa: PLC0415 - loads the cipher

    if not (folder / KEYS).is_file():
        raise CycleError(
            f"{folder} is no ledger of a cycle; give --ledger the folder that `adapt cycle` writes to"
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
