"""Tried: a second judge beside a flow's own, for the posts that it is given. The flow asks once for each post."""

from __future__ import annotations

from typing import Protocol

from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Post


class TriedJudge(Protocol):
    """Who judges some of the posts in place of the policy in force, by a policy that never changes.

    In a live worker it is a candidate that acts on a share. In a shadow worker it is the incumbent, for that share.
    """

    @property
    def policy(self) -> Policy:
        """Decides its posts, and names the adapter that judges each."""
        ...

    def judges(self, post: Post) -> bool:
        """Whether a post is its own now. It may be asked for every post, in the event loop."""
        ...
