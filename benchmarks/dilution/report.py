"""What the suite found, as a document, a page and a line. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from shared.report import older, table
from sluicegate.schemas import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dilution.stream import Cost
    from dilution.suite import Diluted


@dataclass(frozen=True)
class Found:
    """The actions on one post of the suite."""

    diluted: Diluted
    original: Action
    before: Action
    """Without the passage."""
    now: Action


@dataclass(frozen=True)
class Row:
    """Some posts whose originals are not allowed."""

    name: str
    posts: int
    allowed_before: int
    allowed: int

    @property
    def percent(self) -> float:
        """Allowed, in percent."""
        return 100 * self.allowed / self.posts if self.posts else 0.0


def row_of(name: str, found: Sequence[Found]) -> Row:
    """Count the posts whose originals are not allowed: of the others, nobody would say that they were diluted."""
    stopped = [one for one in found if one.original is not Action.ALLOW]
    return Row(
        name,
        len(stopped),
        sum(one.before is Action.ALLOW for one in stopped),
        sum(one.now is Action.ALLOW for one in stopped),
    )


def rows_by(found: Sequence[Found], key: Callable[[Found], str]) -> list[Row]:
    """A row for each value of a key, in the order in which they come."""
    names = dict.fromkeys(map(key, found))
    return [row_of(name, [one for one in found if key(one) == name]) for name in names]


def document(
    found: Sequence[Found], cost: Cost | None, held: tuple[int, int], *, model: str, digest: str
) -> dict[str, Any]:
    """Everything that the page shows, as JSON values.

    Args:
        found: Of each post of the suite.
        cost: On a stream; None where none was given.
        held: Injection attacks that held, and all of them.
        model: The model's name.
        digest: Of the bundle.
    """
    return {
        "model": model,
        "engine_digest": digest,
        "injection": {"held": held[0], "attacks": held[1]},
        "all": asdict(row_of("all", found)),
        "sets": [asdict(row) for row in rows_by(found, lambda one: one.diluted.part)],
        "ways": [asdict(row) for row in rows_by(found, lambda one: one.diluted.way)],
        "languages": [asdict(row) for row in rows_by(found, lambda one: str(one.diluted.post.language))],
        "stream": asdict(cost) if cost else None,
        "summary": summary(found, cost, held),
    }


def summary(found: Sequence[Found], cost: Cost | None, held: tuple[int, int]) -> str:
    """The closing line."""
    whole = row_of("all", found)
    first, last = rows_by(found, lambda one: one.diluted.part)
    line = (
        f"injection: {held[0]} of {held[1]} held; dilution: {whole.percent:.1f} % of {whole.posts} allowed "
        f"(first {first.posts}: {first.percent:.1f} %, last {last.posts}: {last.percent:.1f} %)"
    )
    if cost is None:
        return f"{line}, engine tokens and harmless posts not measured: give a stream with DATA"
    return (
        f"{line}, engine tokens {cost.tokens_percent:+.1f} %, "
        f"harmless posts leaving allow {cost.harmless_points:+.2f} points"
    )


def page(told: dict[str, Any], cost: Cost | None) -> str:
    """The document as a page."""
    lines = [
        "# Harmful posts with something harmless around them",
        "",
        *older(told),
        (
            f"Made by `make injection`. Model: `{told['model']}`, engine digest `{told['engine_digest']}`, default policy, on a "
            "CPU. The cores are harmful rows of `benchmarks/samples`, or were written for this suite as all that stands around "
            "them was; the policy stops them as they are. *Before* is the same model without the passages that are judged apart. The last "
            "hundred were judged once, after the rule was fixed; nothing about them chose it."
        ),
        "",
    ]
    for name, key in (("set", "sets"), ("way", "ways"), ("language", "languages")):
        lines += [table_of(name, [Row(**row) for row in told[key]]), ""]
    if cost is not None:
        lines += [*_costs(cost), ""]
    return "\n".join([*lines, f"`{told['summary']}`", ""])


def table_of(name: str, rows: Sequence[Row]) -> str:
    """Rows as a Markdown table."""
    lines = [(row.name, row.posts, row.allowed_before, row.allowed, f"{row.percent:.1f} %") for row in rows]
    return table((name, "posts", "allowed before", "allowed", "share"), lines)


def _costs(cost: Cost) -> list[str]:
    return [
        (
            f"On a stream of {cost.posts:,} posts, {cost.with_passage:,} have a passage. Different prompts are counted once, as "
            f"the exact cache does. Without the tokens that every prompt begins with, which the prefix cache serves, the engine "
            f"computes {cost.computed_added:,} tokens on top of {cost.computed_before:,} ({cost.tokens_percent:+.1f} %); whole "
            f"prompts are {cost.whole_added:,} on top of {cost.whole_before:,} ({cost.whole_percent:+.1f} %). Explanations are not "
            f"counted. Of {cost.harmless:,} posts labelled safe, {cost.leave} leave allow for their passage "
            f"({cost.harmless_points:+.2f} points), {cost.leave_texts} different texts among them. The stream holds rows that adapter and "
            "weights were trained on: expect more on other texts."
        ),
    ]
