"""The security settings as the clients get them, and files that are of no use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.kafka.client_config import client_config
from sluicegate.pipeline.settings.tree import load_settings
from support.authority import Authority

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2"  # noqa: S105 - nobody's


def security(**given: Any) -> dict[str, Any]:
    return client_config(load_settings(kafka={"security": given}).kafka)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


def test_without_security_settings_nothing_is_proved_and_nobody_checked() -> None:
    assert security()["security.protocol"] == "PLAINTEXT"


def test_a_client_gets_all_that_a_block_gives(authority: Authority) -> None:
    certificate, key = authority.issue("guard", "guard.example", key_password=SECRET)
    block = {
        "protocol": "SASL_SSL",
        "ca_file": authority.file,
        "certificate_file": certificate,
        "key_file": key,
        "key_password": SECRET,
        "mechanism": "SCRAM-SHA-256",
        "username": "guard",
        "password": "p",
    }
    assert security(**block).items() >= {
        ("security.protocol", "SASL_SSL"),
        ("ssl.ca.location", str(authority.file)),
        ("ssl.certificate.location", str(certificate)),
        ("ssl.key.location", str(key)),
        ("ssl.key.password", SECRET),
        ("sasl.mechanism", "SCRAM-SHA-256"),
        ("sasl.username", "guard"),
        ("sasl.password", "p"),
    }


def test_tls_alone_is_tls_alone(authority: Authority) -> None:
    block = {"protocol": "SSL", "ca_file": authority.file}
    assert not any("sasl" in name for name in security(**block))
    assert security(**block)["security.protocol"] == "SSL"


@pytest.mark.parametrize("content", ["a b=c\n", "a b=c\r\n", "a b=c"])
def test_the_newline_at_the_end_of_a_password_file_is_no_part_of_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "password"
    path.write_bytes(content.encode())
    found = security(protocol="SASL_PLAINTEXT", username="guard", password_file=path)
    assert found["sasl.password"] == "a b=c"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe", SECRET.encode() * 1000])
def test_a_file_that_holds_no_password_is_named_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        security(protocol="SASL_PLAINTEXT", username="guard", password_file=path)
    assert f"kafka.security.password_file {path} holds no password" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("name", ["ca_file", "certificate_file", "key_file", "password_file"])
def test_a_file_that_is_missing_is_named_with_its_setting(
    authority: Authority, tmp_path: Path, name: str
) -> None:
    certificate, key = authority.issue("guard", "guard.example")
    (tmp_path / "password").write_text("p")
    block: dict[str, Any] = {
        "protocol": "SASL_SSL",
        "ca_file": authority.file,
        "certificate_file": certificate,
        "key_file": key,
        "username": "guard",
        "password_file": tmp_path / "password",
    }
    security(**block)
    absent = tmp_path / "absent"
    with pytest.raises(SettingsError) as refused:
        security(**block | {name: absent})
    assert f"kafka.security.{name} {absent} cannot be read (No such file or directory)" in str(refused.value)


def test_an_authority_without_a_certificate_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate\n")
    with pytest.raises(SettingsError, match=r"kafka\.security\.ca_file .* holds no certificate"):
        security(protocol="SSL", ca_file=path)


@pytest.mark.parametrize("given", [None, "wrong-word"])
def test_an_encrypted_key_without_its_password_is_refused_and_nobody_is_asked(
    authority: Authority, given: str | None
) -> None:
    certificate, key = authority.issue("guard", "guard.example", key_password=SECRET)
    with pytest.raises(SettingsError) as refused:
        security(protocol="SSL", certificate_file=certificate, key_file=key, key_password=given)
    assert "kafka.security.key_password right where the key is encrypted" in str(refused.value)
    assert "wrong-word" not in str(refused.value)


def test_a_key_of_another_certificate_is_told_from_a_bad_file(authority: Authority, tmp_path: Path) -> None:
    certificate, _ = authority.issue("guard", "guard.example")
    _, other = Authority(tmp_path, "other").issue("guard", "guard.example")
    with pytest.raises(SettingsError, match="is not the key of"):
        security(protocol="SSL", certificate_file=certificate, key_file=other)


def give(_config: str) -> tuple[str, float]:
    """Gives no token, and says too much."""
    raise ValueError(SECRET)


def by_callback(name: str) -> dict[str, Any]:
    return security(protocol="SASL_PLAINTEXT", mechanism="OAUTHBEARER", oauth_callback=name)


def test_a_client_that_shows_tokens_gets_them_from_the_callback(caplog: pytest.LogCaptureFixture) -> None:
    found = by_callback("support.tokens:token")
    assert found["sasl.mechanism"] == "OAUTHBEARER"
    assert not any(name in found for name in ("sasl.username", "sasl.password"))
    token, expiry = found["oauth_cb"]("")
    assert token.count(".") == 2
    assert expiry > 0
    assert found["oauth_cb"]("")[1] >= expiry
    with pytest.raises(SettingsError, match="gave no token") as raised:
        by_callback(f"{__name__}:give")
    assert SECRET not in f"{raised.value} {caplog.text}"
    assert "gave no token: ValueError" in caplog.text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_such_package.kafka:token", "cannot be imported"),
        ("support.tokens:absent", "cannot be imported"),
        ("support.tokens:USER", "is no function"),
        ("support.tokens", "should match pattern"),
    ],
)
def test_a_callback_that_is_none_is_named(name: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        by_callback(name)
    assert "oauth_callback" in str(refused.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"protocol": "SASL_SSL", "mechanism": "OAUTHBEARER"}, "come together"),
        ({"protocol": "SSL", "oauth_callback": "a:b"}, "come together"),
        (
            {
                "protocol": "SASL_SSL",
                "mechanism": "OAUTHBEARER",
                "oauth_callback": "a:b",
                "username": "guard",
                "password": SECRET,
            },
            "logs in with a token",
        ),
    ],
)
def test_settings_of_tokens_that_do_not_fit_are_refused_with_the_fix(
    given: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said) as refused:
        security(**given)
    assert SECRET not in str(refused.value)


def test_no_secret_is_shown_by_any_of_the_settings_own_ways() -> None:
    settings = load_settings(
        kafka={
            "security": {
                "protocol": "SASL_SSL",
                "username": "guard",
                "password": SECRET,
                "certificate_file": "/c",
                "key_file": "/k",
                "key_password": SECRET,
            }
        }
    )
    shown = f"{settings!r} {settings} {settings.masked()} {settings.model_dump_json()} {settings.kafka!r}"
    assert "guard" in shown
    assert SECRET not in shown
