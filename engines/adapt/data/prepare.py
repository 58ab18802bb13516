"""Prepare: labelled files to train and dev, in two passes, with no text kept between them.

The first pass reads, checks and notes facts of every row; decisions are decided from the facts; the second
pass reads again and writes what is kept.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from sluicegate.engines.adapt.data.decisions import Choices, RowDecision, RowDecisions, decide
from sluicegate.engines.adapt.data.distribution import Distribution
from sluicegate.engines.adapt.data.near_duplicates import DEFAULT_SIMILARITY, NearDuplicateIndex
from sluicegate.engines.adapt.data.personal import Span, find, masked
from sluicegate.engines.adapt.data.row_files import (
    CONFLICTS,
    LEFT_OUT,
    NO_DATA,
    DataSource,
    RecordFile,
    SourceBook,
    WrittenFile,
    is_licensed,
    licence_name,
    replaced_together,
)
from sluicegate.engines.adapt.data.row_reader import RowReader
from sluicegate.engines.adapt.data.rows import Row, RowFacts, Split
from sluicegate.engines.adapt.errors import FaultyRow, PrepareError, RowFault
from sluicegate.engines.bundle import Bundle
from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path


class Lengths:
    """Compares rows with what the engine of a bundle takes.

    Args:
        bundle: Folder of the bundle; its weights are not read.

    Raises:
        BundleError: The bundle cannot be opened.
    """

    def __init__(self, bundle: Path) -> None:
        opened = Bundle.open(bundle, verify=False)
        self.digest = opened.digest
        self.max_prompt_tokens = opened.manifest.limits.max_prompt_tokens
        self._prompter = Prompter(opened.tokenizer, opened.layout, max_prompt_tokens=self.max_prompt_tokens)

    def is_too_long(self, row: Row) -> bool:
        """True if the row's prompt has more tokens than the engine takes at once."""
        post = Post(
            id="row",
            text=row.text,
            kind=row.kind,
            context=row.context,
            language=row.language,
            region=row.region,
        )
        return isinstance(self._prompter.build(post), ItemFailure)


_MOST_FAULTS = 1_000  # kept; the rest is counted
_EVERY_ROWS = 500  # between two reports of progress


