"""The texts that quantisation is calibrated on: prompts of the tenant's own posts, as the engine will see them.

quantize.py tokenises them itself, with a tokenizer to which a control token's spelling is that token
wherever it stands; so a post that spells one is left out. It cuts what is too long at the end, where
the post is; so that is left out too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from sluicegate.engines.build.errors import BuildError
from sluicegate.engines.layouts.base import Static
from sluicegate.engines.protocol import ItemFailure
from sluicegate.engines.text.prompting import Prompter
from sluicegate.schemas import Post, decode_post

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from sluicegate.engines.adapt.train.base import OpenedBase
    from sluicegate.engines.build.recipe import CalibrationData

FILE = "train.jsonl"
"""Its name makes it the split that quantize.py reads; its column is ``text``."""

_LINE_BYTES = 1 << 20
_MOST_LINES = 1_000_000
_FEWEST = 8


def write_texts(
    data: CalibrationData, count: int, base: OpenedBase, control: Collection[str], folder: Path
) -> int:
    """Write the first prompts that can be used, as many as are wanted.

    Args:
        data: The posts.
        count: How many prompts are wanted.
        base: Whose tokenizer and layout make them.
        control: Spellings of the control tokens.
        folder: Where :data:`FILE` is written.

    Returns:
        How many.

    Raises:
        BuildError: The file cannot be read or holds too few.
    """
    prompter = Prompter(base.tokenizer, base.layout, max_prompt_tokens=data.max_tokens)
    lines: list[bytes] = []
    for post in _posts(data.posts):
        pieces = base.layout.render(post)
        theirs = [piece.text for piece in pieces if not isinstance(piece, Static)]
        spelled = any(token in text for token in control for text in theirs)
        if not spelled and not isinstance(prompter.build(post), ItemFailure):
            lines.append(orjson.dumps({"text": "".join(piece.text for piece in pieces)}))
        if len(lines) == count:
            break
    if len(lines) < _FEWEST:
        raise BuildError(
            f"calibration_data.posts: {data.posts.name} gives {len(lines)} prompts of at most {data.max_tokens} tokens, "
            f"fewer than {_FEWEST}; give more posts, or a higher max_tokens"
        )
    folder.mkdir(mode=0o700)
    (folder / FILE).write_bytes(b"\n".join(lines) + b"\n")
    return len(lines)


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
