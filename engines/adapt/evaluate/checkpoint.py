"""A training's adapter as an engine, in torch: what ``evaluate --checkpoint`` asks. Imports torch and peft."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any, Self

import torch

from sluicegate.engines.adapt.train.base import OpenedBase, open_base
from sluicegate.engines.adapt.train.model import ADAPTER, add_adapter, load_base, logits_at
from sluicegate.engines.adapt.train.recipe import TrainingRecipe
from sluicegate.engines.backends import Backend
from sluicegate.engines.backends.dialects import CATEGORY_HEAD, EXPLANATION_TOKENS
from sluicegate.engines.bundle import file_digest
from sluicegate.engines.protocol import (
    EngineInfo,
    Explanation,
    Generation,
    Health,
    ItemFailure,
    Prompt,
    Scored,
)
from sluicegate.engines.text.parsing import parse_explanation
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import CATEGORIES, FailureCode, Scores, Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType


_PROMPT_TOKENS = 2048  # as the CPU model's bundle; longer texts are judged in segments
_PROMPTS = 32  # of one call: sorted by length, they are computed in few batches
_PAD = 0  # masked out; any id will do


def open_checkpoint(recipe: TrainingRecipe, adapter: Path, *, threads: int | None = None) -> Backend:
    """The adapter of a training on its base, as a backend. Reads the weights.

    Args:
        recipe: What it was trained with; names the base.
        adapter: Folder with ``adapter_model.safetensors``.
        threads: Of the CPU; None leaves torch its own choice.

    Raises:
        TrainingError: Base or adapter cannot be read, or do not go together.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = open_base(recipe.base)
    model = add_adapter(
        load_base(base, recipe, device), recipe.lora, seed=recipe.seed, start_from=str(adapter)
    )
    named = [file_digest(adapter / ADAPTER), base.name, base.tokenizer.digest, recipe.precision, device]
    engine = CheckpointEngine(
        model,
        base,
        precision=recipe.precision,
        device=device,
        micro_tokens=recipe.optimiser.micro_tokens,
        info=EngineInfo(
            digest=f"sha256:{hashlib.sha256(' '.join(named).encode()).hexdigest()}",
            backend="torch",
            model=base.name,
            layout_digest=base.layout.digest,
            max_prompt_tokens=_PROMPT_TOKENS,
            saturating_prompts=_PROMPTS,
            adapter=named[0],
        ),
    )
    prompter = Prompter(base.tokenizer, base.layout, max_prompt_tokens=_PROMPT_TOKENS)
    return Backend(engine, prompter, CATEGORIES)