Advance: TypeAlias = "Callable[[str, int, int], None]"
"""Called now and then with a stage, the bytes done and all bytes."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    files: tuple[Path, ...]
    choices: Choices = field(default_factory=Choices)
    similarity: float = DEFAULT_SIMILARITY
    kind: str = "post"
    language: str | None = None
    extra_categories: tuple[str, ...] = ()
    category_map: Mapping[str, str] = field(default_factory=dict)
    licences: tuple[str, ...] = ()
    """Only rows under one of these; empty takes all."""
    mask_pii: bool = False


@dataclass(slots=True)
class InputFile:
    """What was found in one file."""

    path: Path
    sha256: str = ""
    bytes: int = 0
    rows: int = 0
    """In order, and under a licence that is wanted."""
    faulty_rows: int = 0
    other_licence: int = 0
    is_as_promised: bool = True
    """False if the manifest names another digest."""


@dataclass(slots=True)
class RowPlace:
    """Where an accepted row stands; ``has_pii`` says whether masking has to look at it again."""

    file: int
    line: int
    id: str
    has_pii: bool


class Preparation:
    """One run of ``prepare``: :meth:`read`, then :meth:`decide`, then :meth:`write`.

    Args:
        request: What is asked for.
        advance: Told of progress.

    Raises:
        PrepareError: The request contradicts itself.
    """

    def __init__(self, request: Request, advance: Advance = lambda *_: None) -> None:
        self.request = request
        self.inputs = [InputFile(path) for path in request.files]
        self.places: list[RowPlace] = []
        self.faults: list[FaultyRow] = []
        """The first thousand."""
        self.fault_count = 0
        self.other_licences: Counter[str] = Counter()
        self.personal_data: Counter[str] = Counter()
        """Places found in the rows accepted, by kind."""
        self.rows_with_pii = 0
        self.sources: dict[str, DataSource] = {}
        self.distribution = Distribution()
        self.decisions = RowDecisions([])
        self._facts: list[RowFacts] = []
        self._near = NearDuplicateIndex(request.similarity)
        self._advance = advance
        self._total_bytes = sum(path.stat().st_size for path in request.files)
        self._book = SourceBook()
        self._reader = self._new_reader()

    @property
    def unused_fields(self) -> Counter[str]:
        """Names of fields that mean nothing here, with how many rows have them."""
        return self._reader.unused_fields

    def read(self) -> None:
        """Read and check every row, and note its facts.

        Raises:
            PrepareError: A file or a manifest cannot be read, or no row is in order.
        """
        for number, line, found in self._rows(self._reader, "reading"):
            file = self.inputs[number]
            if isinstance(found, list):
                self._note_faults(file, line, found)
            elif self.request.licences and not is_licensed(found, self.request.licences):
                file.other_licence += 1
                self.other_licences[
                    "none named" if found.licence is None else licence_name(found.licence)
                ] += 1
            else:
                self._note(found, RowPlace(number, line, found.id, has_pii=False))
        for file in self.inputs:
            promised = self._book.sha256(file.path)
            file.is_as_promised = promised in (None, file.sha256)
        if not self.places:
            why = "their licences are others" if self.other_licences else "see what is wrong with the rows"
            raise PrepareError(f"no row is left of {len(self.inputs)} files, nothing was written: {why}")

    def decide(self) -> None:
        """Decide what becomes of every row; the result is in ``decisions``."""
        self.decisions = decide(self._facts, self._near.pairs, self.request.choices)

    def write(
        self, folder: Path, *, lengths: Lengths | None = None, overwrite: bool = False
    ) -> dict[str, WrittenFile]:
        """Write ``train.jsonl`` and ``dev.jsonl``, and ``conflicts.jsonl`` and ``left-out.jsonl`` where there are any.

        All of them appear once all are written.

        Args:
            folder: Made if it is missing.
            lengths: What every row is compared with; None compares none.
            overwrite: Replace what is there.

        Returns:
            By file name, what was written.

        Raises:
            PrepareError: The folder holds results already or is one that is read from, or an input changed meanwhile.
        """
        if folder.resolve() in {file.path.parent.resolve() for file in self.inputs}:
            raise PrepareError(f"{folder} is read from; give --out a folder of its own")
        before = [file.sha256 for file in self.inputs]
        with replaced_together(folder, ("train.jsonl", "dev.jsonl", *NO_DATA), overwrite=overwrite) as out:
            for row, decision in zip(self._accepted(), self.decisions.of, strict=True):
                if decision.is_kept:
                    split: Split = "train" if decision is RowDecision.TRAIN else "dev"
                    row_out = row.model_copy(update={"split": split})
                    self.distribution.add(row_out, split)
                    self.distribution.too_long += lengths is not None and lengths.is_too_long(row_out)
                    out[f"{split}.jsonl"].line(row_out.document())
            if before != [file.sha256 for file in self.inputs]:
                raise PrepareError("an input file changed while it was read; run it again")
            for conflict in self._conflicts():
                out[CONFLICTS].line(conflict)
            for number, decision in enumerate(self.decisions.of):
                if not decision.is_kept:
                    out[LEFT_OUT].line(self._told(number))
        return {name: file.written for name, file in out.items() if file.is_kept}

    def _new_reader(self) -> RowReader:
        request = self.request
        return RowReader(
            kind=request.kind,
            language=request.language,
            extra_categories=request.extra_categories,
            category_map=request.category_map,
        )

    def _rows(self, reader: RowReader, stage: str) -> Iterator[tuple[int, int, Row | list[RowFault]]]:
        """Every record of every file as a row or its faults, with its file's number and its line."""
        done_bytes = 0
        for number, file in enumerate(self.inputs):
            records = RecordFile(file.path)
            for count, record in enumerate(records.records()):
                if count % _EVERY_ROWS == 0:
                    self._advance(stage, done_bytes + records.bytes_read, self._total_bytes)
                if isinstance(record.content, dict):
                    row = reader.read(record.content, name=file.path.stem, line=record.line)
                    if not isinstance(row, list):
                        row = self._book.with_licence(row, file.path)
                    yield number, record.line, row
                else:
                    yield number, record.line, [record.content]
            file.sha256, file.bytes = records.sha256, records.bytes_read
            done_bytes += records.bytes_read
            self._advance(stage, done_bytes, self._total_bytes)

    def _accepted(self) -> Iterator[Row]:
        """The rows of :attr:`places`, read again."""
        places = iter(self.places)
        place = next(places, None)
        for number, line, found in self._rows(self._new_reader(), "writing"):
            # A changed file may end early or come late: its digest says so in the end.
            if (
                place is not None
                and (place.file, place.line) == (number, line)
                and not isinstance(found, list)
            ):
                masks = self.request.mask_pii and place.has_pii
                yield _masked(found) if masks else found
                place = next(places, None)
        if place is not None:
            raise PrepareError("an input file changed while it was read; run it again")

    def _note(self, row: Row, place: RowPlace) -> None:
        file = self.inputs[place.file]
        if row.source not in self.sources:
            self.sources[row.source] = self._book.source(file.path, row.source)
        spans = [span for text in _texts(row) for span in _spans(text, row)]
        if spans:
            self.personal_data.update(span.kind for span in spans)
            self.rows_with_pii += 1
            place.has_pii = True
            if self.request.mask_pii:
                row = _masked(row)
        file.rows += 1
        self.places.append(place)
        self._facts.append(RowFacts.of(row, self._near.add(row.text)))

    def _note_faults(self, file: InputFile, line: int, faults: list[RowFault]) -> None:
        file.faulty_rows += 1
        self.fault_count += len(faults)
        room = _MOST_FAULTS - len(self.faults)
        self.faults += [FaultyRow(str(file.path), line, fault) for fault in faults[: max(0, room)]]

    def _conflicts(self) -> Iterator[dict[str, object]]:
        for kind, sets in (
            ("same text", self.decisions.conflicts),
            ("near duplicates", self.decisions.near_conflicts),
        ):
            for rows in sets:
                yield {"conflict": kind, "rows": [self._told(row) for row in rows]}

    def _told(self, row: int) -> dict[str, object]:
        place = self.places[row]
        return {
            "file": str(self.inputs[place.file].path),
            "line": place.line,
            "id": place.id,
            "severity": self._facts[row].severity,
            "fate": self.decisions.of[row].value,
        }


def _texts(row: Row) -> list[str]:
    if row.context is None or isinstance(row.context, str):
        turns = [row.context]
    else:
        turns = [turn.text for turn in row.context]
    return [text for text in (row.text, *turns, row.reason) if text]


def _spans(text: str, row: Row) -> list[Span]:
    return find(text, language=row.language, region=row.region)


def _masked(row: Row) -> Row:
    def mask(text: str) -> str:
        return masked(text, _spans(text, row))

    context = row.context
    if context is not None:
        context = (
            mask(context)
            if isinstance(context, str)
            else tuple(turn.model_copy(update={"text": mask(turn.text)}) for turn in context)
        )
    return row.model_copy(
        update={"text": mask(row.text), "context": context, "reason": row.reason and mask(row.reason)}
    )
