"""The demo of the review desk: broker, worker, replay, and a desk whose pages a person opens."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from sluicegate.pipeline.errors import ReviewError
from sluicegate.pipeline.settings.tree import ReviewSettings, Settings
from sluicegate.pipeline.trial.demo.run import DemoOptions, DemoReplay
from sluicegate.pipeline.trial.local import local_system

if TYPE_CHECKING:
    from collections.abc import Callable

_PAUSE_S = 0.05
_AUDIT_SHARE = 0.05
"""Of the few posts of a demo, some should be audited."""


async def run_review_demo(options: DemoOptions, port: int, say: Callable[[str], None]) -> None:
    """Judge the posts, and serve a desk with the cases until Ctrl-C. Nothing of it is left behind.

    Args:
        options: What to replay, and the engine.
        port: Of the pages, on this machine alone.
        say: Told what is started, and the address.

    Raises:
        DemoError: The worker did not start.
        ReviewError: The extra `review` is not installed, or the port is taken.
    """
    try:
        from sluicegate.pipeline.review.serving import serve_desk  # noqa: PLC0415 - loads the libraries of an extra
    except ModuleNotFoundError as error:
        raise ReviewError(
            f"the review desk needs {error.name}; install sluicegate with the extra: pip install 'sluicegate[review]'"
        ) from error
    settings: dict[str, str] = {"engine.backend": options.engine}
    if options.policy is not None:
        settings["policy.path"] = str(options.policy.absolute())
    with tempfile.TemporaryDirectory(prefix="sluicegate-review-") as folder:
        async with local_system("review", settings, say) as system:
            # Constructed: no setting of the user's own environment reaches a demo.
            desk = Settings.model_construct(
                kafka=system.kafka,
                topics=system.topics,
                review=ReviewSettings(
                    store=SecretStr(f"sqlite:///{Path(folder) / 'review.db'}"),
                    port=port,
                    audit_share=_AUDIT_SHARE,
                ),
            )
            say(f"replaying {len(options.records)} posts")
            with DemoReplay(
                system.kafka, system.topics.posts, options.records, ahead=len(options.records)
            ) as replay:
                sending = asyncio.create_task(_send(replay))
                try:
                    await serve_desk(
                        desk,
                        demo=True,
                        started=lambda address: say(f"open {address} and log in; Ctrl-C ends it"),
                    )
                finally:
                    sending.cancel()


async def _send(replay: DemoReplay) -> None:
    while not replay.done:
        replay.top_up(answered=0)
        await asyncio.sleep(_PAUSE_S)
