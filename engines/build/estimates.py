"""What a build takes: bytes from the model's shape, minutes from rates that are assumed. Nothing is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sluicegate.engines.build.recipe import Recipe

ASSUMED: Final = {
    "disk_bytes_s": 5e8,  # a local disk, and a library between
    "calibration_tokens_s": 5e3,  # one prompt after the other, without a serving engine
    "awq_search_factor": 20.0,  # tries that many scales on each of its prompts
    "compile_bytes_s": 2e7,
    "start_s": 90.0,  # of a container and its libraries
}
"""Rates that no one measured on these machines; the order of magnitude is what they are good for."""


def copying(read: int, written: int) -> float:
    """Minutes to read and write so many bytes."""
    return (read + written) / ASSUMED["disk_bytes_s"] / 60


def starting() -> float:
    """Minutes until a container's libraries are loaded."""
    return ASSUMED["start_s"] / 60


def calibrating(recipe: Recipe) -> float:
    """Minutes of calibration."""
    if recipe.calibration_data is None:
        return 0.0
    factor = ASSUMED["awq_search_factor"] if recipe.quantisation == "w4a16_awq" else 1.0
    # All are padded to the longest.
    tokens = recipe.calibration_count * recipe.calibration_data.max_tokens
    return factor * tokens / ASSUMED["calibration_tokens_s"] / 60


def compiling(weights: int) -> float:
    """Minutes to compile an engine with so many bytes of weights."""
    return weights / ASSUMED["compile_bytes_s"] / 60
