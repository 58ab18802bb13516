"""Screening: easy posts are answered by the small guard, and some of these by the large one all the same.

Asked after the exact cache, before near duplicates and the engine. Nothing that it finds is kept for other
posts. Whatever goes wrong here costs a post nothing: it goes to the engine.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import structlog

from sluicegate.engines.backends import Backends
from sluicegate.engines.screen import GUARD, GuardManifest, GuardScreen, ScreenAnswer, Screener
from sluicegate.engines.text.segmenter import Segmenter
from sluicegate.pipeline.errors import StartError
from sluicegate.pipeline.flow.answers import Answer, Answers
from sluicegate.pipeline.flow.decision import engine_reference, policys_action
from sluicegate.pipeline.flow.in_work import Arrival
from sluicegate.pipeline.observe.instruments import Instruments
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.records import Record
from sluicegate.pipeline.settings.sections import ScreenSettings
from sluicegate.pipeline.shortcuts.screening import Sample, action_of, is_sampled, may_answer
from sluicegate.pipeline.shortcuts.switch import Switch
from sluicegate.schemas import AssessedBy, Assessment, EngineRef, MadeVerdict, Post, content_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


_log = structlog.get_logger(__name__)

_JUDGED = {AssessedBy.ENGINE, AssessedBy.CACHE}
_LIGHT = "manifest.json"
"""A folder of a light screen has it, and no measurement of a small guard."""
_SERVED_APART = {"completions", "fake"}
"""What serves a small guard: a post that its engine dies of must neither end the worker nor take the large guard's room."""


