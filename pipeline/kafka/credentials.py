"""Credentials: what one client logs in with. They are read again when their files change, and when a broker refuses them.

A new password is given to the client that there is. A new certificate, key or authority needs a new client: it is tried
first, so nobody lets a client go that works for one that does not.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, TypeVar

from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.kafka.client_config import client_config, sasl_password
from sluicegate.pipeline.kafka.unreachable import Cause, UnreachableError, ask_metadata
from sluicegate.pipeline.settings.tree import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Contents = dict[Path, bytes | None]


_log = logging.getLogger("sluicegate.credentials")
_C = TypeVar("_C")

_LOOK_EVERY_S = 5.0
_TRY_EVERY_S = 2.0  # while a broker refuses them
_TRY_S = 1.0
_TRY_AGAIN_S = 30.0  # new files that are refused: to try them holds up who polls, and the old ones work


def try_login(kafka: KafkaSettings) -> Cause | None:
    """Log in as the files say now, with a client of its own: why that fails; None if it does not. Blocking, some seconds.

    Raises:
        SettingsError: A file is missing or of no use.
    """
    from confluent_kafka import KafkaException  # noqa: PLC0415 - only who asks pays for the client
    from confluent_kafka.admin import AdminClient  # noqa: PLC0415 - the same

    try:
        ask_metadata(AdminClient({**client_config(kafka), "log_level": 0}), kafka, within_s=_TRY_S)
    except UnreachableError as error:
        return error.cause
    except KafkaException as error:  # of a token that has expired, say, no client can be made
        return Cause(f"no client can log in so ({error.args[0].str()})", "mend what kafka.security names")
    return None


class Credentials:
    """What one client logs in with. From the thread that serves the client's callbacks.

    Args:
        kafka: The cluster.
        told: Gets why the login is refused, once for each reason, and None when it is accepted again. Without it a log line
            says so.
        quiet: True tells nobody, and logs nothing: another client beside this one does.
        clock: Monotonic seconds.
        attempt: Tries the login.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        told: Callable[[str | None], None] | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
        attempt: Callable[[KafkaSettings], Cause | None] = try_login,
    ) -> None:
        self._kafka = kafka
        self._told = told or self._tell_log
        self._level = logging.DEBUG if quiet else logging.WARNING
        self._clock = clock
        self._attempt = attempt
        self._used: Contents = {}
        self._failed = False
        self._reason: str | None = None
        self._said: str | None = None
        self._look_at = 0.0
        self._tried: Contents = {}
        self._try_again_at = 0.0

    @property
    def refused(self) -> bool:
        """True from the first refusal until a login with the files as they are is accepted."""
        return self._failed

    def config(self) -> dict[str, Any]:
        """Librdkafka's settings for a client, with the files as they are now.

        Raises:
            SettingsError: A file is missing or of no use.
        """
        used = self._contents()  # before they are used: what changes meanwhile is seen by the next look
        config = client_config(self._kafka)
        self._used, self._said = used, None
        self._look_at = self._clock() + _LOOK_EVERY_S
        return {**config, "error_cb": self._meet}

    def renewed(self, client: Any, make: Callable[[], _C]) -> _C | None:
        """Another client where :meth:`look` wants one, made with :meth:`config`; None while the one that there is goes on."""
        from confluent_kafka import KafkaException  # noqa: PLC0415 - only who asks pays for the client

        if not self.look(client):
            return None
        try:
            return make()
        except (SettingsError, KafkaException):  # a file has gone since
            self.forget()
            return None

    def forget(self) -> None:
        """No client could be made with the last :meth:`config`: the next look wants one again."""
        self._used = {}

    def look(self, client: Any) -> bool:
        """Read the files again if it is time; True if the client is to be replaced by one with :meth:`config`.

        It is cheap while nothing changes, so it may be called at each poll. It blocks for some seconds while a login is tried.
        """
        if self._clock() < self._look_at:
            return False
        try:
            return self._look(client)
        except SettingsError as error:  # half written, or not there for a moment
            self._say(str(error))
            if self._failed:
                self._tell(f"login refused: {error}")
            return False
        finally:
            self._look_at = self._clock() + (_TRY_EVERY_S if self._failed else _LOOK_EVERY_S)

    def _look(self, client: Any) -> bool:
        security, found = self._kafka.security, self._contents()
        changed = {path for path in found if found[path] != self._used.get(path)}
        if security.password_file in changed:
            client.set_sasl_credentials(security.username, sasl_password(security))
            self._used[security.password_file] = found[security.password_file]
            changed.remove(security.password_file)
            _log.debug("kafka.security.password_file was read again")
        waits = found == self._tried and self._clock() < self._try_again_at
        if not self._failed and (not changed or waits):
            return False
        self._tried, self._try_again_at = found, self._clock() + _TRY_AGAIN_S
        cause = self._attempt(self._kafka)
        if cause is None:
            self._failed = False
            self._tell(None)
            return bool(changed)
        if self._failed and cause.lasting:
            self._tell(f"login refused: {cause.detail}")
        elif changed:
            self._say(
                f"{cause.detail}; the files before are used until a login with the new ones is accepted"
            )
        return False

    def _meet(self, error: Any) -> None:
        """Librdkafka's callback for faults that belong to no record."""
        refused = error.name() == "_AUTHENTICATION" or (
            error.name() == "_SSL" and "certificate" in error.str()
        )
        if refused and not self._failed:
            self._failed, self._look_at = True, 0.0

    def _tell(self, reason: str | None) -> None:
        if reason != self._reason:
            self._reason = reason
            self._told(reason)

    def _say(self, what: str) -> None:
        if what != self._said:
            self._said = what
            _log.log(self._level, "new credentials are not used: %s", what)

    def _tell_log(self, reason: str | None) -> None:
        _log.log(self._level, "%s", reason or "login accepted again")

    def _contents(self) -> Contents:
        """What the files hold; None for one that cannot be read."""
        security = self._kafka.security
        files = (security.password_file, security.ca_file, security.certificate_file, security.key_file)
        return {path: _bytes(path) for path in files if path is not None}


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