class CheckpointEngine:
    """Scores and explains with a model in this process; one computation at a time, off the event loop.

    Args:
        model: With an adapter on it.
        base: Tokenizer and labels.
        info: Who is judging.
        precision: As in the recipe; other than ``float32`` products are computed in bf16.
        device: Where the model is.
        micro_tokens: Padded tokens computed at once.
    """

    def __init__(
        self,
        model: Any,
        base: OpenedBase,
        *,
        info: EngineInfo,
        precision: str = "float32",
        device: str = "cpu",
        micro_tokens: int = 2048,
    ) -> None:
        self.info = info
        self._model = model.eval()
        self._base = base
        self._precision = precision
        self._device = device
        self._micro_tokens = micro_tokens
        self._labels = base.labels.first_ids()
        self._turn = asyncio.Lock()

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        """Score prompts; see :class:`~sluicegate.engines.protocol.Engine`. A call is not cut short."""
        del timeout_s
        found: list[Scored | ItemFailure] = await self._computed(lambda: self._score(prompts))
        return found

    async def explain(
        self,
        prompts: Sequence[Prompt],
        severities: Sequence[Severity],
        *,
        timeout_s: float,
        texts: Sequence[bool] | None = None,
    ) -> list[Explanation | ItemFailure]:
        """Continue freely, without a grammar, always to a text; see :class:`~sluicegate.engines.protocol.Engine`."""
        del timeout_s, texts
        found: list[Explanation | ItemFailure] = await self._computed(
            lambda: self._explain(prompts, severities)
        )
        return found

    async def health(self) -> Health:
        """Well: it is in this process."""
        return Health(ok=True)

    async def generation(self) -> Generation | None:
        """This process; see :class:`~sluicegate.engines.protocol.Engine`."""
        return Generation("in process", exclusive=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    async def _computed(self, work: Callable[[], Any]) -> Any:
        async with self._turn:
            return await asyncio.to_thread(self._inferred, work)

    def _inferred(self, work: Callable[[], Any]) -> Any:
        kind = torch.device(self._device).type
        enabled = self._precision != "float32"
        with torch.no_grad(), torch.autocast(kind, torch.bfloat16, enabled=enabled):
            return work()

    def _score(self, prompts: Sequence[Prompt]) -> list[Scored | ItemFailure]:
        ids = list(self._labels.values())
        found: dict[int, Scored | ItemFailure] = {}
        for part in self._batches(prompts):
            lengths = [len(prompts[index].token_ids) for index in part]
            tokens, mask = self._padded([prompts[index].token_ids for index in part], left=False)
            places = (torch.arange(len(part)), torch.tensor(lengths) - 1)
            logits = logits_at(
                self._model, tokens, mask, (places[0].to(self._device), places[1].to(self._device))
            )
            mass = logits.softmax(dim=-1)[:, ids].sum(dim=-1).tolist()
            shares = logits[:, ids].double().softmax(dim=-1).tolist()
            for index, share, whole in zip(part, shares, mass, strict=True):
                found[index] = Scored(
                    Scores(**dict(zip(self._labels, share, strict=True))), label_mass=min(1.0, whole)
                )
        return [found[index] for index in range(len(prompts))]

    def _explain(
        self, prompts: Sequence[Prompt], severities: Sequence[Severity]
    ) -> list[Explanation | ItemFailure]:
        forced = [
            (*prompt.token_ids, *getattr(self._base.labels, severity).token_ids, *self._head)
            for prompt, severity in zip(prompts, severities, strict=True)
        ]
        tokens, mask = self._padded(forced, left=True)
        made = self._model.generate(
            input_ids=tokens,
            attention_mask=mask,
            max_new_tokens=EXPLANATION_TOKENS,
            do_sample=False,
            use_cache=True,
            eos_token_id=self._base.end_id,
            pad_token_id=self._base.end_id,
        )[:, tokens.shape[1] :].tolist()
        return [self._read(ids, prompt) for ids, prompt in zip(made, prompts, strict=True)]

    @property
    def _head(self) -> tuple[int, ...]:
        return tuple(self._base.tokenizer.encode_static(CATEGORY_HEAD))

    def _read(self, ids: list[int], prompt: Prompt) -> Explanation | ItemFailure:
        kept = ids[: ids.index(self._base.end_id)] if self._base.end_id in ids else ids
        if not kept:
            return ItemFailure(FailureCode.EMPTY_COMPLETION, "nothing after the head")
        return parse_explanation(CATEGORY_HEAD + self._base.tokenizer.decode(kept), prompt.kind, CATEGORIES)

    def _batches(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Indices by length, in batches of this many padded tokens at most; a longer prompt stands alone."""
        batches: list[list[int]] = []
        for index in sorted(range(len(prompts)), key=lambda index: len(prompts[index].token_ids)):
            length = len(prompts[index].token_ids)
            if not batches or (len(batches[-1]) + 1) * length > self._micro_tokens:
                batches.append([])
            batches[-1].append(index)
        return batches

    def _padded(self, lists: Sequence[Sequence[int]], *, left: bool) -> tuple[Any, Any]:
        """Token ids and mask, ``[lists, tokens]``."""
        width = max(map(len, lists))
        tokens = torch.full((len(lists), width), _PAD)
        mask = torch.zeros_like(tokens)
        for row, ids in enumerate(lists):
            at = slice(width - len(ids), width) if left else slice(0, len(ids))
            tokens[row, at] = torch.tensor(ids)
            mask[row, at] = 1
        return tokens.to(self._device), mask.to(self._device)