class Screening:
    """One per worker; one event loop. Without a screen it answers nothing.

    Args:
        settings: The section ``screen``.
        policy: The policy in force.
        instruments: What watches.
        answers: Makes the answers.
        screen: The small guard.
    """

    def __init__(
        self,
        settings: ScreenSettings,
        policy: Callable[[], Policy],
        instruments: Instruments,
        answers: Answers,
        screen: Screener | None,
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._metrics = instruments.metrics
        self._answers = answers
        self._screen = screen
        self.switch = Switch(
            settings, instruments.clock, instruments.metrics, screen.digest if screen is not None else None
        )
        self._away: str | None = None
        self._barred_by: str | None = None
        self._faults = 0
        if screen is not None:
            self._metrics.screen.info({"digest": screen.digest})
            self._metrics.screen_guard_away.set_function(lambda: screen.away is not None)
            self._metrics.screen_guard_barred.set_function(
                lambda: self._bars(screen, self._policy()) is not None
            )

    @property
    def has_screen(self) -> bool:
        """True where there is one, at work or not."""
        return self._screen is not None

    @property
    def on(self) -> bool:
        """True where it has a screen that is not switched off, and that the policy in force lets judge."""
        screen = self._screen
        return (
            screen is not None
            and not self.switch.is_off(screen.digest)
            and self._bars(screen, self._policy()) is None
        )

    @property
    def state(self) -> str:
        """What the screen does, for people."""
        screen = self._screen
        if screen is None:
            return "there is none"
        if why := self._bars(screen, self._policy()):
            return f"answers nothing: {why}"
        if self.switch.is_off(screen.digest):
            return "answers nothing: it is switched off, or the control topic is not followed"
        return f"the small guard rests: {screen.away}" if screen.away is not None else "at work"

    async def look_up(
        self, waiting: Sequence[Arrival]
    ) -> tuple[dict[Arrival, Answer], dict[Arrival, Sample]]:
        """The answers that the screen gives, and what it would have said of samples."""
        screen, policy = self._screen, self._policy()
        answers: dict[Arrival, Answer] = {}
        samples: dict[Arrival, Sample] = {}
        if screen is None:
            return answers, samples
        self._tell_barred(screen, policy)
        if not self.on:
            return answers, samples
        # The screen was measured beside the judge that acts: a second one judges all of its posts itself.
        asked = (one for one in waiting if one.tried is None)
        wanted = [one for one in asked if may_answer(one.post, policy)]
        said = await self._ask(screen, [one.post for one in wanted]) if wanted else []
        self._tell_away(screen)
        for one, found in zip(wanted, said, strict=True):
            answer = self._answer(screen, one, found)
            if isinstance(answer, Sample):
                samples[one] = answer
            elif answer is not None:
                answers[one] = answer
        return answers, samples

    def compare(self, answered: Sequence[Answer]) -> None:
        """Compare what the engine found of samples with what the screen would have said."""
        policy = self._policy()
        for answer in answered:
            post, record = answer.sampled, answer.record
            if (
                post is None
                or post.sample is None
                or post.tried is not None
                or not isinstance(record, Record)
            ):
                continue
            verdict = record.event
            if isinstance(verdict, MadeVerdict) and verdict.assessed_by in _JUDGED:
                judged = policys_action(verdict)
                # What two policies make of a post says nothing of the screen.
                same = post.sample.policy == verdict.policy.digest == policy.digest
                tolerance = policy.rules(post.post).screen.tolerance if same else None
                self.switch.compare(
                    post.sample, judged, tolerance, policy=policy.digest, content=verdict.content_hash
                )

    def _bars(self, screen: Screener, policy: Policy) -> str | None:
        """Why a policy lets this small guard answer nothing; None if it does let it."""
        if policy.engines and screen.guard.digest not in policy.engines:
            return f"the policy names engines, and not the small guard {screen.guard.digest}"
        if self._settings.guard is not None and self._settings.guard in policy.adapters:
            # Its samples would agree with themselves, and a post that ends it would be blamed on what its adapter judges.
            return f"the policy has the small guard judge as the adapter {self._settings.guard}"
        return None

    def _tell_barred(self, screen: Screener, policy: Policy) -> None:
        why = self._bars(screen, policy)
        if why is None:
            self._barred_by = None
        elif policy.digest != self._barred_by:
            self._barred_by = policy.digest
            _log.warning(
                "screen_guard_barred",
                guard=screen.guard.digest,
                why=why,
                policy=policy.digest,
                fix="name its digest under engines in the policy, too, once its thresholds fit this guard's scores; "
                "and give an adapter that judges posts a server and a name of its own",
            )

    def _tell_away(self, screen: Screener) -> None:
        """Count what the small guard failed on, and say once that it rests, and once that it is back."""
        self._metrics.screen_faults.inc(screen.faults - self._faults)
        self._faults = screen.faults
        if screen.away is not None and self._away is None:
            _log.warning("screen_guard_rests", reason=screen.away)
        elif screen.away is None and self._away is not None:
            _log.info("screen_guard_back", after=self._away)
        self._away = screen.away

    async def _ask(self, screen: Screener, posts: Sequence[Post]) -> Sequence[ScreenAnswer | None]:
        try:
            answers = await screen.ask(posts)
            if len(answers) != len(posts):
                raise ValueError("not one answer for each post")  # noqa: TRY301 - a fault like any other
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error, len(posts))
            return [None] * len(posts)
        return answers

    def _answer(self, screen: Screener, one: Arrival, found: ScreenAnswer | None) -> Answer | Sample | None:
        try:
            policy = self._policy()
            action = action_of(one.post, found, policy) if self.on and not one.over else None
            if found is None or action is None:
                return None
            if is_sampled(content_hash(one.post), self._settings.sample_share):
                return Sample(screen.digest, action, policy.digest)
            finding = Assessment(
                scores=found.scores, severity=found.scores.severity, assessed_by=AssessedBy.SCREEN
            )
            return self._answers.without_engine(one.slot, one.post, policy, finding, screen_stamp(screen))
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(error, 1)
            return None

    def _failed(self, error: Exception, posts: int) -> None:
        self._metrics.screen_faults.inc()
        _log.error("screen_fault", posts=posts, where=frames(error))


