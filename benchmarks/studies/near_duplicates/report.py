"""What the report on near duplicates counts and says. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.report import table
from shared.shares import Share, told

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sluicegate.schemas import Action
    from studies.near_duplicates.floods import Flood
    from studies.near_duplicates.rules import Rule

MOST_HARM = 0.005
"""What the shipped rule may cost to be on by default."""


@dataclass(frozen=True)
class Labelled:
    """A text with what its label would have the policy do."""

    id: str
    text: str
    group: str
    """Texts of different groups never stand for one another: language and region."""
    action: Action


@dataclass(frozen=True)
class Reuse:
    """A text that an earlier one stood in for."""

    id: str
    source: str
    harmful: bool
    """True if the labels of the two lead to different actions."""


def replay(rule: Rule, stream: Sequence[Labelled]) -> list[Reuse]:
    """Carry a stream past a rule, in order. Exact copies are the exact cache's, and no reuse.

    Every earlier assessment is taken to be right and confident, so that the rule is measured and no model.
    """
    by_id = {one.id: one for one in stream}
    seen: set[tuple[str, str]] = set()
    reuses: list[Reuse] = []
    for one in stream:
        if (one.group, one.text) in seen:
            continue
        source = rule.find(one.text, one.group)
        if source is None:
            rule.add(one.id, one.text, one.group)
            seen.add((one.group, one.text))
        else:
            reuses.append(Reuse(one.id, source, one.action is not by_id[source].action))
    return reuses


def stands_in(make: Callable[[], Rule], first: Labelled, second: Labelled) -> bool:
    """True if a rule lets one text of a pair stand in for the other, whichever comes first."""
    for one, other in ((first, second), (second, first)):
        rule = make()
        rule.add(one.id, one.text, one.group)
        if rule.find(other.text, other.group) is not None:
            return True
    return False


def page(report: dict[str, Any]) -> str:
    """The report for people."""
    rows = [
        (
            one["rule"],
            one["reused"]["of"],
            told(one["reused"]),
            f"{100 * one['saved']:.2f} %",
            told(one["pairs"]),
            f"{one['microseconds']:.0f}",
        )
        for one in report["rules"]
    ]
    out = [
        "# Near duplicates",
        "",
        (
            f"{report['posts']} posts of {report['stream']}, {report['pairs']} adversarial pairs "
            f"(benchmarks/pairs; {', '.join(f'{name} {count}' for name, count in report['pair_languages'].items())}). "
            f"The stream asks for {report['prompts']} distinct prompts where only exact copies are reused."
        ),
        "",
        "*Reused*: answered from an earlier text beyond the exact cache. *Harm*: of these, those whose label leads to another",
        "action than the earlier text's, the earlier assessment being right and confident. *Prompts saved*: of all. *Pairs reused*:",
        "pairs whose labels differ, and of which one text stood in for the other: every one is harm. In brackets 95 % intervals.",
        "",
        table(("rule", "reused", "harm", "prompts saved", "pairs reused", "µs a look-up"), rows),
    ]
    out += ["", "Pairs reused, by what changes between the two:", "", _by_change(report)]
    if report["engine"]:
        out += ["", _engine_page(report["engine"])]
    if report["floods"]:
        out += ["", _flood_page(report["floods"])]
    out += ["", _default_page(report)]
    return "\n".join(out) + "\n"


def _by_change(report: dict[str, Any]) -> str:
    changes = report["changes"]
    head = ["rule", *(f"{name} ({count})" for name, count in changes.items())]
    rows = [[one["rule"], *(one["by_change"].get(name, 0) for name in changes)] for one in report["rules"]]
    return table(head, rows)


def _engine_page(engine: dict[str, Any]) -> str:
    head = [
        (
            f"Judged by {engine['model']} ({engine['backend']}, {engine['digest'][:19]}…) and decided by policy "
            f"{engine['policy'][:19]}…: the action that reuse gave against the action of a judgement of its own, where the "
            f"earlier finding was sure (confidence {engine['confidence']:g}). *Milder*: of those that differ, the reused action "
            "is the less severe one."
        ),
        "",
    ]
    rows = [
        (one["rule"], one["judged"], one["unsure"], one["harm"]["of"], told(one["harm"]), one["milder"])
        for one in engine["rules"]
    ]
    return "\n".join(
        [*head, table(("rule", "judged", "earlier one unsure", "reused", "harm", "milder"), rows)]
    )


def most_harm(report: dict[str, Any]) -> dict[str, float]:
    """The upper ends of the shipped rule's intervals, by what it was measured against."""
    shipped, engine = report["rules"][0], report["engine"]
    counted = {"the labels of the stream": shipped["reused"], "the pairs": shipped["pairs"]}
    if engine:
        counted["the engine on the stream"] = engine["rules"][0]["harm"]
    return {name: Share(one["hits"], one["of"]).high for name, one in counted.items()}


def _default_page(report: dict[str, Any]) -> str:
    ends = most_harm(report)
    said = ", ".join(f"{100 * high:.1f} % against {name}" for name, high in ends.items())
    shown = bool(report["engine"]) and max(ends.values()) <= MOST_HARM
    return (
        f"On by default only where every interval of the shipped rule's harm, the engine's among them, ends at "
        f"{100 * MOST_HARM:g} % or below. They end at {said}: {'this is shown' if shown else 'this is not shown, and it stays off'}."
    )


def _flood_page(floods: Sequence[Flood]) -> str:
    head = [
        "Floods: one text, mutated at random, carried by the flow with the fake engine (which imitates an H100) as fast as",
        "the window takes it. *Prompts*: scored by the engine, of one for each copy; a disguised copy asks for two.",
        "",
    ]
    rows = [
        (
            one.mutation,
            "yes" if one.admitted else "no",
            one.copies,
            one.distinct,
            one.reused,
            one.prompts,
            f"{100 * one.share:.2f} %",
        )
        for one in floods
    ]
    columns = ("mutation", "admitted", "copies", "different texts", "reused", "prompts", "share")
    return "\n".join([*head, table(columns, rows, left=2)])
