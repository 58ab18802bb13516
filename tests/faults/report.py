"""The report of the fault suite: a row for each scenario, and the closing line."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.kafka import kafka_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from faults.play import Played

_COLUMNS = "{:<28} {:>7} {:>9} {:>8} {:>13} {:>5} {:>6} {:>5}  {}"
_HEAD = _COLUMNS.format(
    "scenario", "posts", "verdicts", "repeats", "dead letters", "lost", "wrong", "s", "notes"
)


def row(played: Played) -> str:
    """One scenario in one line."""
    found = played.outcome
    name = f"{played.scenario.number:>2} {played.scenario.name}"
    figures = found.posts, found.verdicts, found.repeats, found.dead_letters, found.lost, found.wrong
    return _COLUMNS.format(name, *figures, round(played.seconds), _notes(played)).rstrip()


def failure_lines(played: Played) -> list[str]:
    """What was not met, and where to read on; empty for a scenario that kept the promise."""
    if played.kept:
        return []
    return [*(f"   NOT MET: {one}" for one in played.broken), f"   history and logs: {played.folder}"]


def table(played: Sequence[Played]) -> str:
    """All scenarios, with a head."""
    return "\n".join([_HEAD, *(row(one) for one in played)])


def closing_line(played: Sequence[Played]) -> str:
    """The last line of a run."""
    return f"faults: {sum(one.kept for one in played)} of {len(played)} kept the promise"


def _commit() -> str:
    """What was broken, so that a reader can tell a report of another tree."""
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def versions() -> dict[str, str]:
    """Commit and versions of what was broken."""
    packages = "faust-streaming", "confluent-kafka"
    return {
        "commit": _commit(),
        "Apache Kafka": kafka_version(),
        **{name: importlib.metadata.version(name) for name in packages},
        "Python": platform.python_version(),
    }


def as_markdown(played: Sequence[Played], *, seed: int, date: str) -> str:
    """The report as a page."""
    named = ", ".join(f"{name} {version}" for name, version in versions().items())
    seconds = round(sum(one.seconds for one in played))
    lines = [
        "# Fault suite",
        "",
        f"{date}, seed {seed}, {seconds} seconds. {named}.",
        "",
        "| # | scenario | posts | verdicts | repeats | dead letters | lost | wrong | seconds | notes |",
        "|---:|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for one in played:
        found = one.outcome
        cells = (
            one.scenario.number,
            one.scenario.name,
            f"{found.posts:,}",
            f"{found.verdicts:,}",
            f"{found.repeats:,}",
            f"{found.dead_letters:,}",
            found.lost,
            found.wrong,
            round(one.seconds),
            "; ".join([_notes(one), *(f"NOT MET: {message}" for message in one.broken)]).strip("; "),
        )
        lines.append(
            "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
        )
    return "\n".join([*lines, "", f"`{closing_line(played)}`", ""])


def as_json(played: Sequence[Played], *, seed: int, date: str) -> dict[str, Any]:
    """The report as data."""
    return {
        "date": date,
        "seed": seed,
        "versions": versions(),
        "kept": sum(one.kept for one in played),
        "scenarios": [
            {
                "number": one.scenario.number,
                "name": one.scenario.name,
                "brokers": one.scenario.brokers,
                "kept": one.kept,
                "seconds": round(one.seconds, 1),
                "not_met": list(one.broken),
                **asdict(one.outcome),
            }
            for one in played
        ],
    }


def write_report(folder: Path, played: Sequence[Played], *, seed: int) -> None:
    """Write ``faults.json`` and ``faults.md``."""
    date = datetime.now(UTC).strftime("%Y-%m-%d")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faults.json").write_text(json.dumps(as_json(played, seed=seed, date=date), indent=1) + "\n")
    (folder / "faults.md").write_text(as_markdown(played, seed=seed, date=date))


def _notes(played: Played) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in played.outcome.notes.items())
