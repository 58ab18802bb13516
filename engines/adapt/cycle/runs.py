"""Runs: the folders of trainings below a ledger, what each learnt from, and what is readable in them.

Readable texts stand in the folder ``work`` of a run alone, and only while the run needs them.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from sluicegate.engines.adapt.cycle.ledger import RESULT, RUNS, CycleLedger, SnapshotRow
from sluicegate.engines.adapt.data.row_files import RecordFile
from sluicegate.engines.files import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


WORK: Final = "work"
SITTING: Final = "sitting"
"""Folder of the training in a run."""
USED: Final = "rows.json"
"""Which rows of its snapshot a run learnt from, which it was judged with, and why others are out: ids alone."""
SPLITS: Final = "splits.json"
_GONE: Final = ".gone"


class UsedRows(NamedTuple):
    """What a run made of the rows of its snapshot, by id."""

    train: frozenset[str]
    dev: frozenset[str]
    """Held out: the model was chosen, calibrated and gated with them."""
    out: dict[str, str]
    """Why each of the others is out."""

    @classmethod
    def of(cls, run: Path, rows: Sequence[SnapshotRow]) -> UsedRows:
        """Read it.

        Args:
            run: Folder of a run that has ended.
            rows: Of its snapshot. All of them count as learnt where an earlier version wrote no such file.
        """
        path = run / USED
        if not path.exists():
            return cls(frozenset(row.id for row in rows), frozenset(), {})
        document = orjson.loads(path.read_bytes())
        return cls(frozenset(document["train"]), frozenset(document["dev"]), document["out"])

    def write(self, run: Path) -> None:
        """Write it into a run's folder."""
        document = {"train": sorted(self.train), "dev": sorted(self.dev), "out": self.out}
        replace_file(run / USED, orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))


def results(folder: Path, plan: str = "*") -> list[tuple[Path, dict[str, Any]]]:
    """Runs that have ended, oldest first, each with its result.

    Args:
        folder: Of the ledger.
        plan: Name of the plan whose runs these are.
    """
    found = [
        (path.parent, orjson.loads(path.read_bytes())) for path in (folder / RUNS).glob(f"{plan}-*/{RESULT}")
    ]
    return sorted(found, key=lambda one: (one[1]["at"], one[0].name))


def unfinished(ledger: CycleLedger) -> Iterator[tuple[Path, str | None]]:
    """Runs that have not ended, each with the digest of its snapshot; None where there is no such snapshot."""
    digests = {short(digest): digest for digest in ledger.digests()}
    for run in sorted((ledger.folder / RUNS).glob("*")):
        if not (run / RESULT).exists():
            yield run, digests.get(run.name.rpartition("-")[2])


def short(digest: str) -> str:
    """What a run's name has of its snapshot's digest."""
    return digest.removeprefix("sha256:")[:12]


def discard(run: Path) -> None:
    """Delete a run. A command that still works in it writes nothing more there: the folder gets another name first."""
    if not run.exists():
        return
    gone = run if run.name.endswith(_GONE) else run.with_name(f"{run.name}{_GONE}")
    if gone != run:
        shutil.rmtree(gone, ignore_errors=True)
        run.rename(gone)
    shutil.rmtree(gone)


def tidy(ledger: CycleLedger, run: Path) -> None:
    """After a run: note where each case stands, and take away what is readable. The snapshot has it all.

    Of the training the adapter and its plan stay, which a later training may begin with.
    """
    prepared = run / WORK / "prepared"
    if (run / WORK).exists():
        snapshot = orjson.loads((run / RESULT).read_bytes())["snapshot"]
        _keep_splits(ledger, prepared, ledger.snapshot(snapshot).rows)
        shutil.rmtree(run / WORK)
    shutil.rmtree(run / "draft", ignore_errors=True)
    for name in ("base", "adapter"):
        shutil.rmtree(run / SITTING / name, ignore_errors=True)
    (run / SITTING / "checkpoint.pt").unlink(missing_ok=True)


def splits(folder: Path) -> dict[str, str]:
    """By case, where it stood in an earlier run."""
    path = folder / SPLITS
    found: dict[str, str] = orjson.loads(path.read_bytes()) if path.exists() else {}
    return found


def _keep_splits(ledger: CycleLedger, prepared: Path, rows: Sequence[SnapshotRow]) -> None:
    """Note where each case stands: a text that was seen in dev stays there for ever."""
    cases = {row.id: row.case for row in rows}
    known = splits(ledger.folder)
    for split in ("train", "dev"):
        path = prepared / f"{split}.jsonl"
        for name in ids(path) if path.exists() else ():
            if name in cases:
                known.setdefault(cases[name], split)
    content = orjson.dumps(known, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
    replace_file(ledger.folder / SPLITS, content)


def ids(path: Path) -> list[str]:
    """Ids of the rows of a file of JSON lines."""
    return [one["id"] for one in documents(path)]


def documents(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    for record in RecordFile(path).records():
        if isinstance(record.content, dict):
            yield record.content
