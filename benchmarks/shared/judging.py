"""Posts judged as the worker judges them; what the engine said is kept, so that a stopped run goes on from there."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeRemainingColumn

from sluicegate.engines.protocol import Explanation, ItemFailure, Scored, believed
from sluicegate.engines.text.segmenter import LengthLimits, Parts, Segmenter
from sluicegate.pipeline.flow.decision import assess, worst
from sluicegate.pipeline.shortcuts.cache import cache_key
from sluicegate.schemas import FailureCode, Scores

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from sluicegate.engines.backends import Backend
    from sluicegate.engines.protocol import EngineInfo, Prompt
    from sluicegate.pipeline.policy import Policy
    from sluicegate.schemas import Action, Assessment, Post

_T = TypeVar("_T")
LIMITS = LengthLimits(tokens=32_768, segments=64)
"""How long a post may be."""
_CHUNK = 256
_CALL_TIMEOUT_S = 600.0  # a busy machine is slow, and nobody waits for one post
_SEED = 7


def certain(severity: str) -> Scores:
    """What an engine that is right and confident says of a text with this label."""
    return Scores(**{name: float(name == severity) for name in ("safe", "controversial", "unsafe")})


def sample(rows: Sequence[_T], limit: int | None) -> list[_T]:
    """All rows, or so many of them, the same each time and in their order."""
    if limit is None or limit >= len(rows):
        return list(rows)
    kept = sorted(random.Random(_SEED).sample(range(len(rows)), limit))  # noqa: S311 - a sample, no secret
    return [rows[number] for number in kept]


class Store:
    """What one engine said of each prompt, by the cache's key: in memory, and line by line in a file.

    Args:
        folder: Of the file; made when something is added.
        info: Of the engine. Each has a file of its own.
    """

    def __init__(self, folder: Path, info: EngineInfo) -> None:
        self._info = info
        self._path = folder / f"scores-{info.digest[-12:]}.jsonl"
        self.said: dict[str, Scored | ItemFailure] = {}
        if self._path.exists():
            for text in self._path.read_text(encoding="utf-8").splitlines():
                try:
                    line = json.loads(text)
                except ValueError:  # the last line of a run that was killed
                    continue
                self.said[line["key"]] = Scored(Scores(**line["scores"]), line["mass"])

    def key(self, prompt: Prompt) -> str:
        """The cache's key of a prompt, as text."""
        return cache_key(prompt, self._info).hex()

    def of(self, prompt: Prompt) -> Scored | ItemFailure:
        """What was said of a prompt; an internal failure where nothing was."""
        return self.said.get(self.key(prompt), ItemFailure(FailureCode.INTERNAL))

    def add(self, answers: Mapping[str, Scored | ItemFailure]) -> None:
        """Keep answers; failures only until the end of the run, so that another one asks again."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            for key, answer in answers.items():
                self.said[key] = answer
                if isinstance(answer, Scored):
                    line = {"key": key, "scores": answer.scores.model_dump(), "mass": answer.label_mass}
                    file.write(json.dumps(line) + "\n")


async def ask(backend: Backend, prompts: Iterable[Prompt], store: Store, what: str) -> None:
    """Score every prompt that the store does not know, the longest first, with progress on stderr.

    Args:
        backend: Whose engine is open.
        prompts: Some may be alike.
        store: Gets the answers.
        what: Is scored, for the line of progress.
    """
    unknown = {key: prompt for prompt in prompts if (key := store.key(prompt)) not in store.said}
    missing = sorted(unknown.items(), key=lambda item: -len(item[1].token_ids))
    if not missing:
        return
    size = max(1, 2 * backend.engine.info.saturating_prompts)
    columns = (
        TextColumn("{task.description}: {task.completed:.0f} of {task.total:.0f} prompts"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=len(missing))
        for first in range(0, len(missing), size):
            batch = missing[first : first + size]
            answers = await backend.engine.score([prompt for _, prompt in batch], timeout_s=_CALL_TIMEOUT_S)
            store.add({key: answer for (key, _), answer in zip(batch, answers, strict=True)})
            progress.advance(task, len(batch))


def parts_of(
    backend: Backend, posts: Sequence[Post], *, folds: bool = True
) -> dict[str, Parts | ItemFailure]:
    """The parts of each post by its id, folded forms among them unless they are left out."""
    segmenter = Segmenter(backend.prompter, folds=folds)
    built: dict[str, Parts | ItemFailure] = {}
    for first in range(0, len(posts), _CHUNK):
        chunk = posts[first : first + _CHUNK]
        found = segmenter.build_many(chunk, [LIMITS] * len(chunk))
        built.update(zip([post.id for post in chunk], found, strict=True))
    return built


class Judged:
    """What the engine said of posts, and what the policy makes of it; nothing is explained."""

    def __init__(
        self, backend: Backend, policy: Policy, store: Store, parts: Mapping[str, Parts | ItemFailure]
    ) -> None:
        self._calibration, self._policy = backend.calibration, policy
        self._store, self._parts = store, parts

    def finding(self, post: Post) -> Assessment | ItemFailure:
        """That of the part that decides, of a post whose parts were scored."""
        built = self._parts[post.id]
        if isinstance(built, ItemFailure):
            return built
        findings = [self._part(post, part.prompt) for part in built.parts]
        folded = {place for place, part in enumerate(built.parts) if part.folded}
        least = {place: part.least_unsafe for place, part in enumerate(built.parts)}
        return findings[worst(post, findings, self._policy, folded=folded, least_unsafe=least)]

    def action(self, post: Post, finding: Assessment | ItemFailure) -> Action:
        """What the policy does about it."""
        if isinstance(finding, ItemFailure):
            return self._policy.decide_failure(post).action
        return self._policy.decide(post, finding.scores, finding).action

    def _part(self, post: Post, prompt: Prompt) -> Assessment | ItemFailure:
        said = believed(self._store.of(prompt))
        if isinstance(said, ItemFailure):
            return said
        scores = said.scores
        if self._calibration is not None:
            scores = self._calibration.calibrated(scores, post.kind, post.language)
        return assess(scores, Explanation(()), scores.harm)  # nothing is explained: by the general bars
