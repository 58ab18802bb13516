"""When credentials are read again, tried, taken up, and told to be refused."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from sluicegate.pipeline.kafka.credentials import Credentials, try_login
from sluicegate.pipeline.kafka.unreachable import Cause
from sluicegate.pipeline.settings.tree import KafkaSettings
from support.authority import Authority

if TYPE_CHECKING:
    from pathlib import Path

LOOK_S = 5.0
REFUSED = Cause("the broker refused the name with its password", "mend it")
AWAY = Cause("nothing listens there", "start it", lasting=False)


class Case:
    """Credentials in a folder, with a clock and logins of the test's own."""

    def __init__(self, folder: Path, **security: Any) -> None:
        self.folder = folder
        self.now = 100.0
        self.login: Cause | None = None
        """What a login ends with."""
        self.really = False
        """True tries at the brokers, of which there are none."""
        self.tries = 0
        self.told: list[str | None] = []
        self.given: list[tuple[str, str]] = []
        self.credentials = Credentials(
            KafkaSettings.model_validate({"security": security}),
            told=self.told.append,
            clock=lambda: self.now,
            attempt=self.attempt,
        )
        self.config = self.credentials.config()

    def attempt(self, kafka: KafkaSettings) -> Cause | None:
        self.tries += 1
        return try_login(kafka) if self.really else self.login

    def set_sasl_credentials(self, username: str, password: str) -> None:
        self.given.append((username, password))

    def look(self, *, after_s: float = LOOK_S) -> bool:
        self.now += after_s
        return self.credentials.look(self)

    def meet(self, code: int, text: str = "") -> None:
        """What the client's callback is told."""
        self.config["error_cb"](KafkaError(code, text))


@pytest.fixture
def by_password(tmp_path: Path) -> Case:
    (tmp_path / "password").write_text("first")
    return Case(
        tmp_path, protocol="SASL_PLAINTEXT", username="guard", password_file=str(tmp_path / "password")
    )


@pytest.fixture
def by_certificate(tmp_path: Path) -> Case:
    issue(tmp_path)
    files = {
        name: str(tmp_path / f"authority-guard.{end}")
        for name, end in (("certificate_file", "crt"), ("key_file", "key"))
    }
    return Case(tmp_path, protocol="SSL", ca_file=str(tmp_path / "authority.pem"), **files)


def issue(folder: Path) -> None:
    """Put an authority, and a certificate of it, in the place of those before."""
    Authority(folder, "authority").issue("guard", "client.example")


def test_while_nothing_changes_nothing_is_tried_or_told(by_password: Case, by_certificate: Case) -> None:
    for case in (by_password, by_certificate):
        assert not any(case.look() for _ in range(5))
        assert (case.tries, case.told, case.given) == (0, [], [])


def test_a_new_password_is_given_to_the_client_that_there_is(by_password: Case) -> None:
    (by_password.folder / "password").write_text("second\n")
    assert not by_password.look(after_s=LOOK_S - 1)
    assert by_password.given == []
    assert not by_password.look(after_s=1)
    assert not by_password.look()
    assert by_password.given == [("guard", "second")]


def test_a_file_that_is_not_there_for_a_moment_changes_nothing_and_is_told_once(
    by_password: Case, caplog: pytest.LogCaptureFixture
) -> None:
    path = by_password.folder / "password"
    path.unlink()
    assert not by_password.look()
    assert not by_password.look()
    assert by_password.given == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    path.write_text("second")
    by_password.look()
    assert by_password.given == [("guard", "second")]


def test_a_new_certificate_wants_a_new_client(by_certificate: Case) -> None:
    issue(by_certificate.folder)
    assert by_certificate.look()
    by_certificate.credentials.config()
    assert not by_certificate.look()
    assert by_certificate.tries == 1


def test_files_that_no_client_could_be_made_with_are_wanted_again(by_certificate: Case) -> None:
    issue(by_certificate.folder)
    assert by_certificate.look()
    by_certificate.credentials.config()
    by_certificate.credentials.forget()
    assert by_certificate.look(after_s=30)


