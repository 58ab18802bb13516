"""The policy file of a running worker: read again when it changes, without a restart."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from sluicegate.pipeline.errors import PolicyError
from sluicegate.pipeline.policy.checks import OtherEnginesError, require_adapters, require_engines
from sluicegate.pipeline.policy.policy import Policy
from sluicegate.pipeline.policy.yaml_text import MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping
    from pathlib import Path

_log = structlog.get_logger(__name__)

_LOOK_AGAIN_S = 1.0


class PolicyFile:
    """Holds the policy in force.

    The content is compared, not the time: a ConfigMap's file is a link that is turned to another
    folder. A change counts once two looks in a row have seen the same, so that a file which is
    being written is not taken half. A file that cannot be used leaves the policy in force.

    Args:
        path: The file; None for the built-in policy, which never changes.
        adapters: Those that the settings know: a policy that names another is one that cannot be used. None for
            who asks no engine.
        look_again_s: Seconds between two looks.

    Raises:
        PolicyError: There is no policy to begin with.
    """

    def __init__(
        self, path: Path | None, *, adapters: Collection[str] | None = (), look_again_s: float = _LOOK_AGAIN_S
    ) -> None:
        self._path = path
        self._adapters = None if adapters is None else frozenset(adapters)
        self._look_again_s = look_again_s
        self._settled = self._read()
        """What was last looked into, whether it could be used or not; None if nothing could be read."""
        self._current = self._parse(self._settled)

    @property
    def current(self) -> Policy:
        """The policy in force. A caller takes it once, and decides by that."""
        return self._current

    @asynccontextmanager
    async def watched(
        self,
        *,
        engines: Mapping[str | None, str],
        changed: Callable[[Policy], None],
        failed: Callable[[PolicyError], None],
    ) -> AsyncIterator[asyncio.Event]:
        """Look for changes within the context. The calls come in the event loop, once a change is in force.

        A changed policy that is for other engines leaves the one in force. The one to begin with may be for others, too.
        Then nothing may be decided by it, and the event tells when another one has come.

        Args:
            engines: Digest of each engine by adapter; None is the engine's own. Empty for who asks no engine.
            changed: Told the new policy; also when a file that had failed is in order again.
            failed: Told why a file cannot be used, once a change.

        Returns:
            Set once the policy in force is for these engines, and from then on.
        """
        fits = asyncio.Event()
        try:
            require_engines(self._current, engines, str(self._path))
            fits.set()
        except OtherEnginesError as error:
            _log.error("policy_for_other_engines", fault=str(error))
            failed(error)
        watching = asyncio.create_task(self._watch(engines, fits, changed, failed), name="policy-file")
        try:
            yield fits
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _watch(
        self,
        engines: Mapping[str | None, str],
        fits: asyncio.Event,
        changed: Callable[[Policy], None],
        failed: Callable[[PolicyError], None],
    ) -> None:
        if self._path is None:
            return
        seen = self._settled
        while True:
            await asyncio.sleep(self._look_again_s)
            before, seen = seen, await asyncio.to_thread(self._read)
            if seen == self._settled or seen != before:
                continue
            self._settled = seen
            try:
                policy = await asyncio.to_thread(self._parse, seen)
                require_engines(policy, engines, str(self._path))
            except PolicyError as error:
                strange = isinstance(error, OtherEnginesError)
                _log.error(
                    "policy_for_other_engines" if strange else "policy_reload_failed",
                    fault=str(error),
                    in_force=self._current.digest if fits.is_set() else None,
                )
                failed(error)
            else:
                before_digest, self._current = self._current.digest, policy
                _log.info("policy_reloaded", before=before_digest, in_force=policy.digest)
                changed(policy)
                fits.set()

    def _read(self) -> bytes | None:
        if self._path is None:
            return None
        try:
            with self._path.open("rb") as file:
                return file.read(MOST_BYTES + 1)
        except OSError:
            return None

    def _parse(self, content: bytes | None) -> Policy:
        try:
            policy = (
                Policy.load(self._path) if content is None else Policy.from_bytes(content, str(self._path))
            )
            if self._adapters is not None:
                require_adapters(policy, self._adapters, str(self._path))
            _ = policy.digest  # computed here, where a fault leaves the policy in force
        except PolicyError:
            raise
        except Exception as error:
            # A fault of ours: the policy in force is better than none.
            raise PolicyError(
                f"{self._path}: a fault of Sluicegate's own ({type(error).__name__}); please report the file"
            ) from error
        return policy
