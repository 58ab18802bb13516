"""Learn the weights that point to risky passages (``engines/assets/passages``), from prepared rows.

    PYTHONPATH=benchmarks:tests python -m dilution.weights prepared/train.jsonl --out build/passages

A linear model over hashed runs of characters and words. The same rows give the same weights. It takes half a minute.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from safetensors.numpy import save
from scipy.sparse import csr_matrix, diags
from sklearn.linear_model import SGDClassifier

from shared.report import options
from sluicegate.engines.adapt.evaluate.labelled_rows import read_labelled, rows_digest
from sluicegate.engines.adapt.evaluate.scored import SEVERITIES
from sluicegate.engines.screen import spoken
from sluicegate.engines.text.passage_weights import (
    BITS,
    MANIFEST,
    WEIGHTS,
    WeightsFile,
    WeightsManifest,
    WeightsSource,
    hashed,
    plain,
    probe,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.adapt.data.rows import Row

FEATURES: Final = 160_000
"""Makes a file of 1.6 MB; half as many again gain nothing that dev rows show."""

_AT_ONCE = 512
_LEAST_TEXTS = 2  # a feature of a single text says nothing of others
_DECAY = 1e-5
_ROUNDS = 12


def teaching(rows: Sequence[Row]) -> list[Row]:
    """Rows with a language and without context, of languages with more than one severity."""
    severities: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        severities[spoken(row.language or "")].add(row.severity)
    return [
        row
        for row in rows
        if row.language is not None and row.context is None and len(severities[spoken(row.language)]) > 1
    ]


def learnt(rows: Sequence[Row], *, most_features: int = FEATURES) -> dict[str, Any]:
    """The arrays of the file.

    Args:
        rows: All three severities among them.
        most_features: Kept are those that most texts have.
    """
    counts = _matrix([plain(row.text) for row in rows])
    texts = np.bincount(counts.indices, minlength=counts.shape[1])
    least = _LEAST_TEXTS
    while np.count_nonzero(texts >= least) > most_features:
        least += 1
    features = np.flatnonzero(texts >= least)
    known = counts[:, features]
    sizes = np.maximum(np.diff(known.indptr), 1)  # weighed as ``Linear`` does
    # Averaged, it is as good on rows held out as a solver that takes five times as long.
    model = SGDClassifier(
        loss="log_loss", alpha=_DECAY, average=True, max_iter=_ROUNDS, tol=None, random_state=0
    )
    model.fit(
        (diags((1 / np.sqrt(sizes)).astype(np.float32)) @ known).tocsr(),
        [SEVERITIES.index(row.severity) for row in rows],
    )
    return {
        "features": features.astype(np.uint32),
        "weights": np.ascontiguousarray(model.coef_.T.astype(np.float16)),
        "intercepts": model.intercept_.astype(np.float32),
    }


def _matrix(texts: Sequence[str]) -> Any:
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


def write(rows: Sequence[Row], folder: Path, *, most_features: int = FEATURES) -> WeightsManifest:
    """Learn from rows, and write the folder."""
    raw = bytes(save(learnt(rows, most_features=most_features)))
    licences = {row.source: row.licence for row in rows}
    manifest = WeightsManifest(
        features=probe(),
        weights=WeightsFile(sha256=f"sha256:{hashlib.sha256(raw).hexdigest()}", bytes=len(raw)),
        data=rows_digest(rows),
        rows=len(rows),
        sources={
            name: WeightsSource(licence=licences[name], rows=count)
            for name, count in sorted(Counter(row.source for row in rows).items())
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).write_bytes(raw)
    (folder / MANIFEST).write_bytes(manifest.content())
    return manifest


def main(arguments: Sequence[str] | None = None) -> int:
    """Learn, write, and say of what."""
    parser = options(__doc__)
    parser.add_argument("rows", type=Path, help="prepared rows, of the train split")
    parser.add_argument("--out", type=Path, required=True, help="folder for the manifest and the weights")
    asked = parser.parse_args(arguments)
    manifest = write(teaching(read_labelled([asked.rows]).rows), asked.out)
    print(f"{manifest.rows:,} rows, weights {manifest.weights.sha256}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
