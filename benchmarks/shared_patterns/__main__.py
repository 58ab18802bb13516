"""Two institutions, a flood that begins at one of them, and what a pattern of it gives away; one line at the end.

    PYTHONPATH=benchmarks:tests python -m shared_patterns [--kafka] [--data POSTS.jsonl] [--patterns N] [--seconds S] [--out FILE]

It needs no GPU; with --kafka Java and Maven, for Apache Kafka.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from shared_patterns.cost import PATTERNS, CostFigures, measure_cost
from shared_patterns.privacy import measure
from shared_patterns.study import FloodFigures, run, topics_of
from sluicegate.engines.adapt.data.personal import find

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared_patterns.privacy import PrivacyFigures

_MOST_S, _LEAST_RECALL, _MOST_FALSE, _MOST_ADVANTAGE = 300.0, 0.60, 0.001, 0.02
_MOST_MICROSECONDS, _MOST_MEGABYTES = 10.0, 200.0


def main(arguments: Sequence[str]) -> int:
    """Run, print, and say by the exit code whether every bound holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kafka", action="store_true", help="Apache Kafka in place of the embedded broker")
    parser.add_argument("--data", type=Path, help="JSON lines with `text`: harmless posts of both")
    parser.add_argument("--patterns", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("build/patterns/patterns.json"))
    given = parser.parse_args(arguments)
    flood = asyncio.run(_flood(given))
    _say(
        f"{flood.copies} copies and {flood.harmless} harmless posts at the second institution; by flood: {_shares(flood)}"
    )
    cost = measure_cost([] if given.data is None else _texts(given.data))
    _say(
        f"{cost.microseconds:.1f} µs a post of {cost.characters:.0f} characters, {cost.megabytes:.0f} MB for {PATTERNS:,} patterns"
    )
    privacy = measure(given.patterns, given.seed, detector=lambda text: bool(find(text)), told=_progress)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "kafka": given.kafka,
        "flood": asdict(flood),
        "privacy": asdict(privacy) | {"advantage": privacy.advantage},
    }
    given.out.write_text(json.dumps(document, indent=2) + "\n")
    print(line(flood, privacy))
    return 0 if holds(flood, privacy, cost) else 1


async def _flood(given: argparse.Namespace) -> FloodFigures:
    posts = [] if given.data is None else _texts(given.data)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluicegate-patterns-")))
        bootstrap = None
        if given.kafka:
            from support.kafka import ApacheKafka  # noqa: PLC0415 - of the tests

            kafka = stack.enter_context(ApacheKafka())
            for name in ("north", "south"):
                for setting, topic in topics_of(name).model_dump().items():
                    compacted = {"cleanup.policy": "compact"} if setting == "control" else {}
                    kafka.create_topic(topic, 1 if compacted else 2, config=compacted)
            bootstrap = kafka.bootstrap
        return await run(
            folder, seconds=given.seconds, seed=given.seed, posts=posts, told=_say, bootstrap=bootstrap
        )


def line(flood: FloodFigures, privacy: PrivacyFigures) -> str:
    """What it all came to."""
    return (
        f"patterns: found after {flood.found_after_s:.0f} s at the other, {flood.recall:.1%} of copies, "
        f"{flood.false_raised:.2%} of harmless posts raised, {flood.blocked_by_pattern} blocked by a pattern alone, "
        f"residual personal data {privacy.residual + privacy.scanned} of {privacy.patterns:,}, "
        f"membership advantage {privacy.advantage:.3f}"
    )


def holds(flood: FloodFigures, privacy: PrivacyFigures, cost: CostFigures) -> bool:
    """True if every bound holds."""
    return (
        flood.found_after_s <= _MOST_S
        and flood.recall >= _LEAST_RECALL
        and flood.false_raised <= _MOST_FALSE
        and flood.blocked_by_pattern == flood.unanswered == 0
        and privacy.residual + privacy.scanned == 0
        and privacy.advantage <= _MOST_ADVANTAGE
        and cost.microseconds <= _MOST_MICROSECONDS
        and cost.megabytes <= _MOST_MEGABYTES
    )


def _texts(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(one)["text"] for one in lines]


def _shares(flood: FloodFigures) -> str:
    return ", ".join(f"{name} {share:.0%}" for name, share in flood.recall_by_flood.items())


def _progress(done: int) -> None:
    _say(f"{done:,} patterns mined and attacked")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
