"""Near duplicates: texts that share most of their runs of characters, by MinHash and banding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from rensa import RMinHash, RMinHashLSH

from sluicegate.engines.adapt.data.rows import bare_form, digest, shingles

Matters: TypeAlias = Callable[[int, int], bool]

DEFAULT_SIMILARITY: Final = 0.7
"""Share of common runs from which two texts count as nearly the same."""

_HASHES = 128  # the similarity is estimated with a standard error of 0.04 at 0.7
_BANDS = 32  # of four hashes: a pair at 0.7 meets in at least one of them with 0.9998, one at 0.3 with 0.23
_SEED = 1


class NearDuplicateIndex:
    """Finds, for each text added, the earlier ones that are nearly the same.

    Texts are not kept: half a kibibyte of hashes stands for each.

    Args:
        similarity: Share of common runs, above 0 and up to 1; at 1 only equal bare forms are found.
    """

    def __init__(self, similarity: float = DEFAULT_SIMILARITY) -> None:
        self._similarity = similarity
        self._bands = RMinHashLSH(similarity, _HASHES, _BANDS)
        self._hashes: list[RMinHash] = []
        self._numbers: dict[bytes, int] = {}

    def __len__(self) -> int:
        """How many different bare forms there are."""
        return len(self._hashes)

    def add(self, text: str) -> int:
        """The number of a text: equal bare forms have the same, a new one has the next from 0."""
        bare = bare_form(text)
        key = digest(bare)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._hashes)
            hashes = RMinHash(num_perm=_HASHES, seed=_SEED)
            hashes.update(sorted(shingles(bare)))
            self._hashes.append(hashes)
        return number

    def pairs(self, matters: Matters) -> Iterator[tuple[int, int]]:
        """Pairs of numbers that are nearly the same, the lower one first. Once, after all are added.

        Args:
            matters: Asked of each candidate in turn; where it says no, the pair is neither compared nor given.
                So a campaign of variants that are together already costs no comparison of each with each.
        """
        for number, hashes in enumerate(self._hashes):
            for earlier in self._bands.query(hashes):
                if matters(earlier, number) and hashes.jaccard(self._hashes[earlier]) >= self._similarity:
                    yield earlier, number
            self._bands.insert(number, hashes)
