"""The figures of docs/shortcuts.md, from the reports.

python benchmarks/asking_less [--reports benchmarks/reports] [--page docs/shortcuts.md] [--check]
"""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from h100_table.report import gain, pair, told
from layouts.report import ALWAYS, IDLE, ON_DEMAND, OURS, SCORE, VENDOR, Pass, hit_share, of, ratio
from shared.report import REPORTS, ROOT, options
from sluicegate.engines.adapt.report import ruled

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN, END = "<!-- From the reports, by benchmarks/asking_less -->", "<!-- So far -->"
_BUSY = "The seconds are of a machine that had other work at the time; tokens do not depend on that."


def table(
    layouts: dict[str, Any], evasion: dict[str, Any], near: dict[str, Any], h100: dict[str, Any]
) -> str:
    """What each lever leaves to be done."""
    passes = [Pass(**one) for one in layouts["passes"]]
    prompts = evasion["posts"] + evasion["cost"]["folded_posts"]
    shipped, flood = near["rules"][0], near["floods"][0]
    most, least = pair(h100["simulated_cells"])

    def left(ours: tuple[str, str], theirs: tuple[str, str]) -> str:
        computed, generated, seconds = (
            f"{statistics.median(ratio(passes, ours, theirs, what)):.2f}"
            for what in ("computed", "generated", "seconds")
        )
        return f"{computed} of the computed tokens, {generated} of the generated ones, {seconds} of the engine's seconds"

    hits = " and ".join(
        f"{100 * hit_share(of(passes, name, SCORE)):.0f} % in {name}" for name in (OURS, VENDOR)
    )
    rows = [
        (
            "score first, explain on demand",
            "generate always, same layout",
            left((OURS, ON_DEMAND), (OURS, ALWAYS)),
        ),
        ("compact layout", "vendor layout, score only", left((OURS, SCORE), (VENDOR, SCORE))),
        ("both", "generate always in the vendor layout", left((OURS, ON_DEMAND), (VENDOR, ALWAYS))),
        ("shared prefix", "every prompt token computed", f"of a score's prompt tokens, {hits} are cached"),
        ("exact cache", "no cache", f"{near['prompts'] / prompts:.3f} of the prompts"),
        (
            "near duplicates (off)",
            "exact cache alone",
            (
                f"{1 - shipped['saved']:.3f} of the prompts; of a flood that hides "
                f"{flood['mutation']}, {flood['prompts'] / flood['copies']:.4f}"
            ),
        ),
        (
            "simulated H100, all of these",
            f"simulated: {told(least)}",
            f"simulated: {gain(most, least)} times the posts a second",
        ),
    ]
    return "\n".join(
        [
            ruled(("lever", "against", "leaves"), rows, [False] * 3),
            *(["", _BUSY] if layouts["load"][0] >= IDLE else []),
        ]
    )


def filled(page: str, figures: str) -> str:
    """The page with the figures in their place.

    Raises:
        SystemExit: It has no such place.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"the page has no lines {BEGIN} and {END}, between which the figures stand")
    return f"{head}{begin}\n\n{figures}\n\n{end}{tail}"


def read(folder: Path) -> list[dict[str, Any]]:
    """The reports, in the order that :func:`table` takes them."""
    names = ("layouts", "evasion", "near-duplicates", "h100-simulated")
    return [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the figures into the page, or see whether they stand there."""
    parser = options(__doc__)
    parser.add_argument("--reports", type=Path, default=REPORTS)
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "shortcuts.md")
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if the page is behind")
    asked = parser.parse_args(arguments)
    page = asked.page.read_text(encoding="utf-8")
    new = filled(page, table(*read(asked.reports)))
    if asked.check:
        return int(new != page)
    asked.page.write_text(new, encoding="utf-8")
    return 0
