"""Publish a post that nobody has seen, and wait until the engine itself has judged it.

Usage: round_trip.py SECONDS DIGEST (may be empty): all that it may take, and the engine that has to be in force.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
import uuid
from pathlib import Path

from sluicegate.client import Client, Post
from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.schemas import AssessedBy, Verdict

TENANT = "helm-test"
"""Reserved: by it, consumers and dashboards leave these posts out."""
_TEXTS = 10
_WORDS = (
    "apple autumn barn basket bench bicycle book bread bridge butter candle carpet castle cherry "
    "cloud coffee corner cotton cousin dinner donkey evening farm feather flower forest garden "
    "guitar harbour hill honey island jacket kettle kitchen ladder lake lantern lemon library "
    "market meadow mirror morning museum novel orchard paper pencil piano picnic pillow pocket "
    "potato puzzle river school shelf shoulder silver soup spoon station summer table tea train"
)


def unseen_text() -> str:
    """A harmless text that no cache has: there are more than 10**21 of them."""
    words = _WORDS.split()
    return f"On the list are {', '.join(secrets.choice(words) for _ in range(12))}."


async def _judged(client: Client, end: float) -> Verdict | None:
    """The first verdict by the engine, or the last one; None without one in time.

    A screen may answer some texts, and a text alone may fail.
    """
    verdict = None
    for _ in range(_TEXTS):
        post = Post(id=f"helm-test/{uuid.uuid4()}", tenant=TENANT, text=unseen_text())
        left_s = max(end - time.monotonic(), 1.0)
        verdict = (await client.judge(post, timeout_s=left_s, on_timeout="review")).verdict
        if verdict is None or verdict.assessed_by is AssessedBy.ENGINE:
            break
        print(f"assessed_by is {verdict.assessed_by}{_why(verdict)}: another text is sent")
    return verdict


def _why(verdict: Verdict) -> str:
    return f", with the code {verdict.failure.code}" if verdict.failure else ""


async def main(timeout_s: float, digest: str) -> str | None:
    """Show the engine's verdict; else say what is wrong."""
    settings = load_settings(Path(os.environ["SLUICEGATE_SETTINGS"]))
    async with Client(settings.kafka, settings.topics) as client:
        verdict = await _judged(client, time.monotonic() + timeout_s)
    if verdict is None:
        return f"no verdict within {timeout_s:g} s; are workers running, and is a hold named in /readyz?"
    print(verdict.model_dump_json(indent=2))
    if verdict.assessed_by is not AssessedBy.ENGINE:
        return (
            f"the engine judged none of {_TEXTS} texts: assessed_by is {verdict.assessed_by}{_why(verdict)}"
        )
    if digest and verdict.engine.digest != digest:
        return f"engine {verdict.engine.digest} judged it, engine.digest pins {digest}; a worker of another release?"
    return None


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(float(sys.argv[1]), sys.argv[2])))
    except PipelineError as error:
        sys.exit(str(error))
