"""Does a disguise change the verdict? Near copies in a stream against their originals, with folded forms and without.

    python benchmarks/studies/evasion --data posts-10k.jsonl --engine llama_cpp [--bundle FOLDER] [--limit 40]
                                 [--out benchmarks/reports]

The stream is JSON lines: `id`, `text`, `label.severity`, and on copies `variant_of` and `variant`. Each
copy and each original is judged in both forms by the engine and decided by the policy, as the worker
does it; only nothing is explained, so rules for categories do not act. What the engine said is kept in `--work`: a
stopped run goes on from there.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from shared.report import options, write
from shared.shares import Share
from sluicegate.engines.backends import EngineChoice, open_backend
from sluicegate.engines.protocol import Explanation, ItemFailure, Scored
from sluicegate.engines.text.forms import fold
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.pipeline.flow.decision import assess, worst
from sluicegate.pipeline.policy import SEVERITY, Policy
from sluicegate.pipeline.shortcuts.cache import cache_key
from sluicegate.schemas import Action, FailureCode, Post, Scores
from studies.evasion.report import Pair, cost, lines, page

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from sluicegate.engines.backends import Backend
    from sluicegate.engines.protocol import Prompt
    from sluicegate.schemas import Assessment

_T = TypeVar("_T")
DUPLICATE = "duplicate"
_LIMITS = LengthLimits(tokens=32_768, segments=64)
_CHUNK = 256
_CALL_TIMEOUT_S = 600.0
_SEED = 7


@dataclass(frozen=True)
class Row:
    """One post of the stream."""

    post: Post
    severity: str
    variant: str | None = None
    variant_of: str | None = None


def read(path: Path) -> list[Row]:
    """The rows of a stream.

    Raises:
        SystemExit: The file is missing, or a line is no such post.
    """
    try:
        texts = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise SystemExit(f"{path}: cannot be read ({error.strerror}); give the stream with --data") from error
    rows = []
    for number, text in enumerate(texts, 1):
        try:
            said = json.loads(text)
            post = Post(
                id=said["id"], text=said["text"], language=said.get("language"), region=said.get("region")
            )
            rows.append(Row(post, said["label"]["severity"], said.get("variant"), said.get("variant_of")))
        except (ValueError, KeyError, TypeError) as error:
            raise SystemExit(
                f"{path}:{number}: is no labelled post ({type(error).__name__}); see --help"
            ) from error
    return rows


class Builder:
    """The parts of posts, as the worker makes them."""

    def __init__(self, backend: Backend) -> None:
        self._segmenter = Segmenter(backend.prompter, folds=True)

    def build(self, posts: Sequence[Post]) -> dict[str, Parts | ItemFailure]:
        """By post id."""
        built: dict[str, Parts | ItemFailure] = {}
        for first in range(0, len(posts), _CHUNK):
            chunk = posts[first : first + _CHUNK]
            found = self._segmenter.build_many(chunk, [_LIMITS] * len(chunk))
            built.update(zip([post.id for post in chunk], found, strict=True))
        return built


class Store:
    """What the engine said of each prompt: in memory, and line by line in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: dict[str, Scores | ItemFailure] = {}
        if path.exists():
            for text in path.read_text(encoding="utf-8").splitlines():
                try:
                    line = json.loads(text)
                except ValueError:  # the last line of a run that was killed
                    continue
                self.said[line["key"]] = Scores(**line["scores"])

    def add(self, answers: dict[str, Scored | ItemFailure]) -> None:
        """Keep answers; failures only until the end of the run, so that another one asks again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            for key, answer in answers.items():
                self.said[key] = answer.scores if isinstance(answer, Scored) else answer
                if isinstance(answer, Scored):
                    file.write(json.dumps({"key": key, "scores": answer.scores.model_dump()}) + "\n")


async def ask(backend: Backend, wanted: dict[str, Prompt], store: Store) -> None:
    """Score every prompt that the store does not know, with progress on stderr."""
    missing = [(key, prompt) for key, prompt in wanted.items() if key not in store.said]
    size, began = max(1, backend.engine.info.saturating_prompts), time.monotonic()
    for first in range(0, len(missing), size):
        batch = missing[first : first + size]
        answers = await backend.engine.score([prompt for _, prompt in batch], timeout_s=_CALL_TIMEOUT_S)
        store.add({key: answer for (key, _), answer in zip(batch, answers, strict=True)})
        done = first + len(batch)
        left_s = (time.monotonic() - began) / done * (len(missing) - done)
        print(
            f"\r{done} of {len(missing)} prompts, {left_s:.0f} s left ", end="", file=sys.stderr, flush=True
        )
    print(file=sys.stderr)


class Decider:
    """The action on a post, with its folded form and without."""

    def __init__(self, backend: Backend, policy: Policy, store: Store) -> None:
        self._backend, self._policy, self._store = backend, policy, store

    def key(self, prompt: Prompt) -> str:
        """The cache's key of a prompt, as text."""
        return cache_key(prompt, self._backend.engine.info).hex()

    def action(self, post: Post, parts: Parts | ItemFailure, *, folds: bool) -> Action:
        """The worst part's action, as in the worker."""
        if isinstance(parts, ItemFailure):
            return self._policy.decide_failure(post).action
        findings = [self._finding(post, part.prompt) for part in parts.parts]
        numbers = [number for number, part in enumerate(parts.parts) if folds or not part.folded]
        folded = {place for place, number in enumerate(numbers) if parts.parts[number].folded}
        least = {place: parts.parts[number].least_unsafe for place, number in enumerate(numbers)}
        decides = worst(
            post, [findings[number] for number in numbers], self._policy, folded=folded, least_unsafe=least
        )
        finding = findings[numbers[decides]]
        if isinstance(finding, ItemFailure):
            return self._policy.decide_failure(post).action
        return self._policy.decide(post, finding.scores, finding).action

    def _finding(self, post: Post, prompt: Prompt) -> Assessment | ItemFailure:
        said = self._store.said.get(self.key(prompt), ItemFailure(FailureCode.INTERNAL))
        if isinstance(said, ItemFailure):
            return said
        calibration = self._backend.calibration
        scores = said if calibration is None else calibration.calibrated(said, post.kind, post.language)
        return assess(scores, Explanation(()), scores.harm)  # nothing is explained: by the general bars


