"""Compare this pipeline with three others on Apache Kafka, and write the report: compare.json, compare.md and plots.

    PYTHONPATH=benchmarks python -m compare [--data posts.jsonl] [--out build/compare] [--work .cache/compare]
    PYTHONPATH=benchmarks python -m compare --only memory --posts 1000000

Each system runs by itself, alternating with the others, five times. What is done is kept in `--work`: a run that was
stopped, or that had no time left, goes on from there. Once all is done and reported, that folder is removed. Linux; Java and
Maven for Apache Kafka; `sluicegate engine fetch-cpu` for the CPU model. It talks to loopback only.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sluicegate.engines.files import replace_file

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from compare import memory, report
from compare.cells import Cells
from compare.cluster import PATIENT
from compare.data import DataError, digest, read_lines
from compare.goals import closing_line, goal_lines
from compare.plan import SMALL, STAGES, Sizes, cells, measurable
from compare.run import Budget, Kept, Outcome, WorkFolderError, go
from shared.machine import commit, installed, machine
from shared.report import options
from support.kafka import ApacheKafka, KafkaMissingError, kafka_version

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_MEMORY = "memory"
_PACKAGES = (
    "faust-streaming",
    "aiokafka",
    "confluent-kafka",
    "orjson",
    "pydantic",
    "tokenizers",
    "xllamacpp",
)


def main(arguments: Sequence[str]) -> int:
    """Run, report, close with one line; exit code 1 if something could not be measured."""
    asked = _asked(arguments)
    try:
        return _remember(asked) if asked.only == [_MEMORY] else _compare(asked)
    except (DataError, WorkFolderError, KafkaMissingError, RuntimeError) as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2


def _asked(arguments: Sequence[str]) -> argparse.Namespace:
    parser = options(__doc__)
    parser.add_argument(
        "--data", type=Path, help="posts, one JSON object a line; default: the samples shipped"
    )
    parser.add_argument("--out", type=Path, default=Path("build/compare"), help="folder for the report")
    parser.add_argument("--work", type=Path, default=Path(".cache/compare"), help="folder of what is done")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=38, help="nothing is begun that would be over later")
    parser.add_argument("--only", nargs="+", choices=[*STAGES, _MEMORY], help="these parts alone")
    parser.add_argument("--posts", type=int, help="posts of the stream, or of the part `memory`")
    parser.add_argument("--cpu-posts", type=int, help="posts of the sample for the CPU model, such as 500")
    parser.add_argument(
        "--call-seconds", type=float, help="most seconds of load in a cell, for slow machines"
    )
    parser.add_argument("--small", action="store_true", help="a few posts: to see that everything runs")
    asked = parser.parse_args(arguments)
    if asked.only and _MEMORY in asked.only and len(asked.only) > 1:
        parser.error("memory is a run of its own: --only memory")
    return asked


def _sizes(asked: argparse.Namespace, posts: int) -> Sizes:
    sizes = SMALL if asked.small else Sizes()
    # A short file does not come round again; the samples do, with other texts.
    stream = asked.posts or (min(sizes.stream, posts) if asked.data else sizes.stream)
    sizes = replace(sizes, stream=stream, take=min(sizes.take, stream), bare=min(sizes.bare, stream))
    return replace(sizes, cpu=asked.cpu_posts or sizes.cpu, call_s=asked.call_seconds or sizes.call_s)


def _compare(asked: argparse.Namespace) -> int:
    posts = read_lines(asked.data)
    sizes = _sizes(asked, len(posts))
    now = commit()
    setting = {
        "sizes": asdict(sizes),
        "data": digest(posts),
        "machine": machine(),
        "commit": now,
        "versions": _versions(),
    }
    kept = Kept(asked.work, setting)
    plan = [cell for cell in cells(asked.repeats, asked.only or STAGES) if measurable(cell, sizes)]
    logs = Path(tempfile.mkdtemp(prefix="sluicegate-compare-"))
    outcome = Outcome()
    if any(cell.key not in kept.results for cell in plan):
        budget = Budget(asked.minutes * 60)
        with ApacheKafka(properties=PATIENT) as kafka:
            measure = Cells(kafka, logs, posts, sizes, kept).run
            outcome = go(plan, kept, measure, budget=budget, commit=now, say=_say)
    _write(asked, kept, outcome, _data(asked, posts))
    if outcome.failed:
        print(f"logs of what failed: {logs}", file=sys.stderr)
    else:
        shutil.rmtree(logs, ignore_errors=True)
    print(closing_line(kept.stages))
    print("\n".join(goal_lines(kept.stages)))
    if outcome.interrupted:
        return 130
    if outcome.failed or outcome.left_out:
        print(f"not complete: the same command goes on from {asked.work}", file=sys.stderr)
        return 1
    if not asked.only:  # parts that were done one by one stay together until all are
        shutil.rmtree(asked.work)
    return 0


def _versions() -> dict[str, str]:
    """Of everything that takes part."""
    return {
        "Apache Kafka": kafka_version(),
        "Python": platform.python_version(),
        **installed(*_PACKAGES),
    }


def _data(asked: argparse.Namespace, posts: Sequence[bytes]) -> dict[str, Any]:
    name = "the samples shipped" if asked.data is None else asked.data.name
    return {"name": name, "posts": len(posts), "digest": digest(posts)}


def _about(asked: argparse.Namespace, commits: Sequence[str], data: dict[str, Any]) -> dict[str, Any]:
    return {
        "command": "make bench",
        "date": datetime.now(UTC).date().isoformat(),
        "commits": list(commits),
        "machine": machine(),
        "versions": _versions(),
        "data": data,
        "small": asked.small,
    }


def _write(asked: argparse.Namespace, kept: Kept, outcome: Outcome, data: dict[str, Any]) -> None:
    asked.out.mkdir(parents=True, exist_ok=True)
    about = _about(asked, kept.commits, data)
    about |= {"failed": outcome.failed, "left_out": outcome.left_out}
    _put(
        asked.out / "compare.json",
        json.dumps(report.as_json(about, kept.stages), indent=1, ensure_ascii=False),
    )
    drawn: dict[str, str] = {}
    if importlib.util.find_spec("matplotlib") is None:
        _say("no plots: matplotlib is missing; install sluicegate[evaluate]")
    else:
        from compare import plots  # noqa: PLC0415 - an extra

        drawn = plots.draw(kept.stages, asked.out)
    _put(asked.out / "compare.md", report.page(about, kept.stages, drawn))
    _say(f"report: {asked.out / 'compare.md'}")


def _remember(asked: argparse.Namespace) -> int:
    posts = read_lines(asked.data)
    logs = Path(tempfile.mkdtemp(prefix="sluicegate-compare-"))
    with ApacheKafka(properties=memory.BROKER) as kafka:
        found = memory.measure(kafka, logs, posts, asked.posts or 1_000_000, _say)
    shutil.rmtree(logs, ignore_errors=True)
    asked.out.mkdir(parents=True, exist_ok=True)
    about = _about(asked, [commit()], _data(asked, posts)) | {"command": "python -m compare --only memory"}
    _put(asked.out / "memory.json", json.dumps(about | found, indent=1, ensure_ascii=False))
    _put(asked.out / "memory.md", report.memory_page(about, memory.page(found)))
    print(memory.page(found))
    return 0


def _put(path: Path, text: str) -> None:
    replace_file(path, (text.rstrip("\n") + "\n").encode())


def _say(line: str) -> None:
    print(f"{datetime.now(UTC):%H:%M:%S} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
