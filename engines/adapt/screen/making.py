"""Making a screen: learn, measure on rows held out in turn, write a folder. Needs the extra ``evaluate``.

Measured is what the screen answers of labelled rows, and how often it is wrong, as a curve over the tolerance.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy.sparse import csr_matrix, diags
from sklearn.linear_model import SGDClassifier

from sluicegate.engines.adapt.calibrate.fitting import FOLDS, Aims, fold_numbers
from sluicegate.engines.adapt.calibrate.grouping import GroupingTerms as CalibrationTerms
from sluicegate.engines.adapt.calibrate.grouping import fit
from sluicegate.engines.adapt.data.rows import Row
from sluicegate.engines.adapt.evaluate.labelled_rows import rows_digest
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES, ScoredRow, labelled
from sluicegate.engines.adapt.screen.grouping import MINIMUM_ROWS, Grouped, HeldOut, grouped, upper_bound
from sluicegate.engines.errors import ScreenError
from sluicegate.engines.screen import (
    MANIFEST,
    WEIGHTS,
    Screen,
    ScreenAnswer,
    ScreenManifest,
    ScreenSource,
    Weights,
    answer_within,
    spoken,
)
from sluicegate.engines.screen.weights import BITS, Array, Linear, hashed, plain, probe
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


FEATURES: Final = 160_000
"""Makes a file of 1.6 MB; half as many again gain nothing that dev rows show."""

_AT_ONCE = 512
_LEAST_TEXTS = 2  # a feature of a single text says nothing of others
_DECAY = 1e-5
_ROUNDS = 12


def matrix(texts: Sequence[str]) -> Any:
    """``[texts, features]``, sparse: 1 where a text, in its plain form, has a feature."""
    ids, ends = [], [np.zeros(1, np.int64)]
    for at in range(0, len(texts), _AT_ONCE):
        found = hashed(texts[at : at + _AT_ONCE])
        ids.append(found.ids)
        ends.append(found.starts[1:] + ends[-1][-1])
    flat = np.concatenate(ids).astype(np.int32)
    return csr_matrix(
        (np.ones(len(flat), np.float32), flat, np.concatenate(ends)), shape=(len(texts), 1 << BITS)
    )


@dataclass(frozen=True, slots=True)
class Learnt:
    """A model of some rows."""

    features: Array
    """Numbers of the features that it knows, rising."""
    model: Any

    @classmethod
    def of(cls, counts: Any, severities: Sequence[str], *, most_features: int = FEATURES) -> Learnt:
        """Learn from rows; the same rows give the same weights.

        Args:
            counts: Of :func:`matrix`.
            severities: The rows' labels, all three among them.
            most_features: Kept are those that most texts have.
        """
        features = _chosen(counts, most_features)
        # Averaged, it is as good on rows held out as a solver that takes five times as long.
        model = SGDClassifier(
            loss="log_loss", alpha=_DECAY, average=True, max_iter=_ROUNDS, tol=None, random_state=0
        )
        model.fit(_known(counts, features), [SEVERITIES.index(one) for one in severities])
        return cls(features, model)

    def arrays(self) -> dict[str, Array]:
        """As a screen's file has them."""
        return {
            "features": self.features.astype(np.uint32),
            "weights": np.ascontiguousarray(self.model.coef_.T.astype(np.float16)),
            "intercepts": self.model.intercept_.astype(np.float32),
        }


def _chosen(counts: Any, most: int) -> Array:
    texts = np.bincount(counts.indices, minlength=counts.shape[1])
    least = _LEAST_TEXTS
    while np.count_nonzero(texts >= least) > most:
        least += 1
    return np.flatnonzero(texts >= least)


def _known(counts: Any, features: Array) -> Any:
    """The columns of these features, weighed as :class:`~sluicegate.engines.screen.weights.Linear` does."""
    known = counts[:, features]
    sizes = np.maximum(np.diff(known.indptr), 1)
    return (diags((1 / np.sqrt(sizes)).astype(np.float32)) @ known).tocsr()


_PLAIN_AT_ONCE = 1000
_LEAST_ROWS = 100


@dataclass(frozen=True, slots=True)
class ScreenTerms:
    """How a screen is made."""

    name: str
    features: int = FEATURES
    minimum_rows: int = MINIMUM_ROWS
    folds: int = FOLDS
    seed: int = 0


@dataclass(frozen=True, slots=True)
class MadeScreen:
    """A screen, not yet written, and how it came about."""

    manifest: ScreenManifest
    weights: bytes
    groups: tuple[Grouped, ...]
    rows: tuple[Row, ...]
    """Those that it learnt from."""
    left_out: dict[str, int]
    """Rows that taught nothing, by reason."""
    counts: Any
    """Features of the rows."""

    def linear_without(self, at: Any, terms: ScreenTerms) -> Linear | None:
        """Weights that learnt nothing of some rows, a mask; None if too little is left."""
        kept = [row.severity for row, gone in zip(self.rows, at.tolist(), strict=True) if not gone]
        if {*kept} != {*SEVERITIES}:
            return None
        return Linear(Learnt.of(self.counts[~at], kept, most_features=terms.features).arrays())


