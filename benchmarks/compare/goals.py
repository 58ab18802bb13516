"""The goals of the comparison and its closing line. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from compare.figures import over, ratio, spread
from compare.plan import ALONE, FLOOR, FLOOR_FOLDS, GENERATE, ONE, OURS, THREE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from compare.figures import Done, Spread

UNKNOWN = "–"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure has to be."""

    letter: str
    meaning: str
    limit: float
    least: bool
    """True if the figure must be at least the limit, False if at most."""
    digits: int
    unit: str = ""

    def shown(self, value: float) -> str:
        """A value of this figure."""
        return f"{value:.{self.digits}f}{self.unit}"

    def kept(self, value: float) -> bool:
        """True if a value keeps the goal; what is shown decides, so that the page does not contradict itself."""
        rounded = round(value, self.digits)
        return rounded >= self.limit if self.least else rounded <= self.limit

    def said(self, found: Spread | None) -> str:
        """One line: the goal, and whether it is kept or by how much it is missed."""
        aim = f"{self.letter} {'≥' if self.least else '≤'} {self.shown(self.limit)}"
        if found is None:
            return f"{aim}: not measured"
        value = found.median
        measured = f"{self.shown(value)} [{self.shown(found.low)}, {self.shown(found.high)}]"
        if self.kept(value):
            return f"{aim}: kept, {measured}"
        return f"{aim}: missed by {self.shown(abs(value - self.limit))}, {measured}"


GOALS = {
    "busy": Goal(
        "B", "engine busy share at saturation, H100 imitated", 95.0, least=True, digits=1, unit=" %"
    ),
    "ratio": Goal("R", "end to end over the engine alone, H100 imitated", 0.95, least=True, digits=3),
    "cpu": Goal(
        "C",
        "CPU seconds per post over those of a frozen bare loop with the same decoding and encoding",
        2.5,
        least=False,
        digits=2,
    ),
    "folds": Goal(
        "F",
        "CPU seconds per post over those of that loop when it looks for folded forms, too",
        1.4,
        least=False,
        digits=2,
    ),
    "scale": Goal("S", "posts a second of three workers over those of one", 2.8, least=True, digits=2),
    "ask": Goal(
        "E1/E2",
        "engine seconds per post over those of generate-always, H100 imitated",
        0.35,
        least=False,
        digits=3,
    ),
}
"""In the order of the closing line."""


def reached(stages: Mapping[str, Done]) -> dict[str, Spread | None]:
    """The figure of each goal.

    E1 is all of the time by the posts answered, E2 only the time in which the engine was saturated: where an
    engine was not always saturated, both are in favour of generate-always.
    """
    h100, worker, scale = (stages.get(name, {}) for name in ("h100", "worker", "scale"))
    busy = [100 * one["busy_share"] for one in h100.get(OURS, {}).values() if "busy_share" in one]
    return {
        "busy": spread(busy),
        "ratio": ratio(h100, OURS, ALONE, "posts_per_s"),
        "cpu": ratio(worker, OURS, FLOOR, "cpu_s_per_post"),
        "folds": ratio(worker, OURS, FLOOR_FOLDS, "cpu_s_per_post"),
        "scale": ratio(scale, THREE, ONE, "posts_per_s"),
        "ask": ratio(h100, OURS, GENERATE, "wall_s_per_post", figure_below="saturated_s_per_post"),
    }


def seconds_asked(stages: Mapping[str, Done], stage: str = "h100") -> tuple[Spread | None, Spread | None]:
    """E1 and E2: engine seconds per post, ours and of generate-always."""
    done = stages.get(stage, {})
    return over(done, OURS, "wall_s_per_post"), over(done, GENERATE, "saturated_s_per_post")


def closing_line(stages: Mapping[str, Done]) -> str:
    """The figures in one line, as medians."""
    found, (ours, always) = reached(stages), seconds_asked(stages)

    def shown(name: str) -> str:
        value = found[name]
        return UNKNOWN if value is None else GOALS[name].shown(value.median).removesuffix(" %")

    def seconds(value: Spread | None) -> str:
        return UNKNOWN if value is None else f"{value.median:.5f}"

    return (
        f"busy {shown('busy')} %, e2e/engine {shown('ratio')}, CPU ratio {shown('cpu')} ({shown('folds')}), scale {shown('scale')}, "
        f"engine seconds per post: ours {seconds(ours)} vs generate-always {seconds(always)} ({shown('ask')})"
    )


def goal_lines(stages: Mapping[str, Done]) -> list[str]:
    """A line for each goal."""
    found = reached(stages)
    return [goal.said(found[name]) for name, goal in GOALS.items()]
