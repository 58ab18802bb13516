"""The sample: which posts a candidate judges, too. Pure: it needs no list and no agreement between processes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import orjson

_PLACES = 2**64


@dataclass(frozen=True, slots=True)
class ShadowSample:
    """A share of all posts, chosen by a hash of the experiment, the tenant and the post's id.

    A greater share holds every post of a smaller one, in every process and on every day. So a shadow that lags may take
    a smaller share, and a canary may grow. All revisions of a post are in the sample, or none is. Samples of two
    experiments have nothing to do with each other.

    Authors do not choose ids, producers do, and they are trusted: the hash has no secret.

    Args:
        experiment: Its name.
        share: From 0 for no post to 1 for every post.

    Raises:
        ValueError: The share is none.
    """

    experiment: str
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise ValueError(f"a share of {self.share} is none; give one from 0 to 1, such as 0.05")

    def holds(self, tenant: str, post_id: str) -> bool:
        """Whether a post is in the sample."""
        return place(self.experiment, tenant, post_id) < self.share * _PLACES


def place(experiment: str, tenant: str, post_id: str) -> int:
    """Where a post stands in an experiment, from 0 to ``2 ** 64 - 1``. The lowest come into a sample first.

    One JSON array is hashed, so that no name can move a character into the next.
    """
    record = orjson.dumps([experiment, tenant, post_id])
    return int.from_bytes(hashlib.blake2b(record, digest_size=8).digest())