def make(rows: Sequence[Row], terms: ScreenTerms, advance: Callable[[str, int, int], None]) -> MadeScreen:
    """Learn from rows, and measure on each fold of them what a model finds that learnt from the others.

    Args:
        rows: Prepared ones, of the train split.
        terms: How.
        advance: Called with a stage, what is done of it and all.

    Raises:
        ScreenError: The rows do not suffice.
    """
    kept, left_out = _teaching(rows)
    severities = [row.severity for row in kept]
    if len(kept) < _LEAST_ROWS or {*severities} != {*SEVERITIES}:
        raise ScreenError(
            f"{len(kept):,} rows with a language and without context, {len({*severities})} severities among them; "
            f"give at least {_LEAST_ROWS} of all three"
        )
    plains: list[str] = []
    for row in kept:
        plains.append(plain(row.text))
        if len(plains) % _PLAIN_AT_ONCE == 0 or len(plains) == len(kept):
            advance("reading texts", len(plains), len(kept))
    counts = matrix(plains)
    held_out = _held_out(kept, plains, counts, terms, advance)
    scored = [ScoredRow(**labelled(one.row), probabilities=one.probabilities) for one in held_out]
    calibration = fit(
        scored, CalibrationTerms(Aims(), minimum_rows=terms.minimum_rows, seed=terms.seed)
    ).calibration
    groups = grouped(held_out, minimum_rows=terms.minimum_rows)
    raw = _saved(Learnt.of(counts, severities, most_features=terms.features).arrays())
    advance("learning", terms.folds + 1, terms.folds + 1)
    manifest = ScreenManifest(
        name=terms.name,
        features=probe(),
        weights=Weights(sha256=f"sha256:{hashlib.sha256(raw).hexdigest()}", bytes=len(raw)),
        data=rows_digest(kept),
        rows=len(kept),
        sources=_sources(kept),
        calibration=calibration,
        groups=tuple(one.group for one in groups if one.group is not None),
    )
    return MadeScreen(manifest, raw, tuple(groups), tuple(kept), left_out, counts)


