"""What must be right about base and adapter before hours of a GPU are spent on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sluicegate.engines.adapt.export.base_parts import Trained, open_parts, read_plan
from sluicegate.engines.adapt.export.export import EVALUATION
from sluicegate.engines.adapt.train.base import open_base
from sluicegate.engines.adapt.train.recipe import Base as TrainedBase
from sluicegate.engines.build.errors import BuildError
from sluicegate.engines.build.state import digest_of
from sluicegate.engines.bundle.bundle import check_distinct, file_digest
from sluicegate.engines.cpu_model.peft_adapter import CONFIG, WEIGHTS
from sluicegate.schemas import NO_CATEGORY

if TYPE_CHECKING:
    from pathlib import Path

    from sluicegate.engines.adapt.export.base_parts import BaseParts
    from sluicegate.engines.adapt.train.base import OpenedBase
    from sluicegate.engines.build.recipe import Recipe

_SMALL_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Checked:
    """A base that can be built from."""

    opened: OpenedBase
    parts: BaseParts
    inputs: str
    """Digest of base and adapter. Of large files it holds size and time, since hashing takes minutes."""


def check_base(recipe: Recipe) -> Checked:
    """Open the base, its weights unread, and see that a build of it can be served.

    Raises:
        EngineError: What does not fit, and the fix: tokenizer or layout are not those of the adapter's
            training, or labels or categories begin with the same token.
    """
    base, adapter = recipe.base, recipe.adapter
    if (
        recipe.container
        and adapter is None
        and (links := [p for p in base.checkpoint.iterdir() if p.is_symlink()])
    ):
        raise BuildError(
            f"base.checkpoint: {links[0].name} is a link, which the container does not follow; copy the folder with cp -rL"
        )
    trained = Trained() if adapter is None else read_plan(adapter.folder)
    parts = open_parts(trained, base=str(base.checkpoint), layout=base.layout)
    opened = open_base(TrainedBase(checkpoint=str(base.checkpoint), layout=base.layout))
    check_distinct("labels", opened.labels.first_ids())
    extra = adapter.extra_categories if adapter else ()
    names = (*parts.manifest.categories, *extra, NO_CATEGORY)
    check_distinct("categories", {name: opened.tokenizer.encode_text(f" {name}")[0] for name in names})
    files = sorted(path for path in base.checkpoint.iterdir() if path.is_file())
    if adapter is not None:
        judged = adapter.evaluation and adapter.evaluation / EVALUATION
        given = (adapter.folder / WEIGHTS, adapter.folder / CONFIG, adapter.gate, adapter.calibration, judged)
        files += [path for path in given if path and path.is_file()]
    return Checked(opened, parts, digest_of([_fingerprint(path) for path in files]))


def _fingerprint(path: Path) -> list[str | int]:
    found = path.stat()
    if found.st_size <= _SMALL_BYTES:
        return [path.name, file_digest(path)]
    return [path.name, found.st_size, found.st_mtime_ns]
