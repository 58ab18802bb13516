"""Back-fill: judge a file of posts, JSON lines in, verdicts as JSON lines out. Run it again to go on.

    SLUICEGATE_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:9092 python examples/backfill.py posts.jsonl verdicts.jsonl

The output says what was done: a post whose verdict stands there is not sent again, and no
verdict id is written twice, however often the run is killed and started anew. Exit code 1 if a
line has no verdict yet; the reasons are on standard error, by line number.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from sluicegate.client import Client, ClientError, Post, Verdict
from sluicegate.schemas import Rejection, content_hash, decode_post

if TYPE_CHECKING:
    from collections.abc import Iterable

Judged = tuple[str, str, int, str]
"""Tenant, post id, revision and content hash: exactly what a verdict is about."""


class Verdicts:
    """The output file, and what stands in it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.ids: set[str] = set()
        self.judged: set[Judged] = set()
        whole = 0
        for line in file:
            if not line.endswith(b"\n"):
                break  # a killed run was just writing it
            self._remember(Verdict.model_validate_json(line))
            whole += len(line)
        file.seek(whole)
        file.truncate()

    def add(self, verdict: Verdict) -> None:
        """Write a verdict, unless it stands there."""
        if verdict.verdict_id not in self.ids:
            self._remember(verdict)
            self._file.write(verdict.model_dump_json().encode() + b"\n")
            self._file.flush()

    def _remember(self, verdict: Verdict) -> None:
        self.ids.add(verdict.verdict_id)
        self.judged.add((verdict.tenant, verdict.post_id, verdict.revision, verdict.content_hash))


class Backfill:
    """Judges lines that have no verdict yet, and counts them as ``judged``, ``known`` or ``open``."""

    def __init__(self, lines: Iterable[bytes], verdicts: Verdicts, *, timeout_s: float) -> None:
        self._numbered = enumerate(lines, start=1)
        self._verdicts = verdicts
        self._timeout_s = timeout_s
        self.counts: Counter[str] = Counter()

    async def run(self, *, at_once: int) -> None:
        """Work until every line was looked at, with so many posts under way together."""
        async with Client() as client, asyncio.TaskGroup() as workers:
            for _ in range(at_once):
                workers.create_task(self._work(client))

    async def _work(self, client: Client) -> None:
        for number, line in self._numbered:  # shared: each worker takes the next line
            post = decode_post(line)
            if isinstance(post, Rejection):
                self._leave_open(number, f"{post.code}, {post.detail}")
            elif (post.tenant, post.id, post.revision, content_hash(post)) in self._verdicts.judged:
                self.counts["known"] += 1
            else:
                await self._judge(client, number, post)

    async def _judge(self, client: Client, number: int, post: Post) -> None:
        try:
            reply = await client.judge(post, timeout_s=self._timeout_s)
        except ClientError as error:
            self._leave_open(number, str(error))
            return
        if reply.verdict is not None:
            self.counts["judged"] += 1
            self._verdicts.add(reply.verdict)

    def _leave_open(self, number: int, reason: str) -> None:
        self.counts["open"] += 1
        print(f"line {number}: {reason}", file=sys.stderr)


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("posts", type=Path, help="JSON lines, one post each")
    parser.add_argument("verdicts", type=Path, help="grows by a line for each post")
    parser.add_argument("--at-once", type=int, default=256, help="posts under way together")
    parser.add_argument("--timeout-s", type=float, default=60.0, help="for one post, in seconds")
    asked = parser.parse_args()
    asked.verdicts.touch()
    with asked.posts.open("rb") as lines, asked.verdicts.open("r+b") as file:
        work = Backfill(lines, Verdicts(file), timeout_s=asked.timeout_s)
        asyncio.run(work.run(at_once=asked.at_once))
    counts = work.counts
    print(f"{counts['judged']} judged, {counts['known']} known before, {counts['open']} open")
    sys.exit(bool(counts["open"]))


if __name__ == "__main__":
    main()
