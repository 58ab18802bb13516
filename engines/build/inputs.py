"""Inputs of a build, and what of it is done: for each stage the digest of all that went into it.

Inputs are a base that an engine can be built from, and the texts that quantisation is calibrated on.
"""

from __future__ import annotations

import fcntl
import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from sluicegate.engines.adapt.export.base_parts import BaseParts, Trained, open_parts, read_plan
from sluicegate.engines.adapt.export.export import EVALUATION
from sluicegate.engines.adapt.train.base import OpenedBase, open_base
from sluicegate.engines.adapt.train.recipe import TrainingBase as TrainedBase
from sluicegate.engines.build.recipe import BuildRecipe, CalibrationData
from sluicegate.engines.bundle import check_distinct, file_digest
from sluicegate.engines.cpu_model import CONFIG, WEIGHTS
from sluicegate.engines.errors import BuildError
from sluicegate.engines.files import replace_file
from sluicegate.engines.layouts import Static
from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import NO_CATEGORY, Post, decode_post

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path


_FILE = "state.json"
_BYTES = 1 << 20


class State:
    """The file of a work folder. A stage that is not in it did not end.

    Args:
        work: The folder.
    """

    def __init__(self, work: Path) -> None:
        self._path = work / _FILE
        self._done = _read(self._path)

    def is_done(self, stage: str, digest: str) -> bool:
        """Whether the stage ended with these inputs."""
        return self._done.get(stage) == digest

    def forget(self, stage: str) -> None:
        """Before a stage begins."""
        if self._done.pop(stage, None) is not None:
            self._write()

    def record(self, stage: str, digest: str) -> None:
        """After a stage ended."""
        self._done[stage] = digest
        self._write()

    def _write(self) -> None:
        replace_file(self._path, orjson.dumps(self._done, option=orjson.OPT_INDENT_2) + b"\n")


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        with path.open("rb") as stream:
            document = orjson.loads(stream.read(_BYTES))
        return {str(stage): str(digest) for stage, digest in document.items()}
    except (OSError, orjson.JSONDecodeError, AttributeError) as error:
        raise BuildError(
            f"{path} cannot be read ({type(error).__name__}); remove the work folder and build again"
        ) from error


def digest_of(*parts: Any) -> str:
    """``sha256:…`` over plain values."""
    canonical = orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)
    return f"sha256:{hashlib.sha256(canonical).hexdigest()}"


@contextmanager
def alone(work: Path) -> Iterator[None]:
    """Make sure that no other build is at work in the folder, which is made if it is missing.

    Raises:
        BuildError: There is one.
    """
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (work / "lock").open("wb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BuildError(
                f"{work}: another build is at work there; wait for it, or give another --work"
            ) from error
        yield


_SMALL_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Checked:
    """A base that can be built from."""

    opened: OpenedBase
    parts: BaseParts
    inputs: str
    """Digest of base and adapter. Of large files it holds size and time, since hashing takes minutes."""


def check_base(recipe: BuildRecipe) -> Checked:
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


FILE = "train.jsonl"
"""Its name makes it the split that quantize.py reads; its column is ``text``."""

_LINE_BYTES = 1 << 20
_MOST_LINES = 1_000_000
_FEWEST = 8


def write_texts(
    data: CalibrationData, count: int, base: OpenedBase, control: Collection[str], folder: Path
) -> int:
    """Write the first prompts that can be used, as many as are wanted, joined to texts of near-equal length.

    NVIDIA's tool pads every text to the longest one and calibrates on the padding, too.

    Args:
        data: The posts.
        count: How many prompts are wanted.
        base: Whose tokenizer and layout make them.
        control: Spellings of the control tokens.
        folder: Where :data:`FILE` is written.

    Returns:
        How many prompts.

    Raises:
        BuildError: The file cannot be read or holds too few.
    """
    prompter = Prompter(base.tokenizer, base.layout, max_prompt_tokens=data.max_tokens)
    found: list[tuple[int, str]] = []
    for post in _posts(data.posts):
        pieces = base.layout.render(post)
        theirs = [piece.text for piece in pieces if not isinstance(piece, Static)]
        spelled = any(token in text for token in control for text in theirs)
        prompt = None if spelled else prompter.build(post)
        if prompt is not None and not isinstance(prompt, ItemFailure):
            found.append((len(prompt.token_ids), "".join(piece.text for piece in pieces)))
        if len(found) == count:
            break
    if len(found) < _FEWEST:
        raise BuildError(
            f"calibration_data.posts: {data.posts.name} gives {len(found)} prompts of at most {data.max_tokens} tokens, "
            f"fewer than {_FEWEST}; give more posts, or a higher max_tokens"
        )
    folder.mkdir(mode=0o700)
    lines = [orjson.dumps({"text": text}) + b"\n" for text in joined(found)]
    (folder / FILE).write_bytes(b"".join(lines))
    return len(found)


def joined(prompts: Sequence[tuple[int, str]]) -> list[str]:
    """Join prompts to texts that are about as long as the longest prompt, and none longer.

    Args:
        prompts: Each with its number of tokens.
    """
    longest = max(length for length, _ in prompts)
    rooms: list[int] = []
    texts: list[list[str]] = []
    for length, text in sorted(prompts, key=lambda prompt: -prompt[0]):  # large ones first fill texts best
        at = next((index for index, room in enumerate(rooms) if room >= length), None)
        if at is None:
            at = len(rooms)
            rooms.append(longest)
            texts.append([])
        rooms[at] -= length
        texts[at].append(text)
    return ["".join(parts) for parts in texts]


def _posts(path: Path) -> Iterator[Post]:
    try:
        with path.open("rb") as stream:
            for number in range(1, _MOST_LINES + 1):
                line = stream.readline(_LINE_BYTES + 1)
                if not line:
                    return
                post = decode_post(line)
                if not isinstance(post, Post):
                    raise BuildError(
                        f"calibration_data.posts: {path.name}, line {number}: {post.code.value}; "
                        "each line is one post in JSON, as docs/contract.md has it"
                    )
                yield post
    except OSError as error:
        raise BuildError(
            f"calibration_data.posts: {path} cannot be read ({error.strerror}); check the name"
        ) from error
