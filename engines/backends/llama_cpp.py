"""The llama.cpp engine: a server process of our own, and the completions client before it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from sluicegate.engines.backends.completions import CompletionsEngine
from sluicegate.engines.backends.dialects import LlamaCppDialect, ServedModel
from sluicegate.engines.backends.llama_server import ServerOptions
from sluicegate.engines.backends.supervisor import Supervisor
from sluicegate.engines.protocol import Explanation, Generation, Health, ItemFailure, Prompt, Scored
from sluicegate.schemas import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType


_SERVER = "sluicegate.engines.backends.llama_server"
_WARM_UP_S = 60.0
_SILENT_ANSWERS = 3
"""So many times in a row without a word, some 15 seconds with nothing of ours in work."""


class LlamaCppEngine:
    """Scores on the CPU. A process of its own, because a failed assertion in native code ends one.

    Crashes are answered by a restart; meanwhile calls raise ``EngineUnavailable``. A server that
    hangs is killed once it has left several questions for its health in a row without an answer:
    only those count that were asked with no call of ours in work, which it might be busy with.

    Args:
        model: The bundle's model, adapter merged in.
        options: How the server runs.
    """

    def __init__(self, model: ServedModel, options: ServerOptions) -> None:
        self.info = model.info
        self._probe = model.probe
        self._slots = options.slots
        self._silent = 0
        self._calls = 0
        self._supervisor = Supervisor(("-m", _SERVER, options.to_json()), self._warm_up)
        self._client = CompletionsEngine(
            self._supervisor.address,
            LlamaCppDialect(model.vocabulary),
            model,
            # Enough that no slot waits for us. More would only queue in the server, where
            # abandoned requests cannot be taken back.
            concurrency=2 * options.slots,
        )

    @property
    def server_pid(self) -> int | None:
        """Process id of the running server; None while there is none."""
        return self._supervisor.pid

    async def score(self, prompts: Sequence[Prompt], *, timeout_s: float) -> list[Scored | ItemFailure]:
        """Score prompts; see :class:`~sluicegate.engines.protocol.Engine`."""
        with self._in_work():
            return await self._client.score(prompts, timeout_s=timeout_s)

    async def explain(
        self,
        prompts: Sequence[Prompt],
        severities: Sequence[Severity],
        *,
        timeout_s: float,
        texts: Sequence[bool] | None = None,
    ) -> list[Explanation | ItemFailure]:
        """Explain prompts; see :class:`~sluicegate.engines.protocol.Engine`."""
        with self._in_work():
            return await self._client.explain(prompts, severities, timeout_s=timeout_s, texts=texts)

    async def health(self) -> Health:
        """Score a short prompt of our own; a server that is silent again and again is replaced."""
        busy = self._calls > 0
        health = await self._client.health()
        self._silent = self._silent + 1 if health.silent and not busy else 0
        if self._silent >= _SILENT_ANSWERS:
            self._silent = 0
            self._supervisor.replace()
        return health

    async def generation(self) -> Generation | None:
        """The server process that runs now; it listens for this worker alone."""
        return Generation(f"start {self._supervisor.starts}", exclusive=True)

    async def __aenter__(self) -> Self:
        """Start the server and wait until it is warm.

        Raises:
            EngineSetupError: The server does not start.
        """
        await self._client.__aenter__()
        try:
            await self._supervisor.start()
        except BaseException:
            await self._client.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._supervisor.stop()
        finally:
            await self._client.__aexit__(kind, error, trace)

    @contextmanager
    def _in_work(self) -> Iterator[None]:
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def _warm_up(self) -> None:
        """Let every slot compute the shared prefix once: slots do not share it."""
        await self._client.score([self._probe] * self._slots, timeout_s=_WARM_UP_S)
