"""A social feed: posts are published for judgement, and verdicts decide what readers see.

    SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:9092 python examples/social_feed.py

Needs a worker on that broker. It publishes five posts and an edit, acts on the verdicts, prints
what readers see, and ends.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from uuid import uuid4

from sluicegate.client import Action, Post, PostProducer, Verdict, VerdictConsumer

TEXTS = [
    "The library opens at nine tomorrow.",
    "Buy followers, cheap, click here.",
    "You are all idiots, every one of you.",
    "Does anybody have a spare ticket for Saturday?",
    "I will find out where you live.",
]


@dataclass
class Feed:
    """What readers see. Nothing is shown before it was judged: an absent verdict is no allow."""

    posts: dict[str, Post] = field(default_factory=dict)
    shown: dict[str, str] = field(default_factory=dict)
    for_moderators: set[str] = field(default_factory=set)
    judged: set[tuple[str, int]] = field(default_factory=set)

    def act(self, verdict: Verdict) -> None:
        """Apply a verdict. Doing it twice does no harm, as it must be: delivery is at least once."""
        post = self.posts.get(verdict.post_id)
        if post is None or post.revision != verdict.revision:
            return  # another application's post, or one that was edited since
        self.judged.add((post.id, post.revision))
        self.shown.pop(post.id, None)
        self.for_moderators.discard(post.id)
        if verdict.action is Action.ALLOW:
            self.shown[post.id] = post.text
        elif verdict.action is Action.REVIEW:
            self.for_moderators.add(post.id)

    @property
    def settled(self) -> bool:
        """True once every post was judged as it stands now."""
        return all((post.id, post.revision) in self.judged for post in self.posts.values())


async def main() -> None:
    """Publish, consume, show."""
    run = uuid4().hex[:8]
    feed = Feed()
    async with PostProducer() as producer:

        async def publish(post: Post) -> None:
            feed.posts[post.id] = post
            await producer.send(post)

        posts = [Post(id=f"{run}/{number}", text=text) for number, text in enumerate(TEXTS)]
        await asyncio.gather(*(publish(post) for post in posts))
        # The author of the third post thinks better of it: the same id, one revision higher.
        await publish(posts[2].model_copy(update={"text": "I disagree with all of you.", "revision": 1}))

    # A group of this run's own, from the beginning: a real feed keeps one name for ever.
    async with VerdictConsumer(f"social-feed-{run}") as consumer:

        def handle(verdict: Verdict) -> None:
            feed.act(verdict)
            if feed.settled:
                consumer.stop()

        await consumer.run(handle)
    for text in feed.shown.values():
        print(f"shown: {text}")
    hidden = len(feed.posts) - len(feed.shown)
    print(
        f"{len(feed.shown)} shown, {hidden} not shown, {len(feed.for_moderators)} of them wait for a moderator"
    )


if __name__ == "__main__":
    asyncio.run(main())