def screen_stamp(screen: Screener) -> EngineRef:
    """Who answered, on a verdict: the small guard with its bundle."""
    return engine_reference(screen.guard, calibrated=screen.calibrated)


def open_screen(
    settings: ScreenSettings, backends: Backends, patience_s: Callable[[], float | None] = lambda: None
) -> GuardScreen | None:
    """Load the screen that the settings name, if they name one. Blocking, below a second.

    Args:
        settings: The section ``screen``.
        backends: Among them the small guard, if there is one. They are entered by the caller.
        patience_s: Seconds that the least patient post waits under the policy in force; None for no bound.

    Raises:
        EngineError: The folder holds no screen that can be used here.
        StartError: It is not the one that is pinned, or its guard is another one or none.
    """
    if settings.path is None:
        return None
    measured = os.path.exists(settings.path / GUARD)  # noqa: PTH110 - Path's own raises where a folder is closed to us
    if not measured and (settings.guard is None or os.path.exists(settings.path / _LIGHT)):  # noqa: PTH110 - the same
        raise StartError(
            f"screen.path {settings.path}: there is no {GUARD}. A screen is a small guard now, and light screens that "
            "`sluicegate adapt screen` trained are not read any more: leave screen.path and screen.digest out, or name the "
            "folder that `sluicegate adapt screen-guard` wrote"
        )
    if settings.guard is None:
        raise StartError(
            f"screen.path {settings.path} is of a small guard: say in screen.guard which of engine.adapters it is"
        )
    screen = _open_guard(settings, settings.path, settings.guard, backends, patience_s)
    if settings.digest is not None and settings.digest != screen.digest:
        raise StartError(
            f"screen.path {settings.path}: its digest is {screen.digest}, screen.digest pins {settings.digest}; "
            "pin this one, or give the path of the other"
        )
    return screen


def _open_guard(
    settings: ScreenSettings,
    path: Path,
    name: str,
    backends: Backends,
    patience_s: Callable[[], float | None],
) -> GuardScreen:
    manifest = GuardManifest.load(path)
    backend = backends.get(name)
    if backend is None:
        raise StartError(
            f"screen.guard {name}: this worker has no such engine; say under engine.adapters.{name} where it is served"
        )
    info = backend.engine.info
    if info.backend not in _SERVED_APART:
        raise StartError(
            f"screen.guard {name}: engine.backend {info.backend} would load a second engine into this worker's own room; "
            "serve both guards by servers of their own, and set engine.backend to completions"
        )
    for other, one in backends.items():
        its = "the engine's own" if other is None else f"the adapter {other}'s"
        if other != name and info.digest == one.engine.info.digest:
            raise StartError(
                f"screen.guard {name}: its bundle is {its}, {info.digest}, which would check itself; give "
                f"engine.adapters.{name}.bundle the folder of a smaller guard, or leave screen.guard out"
            )
        if other != name and backend.server is not None and backend.server == one.server:
            raise StartError(
                f"screen.guard {name}: its server is {its}, too; a post that ends it would be blamed on others. Give "
                f"engine.adapters.{name}.url a server of its own"
            )
    if info.digest != manifest.guard:
        raise StartError(
            f"screen.guard {name}: its bundle is {info.digest}, and {path / GUARD} was measured with {manifest.guard}; "
            "measure it again with `sluicegate adapt screen-guard`"
        )
    if info.backend != manifest.backend:
        raise StartError(
            f"screen.guard {name}: {info.backend} serves it, and {path / GUARD} was measured with {manifest.backend}; "
            "measure it again with `sluicegate adapt screen-guard`"
        )
    return GuardScreen(
        manifest,
        backend.engine,
        Segmenter(backend.prompter, folds=True, passages=backend.passages),
        calibration=backend.calibration,
        timeout_s=settings.guard_timeout_s,
        clock=time.monotonic,
        patience_s=patience_s,
    )