def claim(folder: Path, *, overwrite: bool) -> None:
    """Make sure that a screen can be written to a folder: before minutes of work, not after them.

    Raises:
        ScreenError: There is something in it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        taken = any(folder.iterdir()) and not (overwrite and (folder / WEIGHTS).is_file())
    except OSError as error:
        raise ScreenError(f"{folder} cannot be written ({error.strerror}); give another --out") from error
    if taken:
        raise ScreenError(f"{folder} is not empty; give another --out, or --overwrite for a screen")


def write(made: MadeScreen, folder: Path) -> None:
    """Write a folder that was claimed, the manifest last: without it there is no screen.

    Raises:
        ScreenError: It cannot be written.
    """
    try:
        (folder / MANIFEST).unlink(missing_ok=True)
        (folder / WEIGHTS).write_bytes(made.weights)
        (folder / MANIFEST).write_bytes(made.manifest.content())
    except OSError as error:
        raise ScreenError(f"{folder} cannot be written ({error.strerror}); give another --out") from error


def _teaching(rows: Sequence[Row]) -> tuple[list[Row], dict[str, int]]:
    """Rows that a screen may learn from, and how many it may not, by reason."""
    severities: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        severities[spoken(row.language or "")].add(row.severity)
    kept, left_out = [], Counter[str]()
    for row in rows:
        if row.language is None:
            left_out["no language"] += 1
        elif row.context is not None:
            left_out["with context"] += 1
        elif len(severities[spoken(row.language)]) == 1:
            left_out["language with one severity only"] += 1
        else:
            kept.append(row)
    return kept, dict(left_out)


def _held_out(
    rows: Sequence[Row],
    plains: Sequence[str],
    counts: Any,
    terms: ScreenTerms,
    advance: Callable[[str, int, int], None],
) -> list[HeldOut]:
    """Every row as a model of the other folds finds it; rows of one group are in one fold."""
    ids: list[Any] = [ScoredRow(**labelled(row), failure="none") for row in rows]
    folds = fold_numbers(ids, seed=terms.seed, folds=terms.folds)
    severities = np.array([row.severity for row in rows])
    probabilities, known = np.zeros((len(rows), 3)), np.zeros(len(rows))
    for done, fold in enumerate(np.unique(folds).tolist()):
        advance("learning", done, terms.folds + 1)
        at = folds == fold
        if {*severities[~at]} != {*SEVERITIES}:
            raise ScreenError("too few rows, or groups too large, to hold some out; give more rows")
        learnt = Learnt.of(counts[~at], severities[~at].tolist(), most_features=terms.features)
        linear = Linear(learnt.arrays())
        numbers = np.flatnonzero(at)
        for start in range(0, len(numbers), _PLAIN_AT_ONCE):
            part = numbers[start : start + _PLAIN_AT_ONCE]
            judged = linear.judged([plains[one] for one in part.tolist()])
            probabilities[part], known[part] = judged.probabilities, judged.known
    return [
        HeldOut(row, text, (three[0], three[1], three[2]), share)
        for row, text, three, share in zip(rows, plains, probabilities.tolist(), known.tolist(), strict=True)
    ]


def _saved(arrays: dict[str, Any]) -> bytes:
    from safetensors.numpy import save  # noqa: PLC0415 - an extra

    return bytes(save(arrays))


def _sources(rows: Sequence[Row]) -> dict[str, ScreenSource]:
    counts = Counter(row.source for row in rows)
    licences = {row.source: row.licence for row in rows}
    return {name: ScreenSource(licence=licences[name], rows=counts[name]) for name in sorted(counts)}


TOLERANCES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1)
SIDES: Final = ("safe", "unsafe")

_ANSWERED_AT_ONCE = 1000
_DIGITS = 5

Pair = tuple["Row", "ScreenAnswer | None"]


def measured(screen: Screen, rows: Sequence[Row], advance: Callable[[str, int, int], None]) -> dict[str, Any]:
    """All rows together, then each kind and language, most rows first.

    Args:
        screen: As a worker loads it.
        rows: That it did not learn from.
        advance: Called with a stage, what is done of it and all.
    """
    pairs: list[Pair] = []
    for at in range(0, len(rows), _ANSWERED_AT_ONCE):
        part = rows[at : at + _ANSWERED_AT_ONCE]
        pairs += zip(part, answered(screen, part), strict=True)
        advance("measuring on dev", len(pairs), len(rows))
    groups: dict[tuple[str, str], list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair[0].kind, spoken(pair[0].language or "und")].append(pair)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        "all": {"rows": len(pairs), **curves(pairs)},
        "groups": [
            {"kind": kind, "language": language, "rows": len(members), **curves(members)}
            for (kind, language), members in ordered
        ],
    }


def unseen(
    made: MadeScreen, terms: ScreenTerms, advance: Callable[[str, int, int], None]
) -> list[dict[str, Any]]:
    """What the tables are worth on a source that taught nothing, each source in turn.

    The weights are learnt again without the source; bars and steps stay those of the screen. Sources whose rows
    the screen answers nothing of, no matter who taught it, are passed over.
    """
    held = {(one.kind, one.language) for one in made.manifest.groups}
    names = [
        name
        for name in made.manifest.sources
        if any(row.source == name and (row.kind, spoken(row.language or "")) in held for row in made.rows)
    ]
    found = []
    for done, name in enumerate(names):
        advance("learning without one source", done, len(names))
        at = np.array([row.source == name for row in made.rows])
        linear = made.linear_without(at, terms)
        if linear is None:
            continue
        rows = [row for row in made.rows if row.source == name]
        pairs = list(zip(rows, answered(Screen(made.manifest, linear), rows), strict=True))
        found.append({"source": name, "rows": len(rows), **curves(pairs)})
    advance("learning without one source", len(names), len(names))
    return found


def answered(screen: Screen, rows: Sequence[Row]) -> list[ScreenAnswer | None]:
    """A screen's answers to rows, as to posts."""
    return screen.answers(
        [
            Post(id=row.id, text=row.text, kind=row.kind, context=row.context, language=row.language)
            for row in rows
        ]
    )


def curves(pairs: Sequence[Pair]) -> dict[str, list[dict[str, Any]]]:
    """For either side, a point for each tolerance: rows answered, and those of them whose label is another."""
    found: dict[str, list[dict[str, Any]]] = {}
    for side in SIDES:
        of_side = [(row, one) for row, one in pairs if one is not None and one.severity == side]
        points = []
        for tolerance in TOLERANCES:
            taken = [row for row, one in of_side if answer_within(one, tolerance)]
            wrong = sum(row.severity != side for row in taken)
            point: dict[str, Any] = {"tolerance": tolerance, "answered": len(taken), "wrong": wrong}
            if taken:
                point |= {
                    "share_answered": round(len(taken) / len(pairs), _DIGITS),
                    "share_wrong": round(wrong / len(taken), _DIGITS),
                    "at_most": round(upper_bound(wrong, len(taken)), _DIGITS),
                    "added_error": round(wrong / len(pairs), _DIGITS),
                }
            points.append(point)
        found[side] = points
    return found
