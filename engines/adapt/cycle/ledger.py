"""The ledger: what people decided, as it came, and the snapshots that models learn from. No text stands in it readable.

A snapshot's digest is over everything but the encrypted texts. So an erasure takes the texts out of every snapshot there
is, and each still proves which rows it had.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Final, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sluicegate.engines.adapt.cycle.keys import AuthorKeys
from sluicegate.engines.adapt.data.rows import Split, plain_form
from sluicegate.engines.adapt.errors import CycleError
from sluicegate.engines.files import replacing
from sluicegate.schemas import Feedback, Post, encode
from sluicegate.schemas._fields import Code, Digest, Identifier, Instant, LanguageTag, Probability, TenantName
from sluicegate.schemas.assessment import Categories, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

QUARANTINE: Final = "quarantine"
SNAPSHOTS: Final = "snapshots"
RUNS: Final = "runs"
"""A folder for each training, below the ledger's."""
RESULT: Final = "result.json"
"""How a run ended; one that has not ended has none."""
ROWS: Final = "rows.jsonl"
MANIFEST: Final = "manifest.json"
KEYS: Final = "keys.json"
FORMAT: Final = 1

_MODEL = ConfigDict(frozen=True, extra="forbid", strict=True)
_Loose = Field(strict=False)


class SealedDecision(BaseModel):
    """What one person decided about one post, with the post encrypted."""

    model_config = _MODEL

    id: str
    """Keyed hash of the record: the same decision read twice is one."""
    case: str
    """Keyed hash of text and setting: equal posts are one case."""
    author: str
    """Keyed hash of the author."""
    tenant: TenantName
    language: LanguageTag | None = None
    verdict_id: Identifier
    severity: Severity
    categories: Annotated[Categories, _Loose] = ()
    refusal: bool | None = None
    blind: bool
    reviewed_at: Annotated[Instant, _Loose]
    reviewer: Identifier | None = None
    basis: Code | None = None
    sampled_by: Code | None = None
    probability: Probability | None = None
    found: Severity | None = None
    """What the verdict said."""
    engine: Digest | None = None
    """Whose verdict it was."""
    policy: Digest | None = None
    sealed: str | None = None
    """The post and the reason; None once they are erased."""


class SnapshotRow(BaseModel):
    """A row to learn from, with everything that led to it but its text."""

    model_config = _MODEL

    id: str
    """Keyed hash of the row, text included."""
    case: str
    author: str
    tenant: TenantName
    language: LanguageTag | None = None
    severity: Severity
    categories: Annotated[Categories, _Loose] = ()
    refusal: bool | None = None
    basis: str
    """What the label rests on."""
    votes: Annotated[tuple[int, int, int], _Loose]
    """How many people voted safe, controversial and unsafe."""
    decisions: Annotated[tuple[str, ...], _Loose]
    """Ids of the decisions."""
    verdicts: Annotated[tuple[Identifier, ...], _Loose]
    """The verdicts that they corrected or confirmed."""
    engines: Annotated[tuple[Digest, ...], _Loose] = ()
    """Who had judged."""
    found: Severity | None = None
    """What the newest of these verdicts said."""
    sampled_by: Code | None = None
    probability: Probability | None = None
    decided_at: Annotated[Instant, _Loose]
    split: Split | None = None
    """Where the row stood in an earlier snapshot; it stays there."""
    sealed: str | None = None

    @property
    def fact(self) -> dict[str, Any]:
        """The row without its text: what the digest is over."""
        return self.model_dump(mode="json", exclude={"sealed"})


class RowSnapshot(NamedTuple):
    """Rows that a model learns from."""

    digest: str
    parent: str | None
    rows: tuple[SnapshotRow, ...]


