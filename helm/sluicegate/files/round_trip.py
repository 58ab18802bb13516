"""Publish a marked post, wait for its verdict, and compare the engine that gave it with the pinned one.

Usage: round_trip.py SECONDS DIGEST (may be empty)
"""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from pathlib import Path

from sluicegate.client import Client, Post
from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.settings.tree import load_settings


async def main(timeout_s: float, digest: str) -> str | None:
    """Show the verdict; else say what is wrong."""
    settings = load_settings(Path(os.environ["SLUICEGATE_SETTINGS"]))
    post = Post(id=f"helm-test/{uuid.uuid4()}", text="A library opens at nine.")
    async with Client(settings.kafka, settings.topics) as client:
        verdict = (await client.judge(post, timeout_s=timeout_s)).verdict
    if verdict is None:
        return f"no verdict within {timeout_s:g} s; are workers running, and is their hold named in /readyz?"
    print(verdict.model_dump_json(indent=2))
    if digest and verdict.engine.digest != digest:
        return f"engine {verdict.engine.digest} judged it, engine.digest pins {digest}; a worker of another release?"
    return None


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(float(sys.argv[1]), sys.argv[2])))
    except PipelineError as error:
        sys.exit(str(error))
