"""Standing: where a candidate stands, as one process knows it from signed facts, and whose each post is.

A thread reads the history from its beginning, then follows it. The candidate acts only while the history is followed: one
that cannot be rolled back must not act. A rollback counts from the control topic, too, whatever was read of the history.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import structlog

from sluicegate.pipeline.errors import CandidateError, PipelineError, StartError
from sluicegate.pipeline.flow.tried import Beside
from sluicegate.pipeline.kafka.reader import TopicReader
from sluicegate.pipeline.observe.logs import frames
from sluicegate.pipeline.policy import Policy
from sluicegate.pipeline.policy.checks import require_adapters, require_engines
from sluicegate.pipeline.settings.tree import Settings
from sluicegate.pipeline.shadow.ledger import SignedHistory, read_keys
from sluicegate.pipeline.shadow.states import MOST_ENGINES, CandidateFact, CandidateState, JudgeDigests
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType


_log = structlog.get_logger(__name__)

SILENCE_S = 30.0
"""For so long without contact a candidate goes on acting. A partition's new leader is there within some seconds; what is
longer may hide a rollback."""
_FIRST_LOOK_S = 10.0  # a worker's start waits no longer for what was said
_READ_S = 0.2
_FETCH_WAIT_MS = 500  # nearly always idle, and many workers follow it
_LOOK_EVERY_S, _ANSWER_S = 3.0, 3.0
_AGAIN_S = 5.0
_LEAVE_S = 4.0
_WATCH_S = 0.5
"""How often it is looked whether silence has lasted too long."""

_ACTING = {CandidateState.CANARY, CandidateState.PROMOTED, CandidateState.WATCHED, CandidateState.SETTLED}


def judge_digests(policy: Policy, engines: Mapping[str | None, str], screen: str | None) -> JudgeDigests:
    """Who judges by a policy: what their verdicts name.

    Args:
        policy: Decides, and names the adapters.
        engines: Digest of each engine by adapter; None is the engine's own.
        screen: Digest of the screen, if one answers beside them.

    Raises:
        CandidateError: There are more engines than a fact can name.
    """
    met = {engines[adapter] for adapter in policy.adapters} | ({screen} if screen is not None else set())
    if len(met) > MOST_ENGINES:
        raise CandidateError(
            f"policy {policy.name} has {len(met)} engines judge, and a fact names {MOST_ENGINES} at most; try a candidate "
            "for fewer tenants"
        )
    return JudgeDigests(engines=tuple(sorted(met)), policy=policy.digest)


class Standing:
    """One per process: the candidate of the settings. Use as an async context manager.

    Args:
        settings: The cluster, the topics, the experiment, the candidate's policy and the keys.
        beside: What the process tells of the incumbent, and what it is told.

    Raises:
        CandidateError: The keys cannot be used, or a fact cannot name all of its engines.
        PolicyError: The candidate's policy cannot be used, or is for other engines.
        StartError: It cannot be told apart from the incumbent.
    """

    def __init__(self, settings: Settings, beside: Beside) -> None:
        self._settings = settings
        self._beside = beside
        self._metrics = beside.instruments.metrics
        self._clock = beside.instruments.clock
        self._policy = _open_policy(settings, beside)
        self._own = judge_digests(self._policy, beside.engines, None)
        self._experiment = settings.candidate.experiment or ""
        self._signed = SignedHistory(self._experiment, read_keys(settings), self._refused)
        self._rolled_back: CandidateFact | None = None
        """A rollback that the control topic told of, or a history that is read no more."""
        self._contact_at = float("-inf")
        self._trouble = "not read yet"
        self._acts = False
        self._looked_at: Policy | None = None
        """The incumbent's policy, as it was when :attr:`_acts` was found."""
        self._head: CandidateFact | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._looked = asyncio.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="candidate-facts", daemon=True)
        self._watching: asyncio.Task[None] | None = None

    @property
    def policy(self) -> Policy:
        """The candidate's. It never changes: another one is another candidate."""
        return self._policy

    def judges(self, post: Post) -> bool:
        """Whether the candidate's verdict on a post counts."""
        incumbent = self._beside.incumbent()
        # Another incumbent is another comparison, and what is silent may hide a rollback: neither waits for the next look.
        if not self._acts or incumbent is not self._looked_at or self._silent_s > SILENCE_S:
            return False
        agreed = incumbent.rules(post).canary
        return self._signed.history.acts_on(post.tenant, post.id, agreed=agreed)

    @property
    def state(self) -> str:
        """Where the candidate stands and what it acts on, for people."""
        said = self._state()
        if said is None:
            return f"not registered; the incumbent acts ({self._trouble})"
        if said not in _ACTING:
            return f"{said}; the incumbent acts"
        why = self._why_not()
        if why is not None:
            return f"{said}, and the incumbent acts: {why}"
        return f"{said}; it acts on {self._share():.2%} of {'posts that may have a canary' if said is CandidateState.CANARY else 'the posts'}"

    def hear(self, value: bytes) -> None:
        """Take in a record of the control topic: of all facts there, a rollback alone changes anything."""
        fact = self._signed.read(value)
        if isinstance(fact, CandidateError) or fact.experiment != self._experiment:
            return  # the history's own record of it tells what is wrong
        if fact.state is CandidateState.ROLLED_BACK and self._signed.keys.rosters.lists(fact.role, fact.by):
            self._rolled_back = fact
            self._show()

    def _state(self) -> CandidateState | None:
        return CandidateState.ROLLED_BACK if self._rolled_back is not None else self._signed.history.state

    def _share(self) -> float:
        head = self._signed.history.head
        if head is None or self._state() not in _ACTING or self._why_not() is not None:
            return 0.0
        return 1.0 if head.share is None else head.share

    @property
    def _silent_s(self) -> float:
        return self._clock.monotonic() - self._contact_at

    def _why_not(self) -> str | None:
        """Why this process lets the incumbent act, whatever facts say; None if it does not."""
        if self._rolled_back is not None:
            return f"rolled back by {self._rolled_back.by}"
        if self._silent_s > SILENCE_S:
            return f"facts do not reach this worker ({self._trouble})"
        head = self._signed.history.head
        if head is None:
            return "nothing is said yet"
        return self._why_others(head) or (
            None if self._beside.is_ready() else "its engine has not answered yet, or is away"
        )

    def _why_others(self, head: CandidateFact) -> str | None:
        """Whom facts name that this process does not have; None if it has both."""
        try:
            incumbent = judge_digests(self._beside.incumbent(), self._beside.engines, self._beside.screen)
        except CandidateError as error:
            return str(error)
        for which, said, own in (
            ("candidate", head.candidate, self._own),
            ("incumbent", head.incumbent, incumbent),
        ):
            if said.judges != own.judges:
                return f"this worker has another {which} than the facts name: policy {own.policy}, engines {', '.join(own.engines)}"
        return None

    def _show(self) -> None:
        """Say what changed; and give its posts back where the candidate acts no more, or on fewer."""
        self._looked_at = self._beside.incumbent()
        head, said, share = self._signed.history.head, self._state(), self._share()
        acts, before = share > 0, self._acts
        self._acts = acts
        for state in CandidateState:
            self._metrics.candidate_state.labels(state.value).set(int(state is said))
        self._metrics.candidate_acts.set(share)
        self._metrics.candidate_followed.set(int(self._silent_s <= SILENCE_S))
        self._metrics.candidate_barred.set(int(said in _ACTING and not acts))
        if (acts, head) != (before, self._head):
            self._head = head
            _log.warning("candidate", experiment=self._experiment, state=self.state)
            self._beside.lost()

    async def __aenter__(self) -> Self:
        """Begin, and wait a while for what was said."""
        self._loop = asyncio.get_running_loop()
        self._show()
        self._thread.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_LOOK_S):
                await self._looked.wait()
        self._watching = asyncio.create_task(self._watch(), name="candidate-watch")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._watching is not None:
            self._watching.cancel()
        await asyncio.to_thread(self._thread.join, _LEAVE_S)

    async def _watch(self) -> None:
        while True:
            self._show()
            await self._clock.sleep(_WATCH_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except PipelineError as error:
                self._tell(self._lost, str(error))
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end the watch over a candidate
                self._tell(self._lost, f"a fault of Sluicegate's own ({frames(error)})")
            self._stopping.wait(_AGAIN_S)

    def _follow(self) -> None:
        topic = self._settings.topics.candidates
        # All of it anew, and in force once it is whole: a topic that was made again says nothing of what stood there.
        signed: SignedHistory | None = SignedHistory(
            self._experiment, self._signed.keys, self._refused, self._signed.known
        )
        read = self._signed.read
        with TopicReader(
            self._settings.kafka, [topic], start="beginning", fetch_wait_ms=_FETCH_WAIT_MS
        ) as reader:
            look_at = 0.0
            while not self._stopping.is_set():
                if records := reader.read(_READ_S):
                    # Signatures are checked here: it takes a tenth of a millisecond for each.
                    self._tell(self._take, [read(record.value) for record in records], signed)
                if not reader.at_end or time.monotonic() < look_at:
                    continue
                asked_at = self._clock.monotonic()
                reader.look(within_s=_ANSWER_S)
                look_at = time.monotonic() + _LOOK_EVERY_S
                # What was written before the answer to this question is read in the next round, and before the next contact.
                self._tell(self._found, asked_at, signed)
                signed = None

    def _tell(self, what: Callable[..., None], *said: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended, and the process is about to
                self._loop.call_soon_threadsafe(what, *said)

    def _take(self, facts: Sequence[CandidateFact | CandidateError], new: SignedHistory | None) -> None:
        signed = new or self._signed
        refused = signed.refused
        for fact in facts:
            signed.add(fact)
        self._metrics.candidate_facts_refused.inc(signed.refused - refused)
        self._show()

    def _found(self, asked_at: float, new: SignedHistory | None) -> None:
        self._contact_at, self._trouble = asked_at, "followed"
        if new is not None:
            if self._signed.history.state is CandidateState.ROLLED_BACK:
                self._rolled_back = self._signed.history.head  # for good, whatever became of the topic
            self._signed = new
            _log.info("candidate_facts_followed", topic=self._settings.topics.candidates)
        self._show()
        self._looked.set()

    def _lost(self, why: str) -> None:
        if self._trouble != why:
            _log.warning("candidate_facts_not_followed", why=why)
        self._trouble = why
        self._show()
        self._looked.set()

    def _refused(self, why: str) -> None:
        _log.warning("candidate_fact_refused", experiment=self._experiment, why=why)


def _open_policy(settings: Settings, beside: Beside) -> Policy:
    path = settings.candidate.policy
    if path is None:
        raise StartError("candidate.policy is missing; give the candidate's policy file")
    source = f"candidate.policy {path}"
    policy = Policy.load(path)
    known = [name for name in beside.engines if name is not None]
    require_adapters(policy, known, source)
    require_engines(policy, beside.engines, source)
    if policy.digest == beside.incumbent().digest:
        raise StartError(
            f"{source}: it is the policy in force, so no verdict could tell the two apart; name another adapter or other "
            "rules in it, or leave candidate.policy out if it was promoted"
        )
    guard = settings.screen.guard
    if guard is not None and guard in policy.adapters:
        raise StartError(
            f"{source}: it has the small guard {guard} judge as an adapter, which would check itself; give the candidate "
            "a server and a name of its own"
        )
    return policy
