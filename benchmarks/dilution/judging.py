"""Posts through the product's own path: its settings, parts, engine, belief and policy; nothing is explained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Self

from shared.judging import Store, ask
from sluicegate.engines.backends import open_backend
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.protocol import ItemFailure, believed
from sluicegate.pipeline.flow.decision import assess, worst
from sluicegate.pipeline.flow.routes import Decided, PartBuilder
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.settings.engine_choice import engine_choice
from sluicegate.pipeline.settings.tree import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from sluicegate.engines.cpu_model.models import CpuModel
    from sluicegate.engines.protocol import EngineInfo, Prompt
    from sluicegate.engines.text.segmenter import Parts
    from sluicegate.schemas import Action, Assessment, Post

_CHUNK = 256

Built = dict[str, "Parts | ItemFailure"]


class Judging:
    """One engine with the default policy. What it said is kept in a file: a stopped run goes on from there.

    Args:
        kept: Folder of what was said before.
        model: Whose shipped bundle judges.
    """

    def __init__(self, kept: Path, model: CpuModel) -> None:
        bundle = model.bundle_path()
        settings = load_settings(engine={"backend": "llama_cpp", "bundle": bundle})
        self._backend = open_backend(engine_choice(settings.engine, None))
        self._policy = Policy.load(None)
        # Without passages: what was judged before there were any, and the base of every comparison.
        bare = replace(self._backend, passages=None)
        self._builders = {
            passages: PartBuilder(backend, settings.limits)
            for passages, backend in ((True, self._backend), (False, bare))
        }
        manifest = Bundle.open(bundle, verify=False).manifest
        self._controls = frozenset(manifest.tokenizer.control_tokens.values())
        self._store = Store(kept, self.info)

    @property
    def info(self) -> EngineInfo:
        """Who judges."""
        return self._backend.engine.info

    async def __aenter__(self) -> Self:
        await self._backend.engine.__aenter__()
        return self

    async def __aexit__(self, *told: object) -> None:
        for builder in self._builders.values():
            builder.close()
        await self._backend.engine.__aexit__(None, None, None)

    @property
    def controls(self) -> frozenset[int]:
        """Ids of the control tokens, which no text of an author may give."""
        return self._controls

    def prompt(self, post: Post) -> Prompt | None:
        """The prompt of a post; None if it is too long for one."""
        built = self._backend.prompter.build(post)
        return None if isinstance(built, ItemFailure) else built

    async def build(self, posts: Sequence[Post], *, passages: bool) -> Built:
        """The parts of each post, by its id."""
        built: Built = {}
        for first in range(0, len(posts), _CHUNK):
            chunk = posts[first : first + _CHUNK]
            found = await self._builders[passages].build([Decided(post, self._policy) for post in chunk])
            built.update((post.id, parts) for post, (parts, _) in zip(chunk, found, strict=True))
        return built

    async def score(self, prompts: Iterable[Prompt], what: str) -> None:
        """Score what is not known yet."""
        await ask(self._backend, prompts, self._store, what)

    def action(self, post: Post, parts: Parts | ItemFailure) -> Action:
        """The action on a post all of whose parts were scored, as the worker decides it."""
        if isinstance(parts, ItemFailure):
            return self._policy.decide_failure(post).action
        findings = [self._finding(post, part.prompt) for part in parts.parts]
        folded = {number for number, part in enumerate(parts.parts) if part.folded}
        number = worst(post, findings, self._policy, folded=folded, least_unsafe=parts.least_unsafe)
        return self._decided(post, findings[number])

    def part_action(self, post: Post, prompt: Prompt) -> Action:
        """What one part alone would lead to."""
        return self._decided(post, self._finding(post, prompt))

    def _decided(self, post: Post, finding: Assessment | ItemFailure) -> Action:
        if isinstance(finding, ItemFailure):
            return self._policy.decide_failure(post).action
        return self._policy.decide(post, finding.scores, finding).action

    def _finding(self, post: Post, prompt: Prompt) -> Assessment | ItemFailure:
        said = believed(self._store.of(prompt))
        if isinstance(said, ItemFailure):
            return said
        calibration = self._backend.calibration
        scores = said.scores
        return assess(
            scores if calibration is None else calibration.calibrated(scores, post.kind, post.language), None
        )
