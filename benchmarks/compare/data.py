"""The posts of a run: a stream from a file, distinct ones, a stratified sample, and records on a topic."""

from __future__ import annotations

import hashlib
import json
import random
from collections import defaultdict
from typing import TYPE_CHECKING

import orjson

from sluicegate.pipeline.trial.bench.load import renamed, rounds
from sluicegate.pipeline.trial.samples import sample_records
from sluicegate.schemas import Post, decode_post

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_SEED = 7
_HOT_SHARE = 0.4


class DataError(Exception):
    """The file of posts cannot be used; the message says why."""


def read_lines(path: Path | None) -> list[bytes]:
    """The posts of a file, one JSON object a line; without one, the samples in the package.

    Raises:
        DataError: The file cannot be read or has no line that is a post.
    """
    try:
        lines = list(sample_records()) if path is None else path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give a file with DATA=") from error
    posts = [line for line in lines if isinstance(decode_post(line), Post)]
    if not posts:
        raise DataError(f"{path}: no line is a post; give one JSON object with id and text a line")
    return posts


def digest(lines: Sequence[bytes]) -> str:
    """Of all lines, in order."""
    return "sha256:" + hashlib.sha256(b"\n".join(lines)).hexdigest()


def stream(lines: Sequence[bytes], count: int) -> list[bytes]:
    """So many posts with ids of their own; where the lines come round again, their texts say so."""
    going: Iterator[tuple[bytes, int]] = rounds(lambda: iter(lines))
    return [
        renamed(line, f"c{number}", before)
        for number, (line, before) in zip(range(count), going, strict=False)
    ]


def distinct(lines: Sequence[bytes]) -> list[bytes]:
    """The first post of each text."""
    found: dict[str, bytes] = {}
    for line in lines:
        found.setdefault(json.loads(line)["text"], line)
    return list(found.values())


def stratified(lines: Sequence[bytes], count: int) -> list[bytes]:
    """A sample of distinct posts in which languages, kinds and labels have their shares, as far as the posts say them."""
    strata: defaultdict[tuple[str, str, str], list[bytes]] = defaultdict(list)
    for line in distinct(lines):
        post = json.loads(line)
        label = post.get("label")
        severity = label.get("severity") if isinstance(label, dict) else None
        strata[str(post.get("language")), str(post.get("kind")), str(severity)].append(line)
    rng = random.Random(_SEED)  # noqa: S311 - equal runs have equal samples
    whole = sum(map(len, strata.values()))
    wanted = min(count, whole)
    exact = {name: wanted * len(of) / whole for name, of in strata.items()}
    chosen = {name: int(share) for name, share in exact.items()}
    by_rest = sorted(strata, key=lambda name: (chosen[name] - exact[name], name))
    for name in by_rest[: wanted - sum(chosen.values())]:
        chosen[name] += 1
    sample = [line for name in sorted(strata) for line in rng.sample(strata[name], chosen[name])]
    rng.shuffle(sample)
    return sample


def even_place(number: int, partitions: int) -> int:
    """The partition of a post where all have as many."""
    return number % partitions


def skewed_place(number: int, partitions: int) -> int:
    """The partition of a post where one hot key has two posts in five, and the other keys the rest."""
    if (number * 0.6180339887) % 1 < _HOT_SHARE:  # spread evenly over the stream
        return 0
    return number % partitions


def post_id(value: bytes) -> str:
    """The id in a record."""
    return str(orjson.loads(value)["id"])
