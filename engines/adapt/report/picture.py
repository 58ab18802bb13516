"""A picture of a report, as a PNG file. Loads matplotlib when it draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluicegate.engines.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def draw_picture(
    path: Path,
    drawn: Callable[[Any], None],
    *,
    inches: tuple[float, float] = (6.5, 5),
    dpi: int = 80,
    rows: int = 1,
) -> None:
    """Draw a file; it replaces an earlier one in one move. Equal figures give equal files.

    Args:
        path: The file.
        drawn: Draws on the axes that it is given.
        inches: Width and height.
        dpi: Dots an inch.
        rows: Axes, one below the other, with one scale to the right; of several it is given the array.

    Raises:
        OSError: The file cannot be written.
        ImportError: matplotlib is missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - an extra, and slow to load
    from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to load

    figure = Figure(figsize=inches, layout="constrained", dpi=dpi)
    drawn(figure.subplots(rows, 1, sharex=True))
    with replacing(path) as stream:
        # Without the library's version in it.
        FigureCanvasAgg(figure).print_png(stream, metadata={"Software": None})
