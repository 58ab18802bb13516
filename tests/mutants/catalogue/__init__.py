"""The mutants, by the stretch of a post's path that they break."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mutants.catalogue import (
    adapters,
    asking,
    deciding,
    decoding,
    guarding,
    publishing,
    reusing,
    reviewing,
    taking,
)

if TYPE_CHECKING:
    from mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *taking.MUTANTS,
    *decoding.MUTANTS,
    *asking.MUTANTS,
    *deciding.MUTANTS,
    *reusing.MUTANTS,
    *publishing.MUTANTS,
    *adapters.MUTANTS,
    *guarding.MUTANTS,
    *reviewing.MUTANTS,
)