def test_a_new_certificate_that_is_refused_lets_no_client_go(
    by_certificate: Case, caplog: pytest.LogCaptureFixture
) -> None:
    issue(by_certificate.folder)
    for login in (REFUSED, REFUSED, AWAY):
        by_certificate.login = login
        assert not by_certificate.look(after_s=30)
    assert by_certificate.told == []  # the client before still works
    assert [REFUSED.detail in record.getMessage() for record in caplog.records] == [True, False]
    by_certificate.login = None
    assert not by_certificate.look()  # a try holds up who polls
    assert by_certificate.look(after_s=30)


def test_other_new_files_are_tried_at_once(by_certificate: Case) -> None:
    by_certificate.login = REFUSED
    issue(by_certificate.folder)
    assert not by_certificate.look()
    issue(by_certificate.folder)
    by_certificate.login = None
    assert by_certificate.look()


def test_a_certificate_whose_key_has_not_come_yet_is_not_tried(
    by_certificate: Case, caplog: pytest.LogCaptureFixture
) -> None:
    case = by_certificate
    case.really = True
    key = case.folder / "authority-guard.key"
    before = key.read_bytes()
    issue(case.folder)
    key.write_bytes(before)
    assert not case.look()
    assert "is not the key of" in caplog.text


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (KafkaError._AUTHENTICATION, "invalid credentials"),
        (KafkaError._SSL, "tlsv1 alert unknown ca: certificate of this client"),
    ],
)
def test_a_refused_login_is_told_once_until_it_is_accepted(by_password: Case, code: int, text: str) -> None:
    case = by_password
    case.login = REFUSED
    case.meet(code, text)
    assert not case.look(after_s=0)
    case.meet(code, text)
    assert not case.look(after_s=0)
    assert (case.credentials.refused, case.tries) == (True, 1)  # not tried at each refusal
    case.look()
    assert case.told == [f"login refused: {REFUSED.detail}"]
    case.login = None
    assert not case.look()
    assert case.told == [f"login refused: {REFUSED.detail}", None]
    case.look()
    assert case.tries == 3


def test_a_refusal_while_a_file_is_away_is_told_until_a_login_is_accepted(by_password: Case) -> None:
    case = by_password
    case.really = True
    path = case.folder / "password"
    path.unlink()
    case.meet(KafkaError._AUTHENTICATION)
    assert not case.look()
    assert [f"{path} cannot be read" in (told or "") for told in case.told] == [True]
    path.write_text("second")
    case.really = False
    assert not case.look()
    assert case.told[1:] == [None]


def test_a_client_that_cannot_be_made_is_a_login_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_config: Any) -> Any:
        raise KafkaException(KafkaError(KafkaError.SASL_AUTHENTICATION_FAILED, "no token was set"))

    monkeypatch.setattr("confluent_kafka.admin.AdminClient", refuse)
    found = try_login(KafkaSettings())
    assert found is not None
    assert "no token was set" in found.detail
    assert found.lasting


def test_brokers_that_are_away_say_nothing_of_a_login(by_password: Case) -> None:
    by_password.meet(KafkaError._AUTHENTICATION)
    by_password.login = AWAY
    by_password.look()
    assert by_password.told == []
    assert by_password.credentials.refused


def test_a_refusal_that_is_over_when_it_is_looked_at_is_told_to_nobody(by_password: Case) -> None:
    by_password.meet(KafkaError._AUTHENTICATION)
    by_password.look()
    assert by_password.told == []
    assert not by_password.credentials.refused


@pytest.mark.parametrize("code", [KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._SSL])
def test_other_faults_are_no_refusal(by_password: Case, code: int) -> None:
    by_password.meet(code, "connection closed")
    by_password.look()
    assert by_password.tries == 0


def test_a_login_is_tried_at_the_brokers() -> None:
    found = try_login(KafkaSettings(bootstrap_servers="127.0.0.1:9"))
    assert found is not None
    assert found.refused


def test_without_somebody_to_tell_a_refusal_is_a_line_of_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "password").write_text("first")
    security = {"protocol": "SASL_PLAINTEXT", "username": "guard", "password_file": tmp_path / "password"}
    ends = [None, REFUSED]
    credentials = Credentials(
        KafkaSettings.model_validate({"security": security}),
        attempt=lambda _kafka: ends.pop(),
        clock=lambda: 0.0,
    )
    meet = credentials.config()["error_cb"]
    meet(KafkaError(KafkaError._AUTHENTICATION))
    with caplog.at_level(logging.INFO):
        credentials.look(None)
    assert [record.getMessage() for record in caplog.records] == [f"login refused: {REFUSED.detail}"]