class CycleLedger:
    """The folder of a cycle. One cycle at a time may write to it, and erasures meanwhile.

    Args:
        folder: Made where it is missing.

    Raises:
        CycleError: It cannot be used.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.keys = AuthorKeys(folder / KEYS)

    def collect(self, records: Iterable[Feedback]) -> int:
        """Write decisions into a new file of the quarantine; how many were new.

        Decisions about authors who were erased are passed over: nothing of theirs comes back.
        """
        known = {one.id for one in self.decisions()}
        lines = []
        for record in records:
            sealed = self._sealed(record)
            if sealed is not None and sealed.id not in known:
                known.add(sealed.id)
                lines.append(sealed)
        with self.keys.held():
            lines = [one for one in lines if not self.keys.is_erased(one.author)]
            if lines:
                self.keys.save()  # first: a text whose key is lost is lost
                folder = self.folder / QUARANTINE
                folder.mkdir(parents=True, exist_ok=True)
                number = 1 + max((int(path.stem) for path in folder.glob("*.jsonl")), default=0)
                _write_lines(folder / f"{number:06}.jsonl", lines)
        return len(lines)

    def decisions(self, about: str | None = None) -> list[SealedDecision]:
        """Everything in the quarantine, or what is about one verdict; oldest first."""
        paths = sorted((self.folder / QUARANTINE).glob("*.jsonl"))
        lines = (line for path in paths for line in _lines(path))
        if about is not None:  # most lines need no reading for it
            named = orjson.dumps(about)
            lines = (line for line in lines if named in line)
        found = [SealedDecision.model_validate_json(line) for line in lines]
        return sorted(
            (one for one in found if about in (None, one.verdict_id)),
            key=lambda one: (one.reviewed_at, one.id),
        )

    def text(self, row: SealedDecision | SnapshotRow) -> tuple[Post, str | None] | None:
        """Post and reason of a row; None where they are erased."""
        plain = self.keys.open(row.author, row.case, row.sealed)
        if plain is None:
            return None
        document = orjson.loads(plain)
        return Post.model_validate(document["post"]), document["reason"]

    def take_snapshot(self, rows: Sequence[SnapshotRow]) -> RowSnapshot:
        """Write a snapshot after the newest one; the same rows give the same one again. Rows of erased authors stay out."""
        with self.keys.held():
            parent = self.newest()
            kept = (row for row in rows if not self.keys.is_erased(row.author))
            ordered = tuple(sorted(kept, key=lambda row: row.id))
            before = None if parent is None else self.snapshot(parent)
            if before is not None and before.digest == _digest(ordered, before.parent):
                return before
            digest = _digest(ordered, parent)
            folder = self._place(digest)
            folder.mkdir(parents=True, exist_ok=True)
            _write_lines(folder / ROWS, ordered)
            manifest = {"format": FORMAT, "digest": digest, "parent": parent, "rows": len(ordered)}
            with replacing(folder / MANIFEST, durable=True) as stream:
                stream.write(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
            with replacing(self.folder / SNAPSHOTS / "newest", durable=True) as stream:
                stream.write(digest.encode())
        return RowSnapshot(digest, parent, ordered)

    def newest(self) -> str | None:
        """Digest of the newest snapshot."""
        path = self.folder / SNAPSHOTS / "newest"
        return path.read_text().strip() if path.exists() else None

    def digests(self) -> list[str]:
        """Of every snapshot, by name."""
        paths = sorted((self.folder / SNAPSHOTS).glob(f"*/{MANIFEST}"))
        return [f"sha256:{path.parent.name}" for path in paths]

    def snapshot(self, digest: str) -> RowSnapshot:
        """Read a snapshot, and make sure that it is the one its digest promises.

        Raises:
            CycleError: It is missing, or was changed.
        """
        folder = self._place(digest)
        try:
            manifest = orjson.loads((folder / MANIFEST).read_bytes())
            rows = tuple(SnapshotRow.model_validate_json(line) for line in _lines(folder / ROWS))
            parent = manifest["parent"]
        except (OSError, orjson.JSONDecodeError, ValidationError, KeyError, TypeError) as error:
            raise CycleError(f"{folder} is no snapshot; restore it from a backup") from error
        if _digest(rows, parent) != digest:
            raise CycleError(f"{folder} was changed: it is not what {digest} promises; restore it")
        return RowSnapshot(digest, parent, rows)

    def rows_of(self, digest: str, verdict: str) -> list[SnapshotRow]:
        """The rows of a snapshot that came of a verdict. The snapshot as a whole is not made sure of."""
        named = orjson.dumps(verdict)
        lines = (line for line in _lines(self._place(digest) / ROWS) if named in line)
        found = [SnapshotRow.model_validate_json(line) for line in lines]
        return [row for row in found if verdict in row.verdicts]

    def shred(self, author: str) -> int:
        """Take the texts of an author out of every file of the ledger; how many rows and decisions that were."""
        touched = 0
        for path in [
            *(self.folder / QUARANTINE).glob("*.jsonl"),
            *(self.folder / SNAPSHOTS).glob(f"*/{ROWS}"),
        ]:
            kind = SealedDecision if path.parent.name == QUARANTINE else SnapshotRow
            rows: list[Any] = [kind.model_validate_json(line) for line in _lines(path)]
            theirs = [row for row in rows if row.author == author and row.sealed is not None]
            if theirs:
                touched += len(theirs)
                gone = {"sealed": None}
                _write_lines(
                    path, [row.model_copy(update=gone) if row.author == author else row for row in rows]
                )
        return touched

    def _sealed(self, record: Feedback) -> SealedDecision | None:
        post = record.post
        author = self.keys.author(post.tenant, post.author_id)
        context = (
            "" if post.context is None else orjson.dumps(post.model_dump(mode="json")["context"]).decode()
        )
        case = self.keys.mac(
            "case", plain_form(post.text), plain_form(context), post.kind, post.tenant, post.region
        )
        plain = orjson.dumps({"post": orjson.Fragment(encode(post)), "reason": record.reason})
        sealed = self.keys.seal(author, case, plain)
        if sealed is None:
            return None
        return SealedDecision(
            id=self.keys.mac("decision", encode(record).decode()),
            case=case,
            author=author,
            tenant=post.tenant,
            language=post.language,
            verdict_id=record.verdict_id,
            severity=record.severity,
            categories=record.categories,
            refusal=record.refusal,
            blind=record.blind,
            reviewed_at=record.reviewed_at,
            reviewer=record.reviewer,
            basis=None if record.basis is None else str(record.basis),
            sampled_by=record.sampled_by,
            probability=record.inclusion_probability,
            found=record.found,
            engine=record.engine,
            policy=record.policy,
            sealed=sealed,
        )

    def _place(self, digest: str) -> Path:
        return self.folder / SNAPSHOTS / digest.removeprefix("sha256:")


def fact_lines(rows: Iterable[SnapshotRow], parent: str | None) -> Iterator[bytes]:
    """A snapshot without its texts, as lines of JSON. The SHA-256 of these bytes is its digest.

    Args:
        rows: In the order of their ids.
        parent: Digest of the snapshot before it.
    """
    yield orjson.dumps({"format": FORMAT, "parent": parent}) + b"\n"
    yield from (orjson.dumps(row.fact, option=orjson.OPT_SORT_KEYS) + b"\n" for row in rows)


def _digest(rows: Sequence[SnapshotRow], parent: str | None) -> str:
    hashed = hashlib.sha256()
    for line in fact_lines(rows, parent):
        hashed.update(line)
    return f"sha256:{hashed.hexdigest()}"


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        yield from (line for line in stream if line.strip())


def _write_lines(path: Path, rows: Iterable[BaseModel]) -> None:
    with replacing(path, durable=True) as stream:
        for row in rows:
            stream.write(row.model_dump_json().encode() + b"\n")