def sample(rows: Sequence[_T], limit: int | None) -> list[_T]:
    """All rows, or so many of them, the same each time and in their order."""
    if limit is None or limit >= len(rows):
        return list(rows)
    kept = sorted(random.Random(_SEED).sample(range(len(rows)), limit))  # noqa: S311 - a sample, no secret
    return [rows[number] for number in kept]


async def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """Judge what is needed and count."""
    rows, policy = read(asked.data), Policy.load(asked.policy)
    by_id = {row.post.id: row for row in rows}
    copies = sample(
        [row for row in rows if row.variant not in {None, DUPLICATE} and row.variant_of in by_id], asked.limit
    )
    began = time.perf_counter()
    for row in rows:
        fold(row.post.text)
    micros = (time.perf_counter() - began) / max(1, len(rows)) * 1e6
    backend = open_backend(EngineChoice(backend=asked.engine, bundle=asked.bundle))
    async with backend.engine:
        info = backend.engine.info
        store = Store(asked.work / f"scores-{info.digest[-12:]}.jsonl")
        decider = Decider(backend, policy, store)
        parts = await asyncio.to_thread(Builder(backend).build, [row.post for row in rows])
        folded = [
            row
            for row in rows
            if row.variant is None and isinstance(its := parts[row.post.id], Parts) and its.rules
        ]
        changed = sample(folded, asked.limit)
        ids = dict.fromkeys(
            [one for row in copies for one in (row.post.id, str(row.variant_of))]
            + [row.post.id for row in changed]
        )
        wanted = {
            decider.key(part.prompt): part.prompt
            for one in ids
            if isinstance(its := parts[one], Parts)
            for part in its.parts
        }
        await ask(backend, wanted, store)

        def action(one: str, *, folds: bool) -> Action:
            return decider.action(by_id[one].post, parts[one], folds=folds)

        pairs = {
            folds: [
                Pair(
                    str(row.variant),
                    action(str(row.variant_of), folds=folds),
                    action(row.post.id, folds=folds),
                )
                for row in copies
            ]
            for folds in (False, True)
        }
        raised = [
            (
                row.severity,
                SEVERITY.index(action(row.post.id, folds=True))
                > SEVERITY.index(action(row.post.id, folds=False)),
            )
            for row in changed
        ]

        def spent(part_of: Sequence[Row]) -> dict[str, Any]:
            built = (parts[row.post.id] for row in part_of)
            return cost(
                (its, [decider.key(part.prompt) for part in its.parts] if isinstance(its, Parts) else [])
                for its in built
            )

        return {
            "engine": {
                "backend": info.backend,
                "model": info.model,
                "digest": info.digest,
                "adapter": info.adapter,
            },
            "policy": policy.digest,
            "stream": asked.data.name,
            "posts": len(rows),
            "copies": len(copies),
            "failed_prompts": sum(isinstance(store.said[key], ItemFailure) for key in wanted),
            "fold_microseconds_per_post": round(micros, 1),
            "cost": spent(rows),
            "cost_undisguised": spent([row for row in rows if row.variant is None]),
            "without": [asdict(line) for line in lines(pairs[False])],
            "with": [asdict(line) for line in lines(pairs[True])],
            "raised": {
                severity: asdict(Share(sum(ups := [up for one, up in raised if one == severity]), len(ups)))
                for severity in sorted({one for one, _ in raised})
            },
        }


def main() -> None:
    """Measure, print the page, and keep both forms if asked."""
    parser = options(__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the stream, JSON lines")
    parser.add_argument("--engine", choices=["fake", "llama_cpp"], default="llama_cpp", help="who judges")
    parser.add_argument(
        "--bundle", type=Path, help="folder of the engine bundle; default: the fetched CPU model"
    )
    parser.add_argument("--policy", type=Path, help="policy file; default: the built-in one")
    parser.add_argument("--limit", type=int, help="judge so many copies, and so many folded originals, only")
    parser.add_argument(
        "--work", type=Path, default=Path(".cache/evasion"), help="folder of what the engine said"
    )
    parser.add_argument("--out", type=Path, help="folder for evasion.json and evasion.md")
    asked = parser.parse_args()
    report = asyncio.run(measure(asked))
    print(page(report))
    if asked.out:
        write(asked.out, "evasion", report, page(report))
