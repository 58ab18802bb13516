"""What the report on disguised copies counts and says. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.report import older, table
from shared.shares import Share, told
from sluicegate.engines.protocol import ItemFailure
from sluicegate.schemas import Action

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sluicegate.engines.text.segmenter import Parts

_HEAD = (
    "differ, without",
    "differ, with folding",
    "not allowed",
    "slipped, without",
    "slipped, with folding",
)


@dataclass(frozen=True)
class Pair:
    """The actions on a near copy and on its original, in a setting."""

    variant: str
    original: Action
    copy: Action


@dataclass(frozen=True)
class Line:
    """What became of the copies of one variant, or of all."""

    variant: str
    differ: Share
    """Copies with another action than their original."""
    slipped: Share
    """Of the copies of originals that are not allowed: those that are."""


def lines(pairs: Sequence[Pair]) -> list[Line]:
    """One line for each variant, the most frequent first, and one for all."""
    counts = Counter(pair.variant for pair in pairs)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return [
        *(_line(name, [pair for pair in pairs if pair.variant == name]) for name in names),
        _line("all", pairs),
    ]


def _line(name: str, pairs: Sequence[Pair]) -> Line:
    stopped = [pair for pair in pairs if pair.original is not Action.ALLOW]
    return Line(
        name,
        Share(sum(pair.copy is not pair.original for pair in pairs), len(pairs)),
        Share(sum(pair.copy is Action.ALLOW for pair in stopped), len(stopped)),
    )


def cost(keys_of: Iterable[tuple[Parts | ItemFailure, Sequence[str], Sequence[str]]]) -> dict[str, Any]:
    """What folding costs on a whole stream, repeated prompts being asked once.

    Args:
        keys_of: The parts of each post, the keys of their prompts, and of those that it has without folding.
    """
    plain: set[str] = set()
    asked: set[str] = set()
    posts = 0
    for parts, keys, without in keys_of:
        if isinstance(parts, ItemFailure):
            continue
        posts += len({part.folded for part in parts.parts}) > 1  # in two forms: what looks the same has one
        asked.update(keys)
        plain.update(without)
    extra = len(asked) - len(plain)
    percent = round(100 * extra / len(plain), 2) if plain else 0.0
    return {"folded_posts": posts, "prompts": len(plain), "extra_prompts": extra, "extra_percent": percent}


def page(report: dict[str, Any]) -> str:
    """The report for people."""
    engine, spent, honest = report["engine"], report["cost"], report["cost_undisguised"]
    after = {line["variant"]: line for line in report["with"]}
    rows = [
        [line["variant"]]
        + [
            cell
            for what in ("differ", "slipped")
            for cell in (line[what]["of"], told(line[what]), told(after[line["variant"]][what]))
        ]
        for line in report["without"]
    ]
    out = [
        "# Disguised copies",
        "",
        *older(report),
        (
            f"{report['copies']} near copies of {report['stream']} ({report['posts']} posts), judged by {engine['model']} "
            f"({engine['backend']}, {engine['digest'][:19]}…), decided by policy {report['policy'][:19]}…; "
            f"{report['failed_prompts']} prompts failed. In brackets 95 % intervals."
        ),
        "",
        "*Differ*: the copy's action is not its original's. *Slipped*: the original is not allowed, and the copy is.",
        "",
        table(("variant", "copies", *_HEAD), rows),
        "",
        "Without folding, *not allowed* counts originals by their own text; with folding, an original's folded form counts, too.",
        "",
        (
            f"Cost on the whole stream, each distinct prompt asked once: {spent['prompts']} prompts without folding, "
            f"{spent['extra_prompts']} more with it ({spent['extra_percent']:.2f} %); {spent['folded_posts']} posts are judged in two "
            f"forms. On the posts that are no copies: {honest['extra_percent']:.2f} %. Folding itself took {report['fold_microseconds_per_post']:.0f} µs a post."
        ),
        "",
        "Originals that have a folded form, and whose action folding made severer, by label:",
        "",
        table(
            ("label", "made severer"),
            [(f"{severity} ({value['of']})", told(value)) for severity, value in report["raised"].items()],
        ),
        "",
    ]
    return "\n".join(out)
