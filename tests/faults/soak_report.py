"""The report of a soak: what it should have shown, and the page that tells of it."""

from __future__ import annotations

from typing import Any

GROWTH_LIMIT_PERCENT = 5.0
OVERLOAD_FACTOR = 100


def wishes_broken(report: dict[str, Any]) -> list[str]:
    """What a report does not show and should; empty for a run that kept the promise."""
    broken = []
    for name in ("soak", "overload"):
        if name in report:
            broken += [f"{name}: {one}" for one in _broken_in_any(report[name])]
    if "soak" in report:
        broken += [f"soak: {one}" for one in _broken_in_soak(report["soak"])]
    if "overload" in report:
        broken += [f"overload: {one}" for one in _broken_in_overload(report["overload"])]
    return broken


def _broken_in_any(part: dict[str, Any]) -> list[str]:
    broken = []
    if part["lost"] or part["wrong"]:
        broken.append(f"{part['lost']} lost, {part['wrong']} wrong")
    if part["stopped_early"]:
        broken.append(f"stopped early ({part['stopped_early']})")
    if part["growth"] is None:
        broken.append("too short to say how memory grows")
    elif part["growth_percent"] >= GROWTH_LIMIT_PERCENT:
        broken.append(f"memory grew by {part['growth_percent']:.1f} %")
    if part["ended_by_themselves"]:
        broken.append(f"workers ended by themselves: {part['ended_by_themselves']}")
    return broken


def _broken_in_soak(soak: dict[str, Any]) -> list[str]:
    broken = []
    if soak["posts"] < soak["posts_wanted"]:
        broken.append(f"{soak['posts']} posts, {soak['posts_wanted']} wanted")
    if soak["kills"] < soak["kills_wanted"]:
        broken.append(f"{soak['kills']} kills, {soak['kills_wanted']} wanted")
    found = soak["growth"]
    if found is not None and found["start_descriptors"] != found["end_descriptors"]:
        broken.append(
            f"file descriptors went from {found['start_descriptors']} to {found['end_descriptors']}"
        )
    return broken


def _broken_in_overload(overload: dict[str, Any]) -> list[str]:
    broken = []
    if overload["factor"] < OVERLOAD_FACTOR:
        broken.append(f"the producer was only {overload['factor']:.0f} times as fast as the engine")
    if overload["most_held"] > overload["window"]:
        broken.append(f"{overload['most_held']:.0f} posts held, {overload['window']} allowed")
    return broken


def as_markdown(report: dict[str, Any]) -> str:
    """The report as a page."""
    named = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    lines = ["# Soak", "", f"{report['date']}, seed {report['seed']}. {named}.", ""]
    for name in ("soak", "overload"):
        part = report.get(name)
        if part is not None:
            lines += [f"## {name.capitalize()}", "", "| figure | value |", "|---|---:|"]
            for figure, value in (part | (part["growth"] or {})).items():
                if not isinstance(value, dict):
                    lines.append(f"| {figure.replace('_', ' ')} | {_shown(value)} |")
            lines.append("")
    return "\n".join([*lines, f"`{closing_line(report)}`", ""])


def _shown(value: object) -> str:
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.2f}"
    return (
        f"{value:,.0f}"
        if isinstance(value, int | float) and not isinstance(value, bool)
        else str(value or "none")
    )


def closing_line(report: dict[str, Any]) -> str:
    """The last line of a run."""
    broken = report["broken"]
    return "soak: kept the promise" if not broken else "soak: NOT kept: " + "; ".join(broken)
