"""An onlooker whose client is replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.kafka.credentials import Credentials
from sluicegate.pipeline.kafka.onlooker import Onlooker, TopicShape
from sluicegate.pipeline.settings.tree import KafkaSettings

if TYPE_CHECKING:
    import pytest


class Client:
    """Of an onlooker."""

    def __init__(self, _config: dict[str, Any]) -> None:
        self.closed = False

    def poll(self, _timeout_s: float) -> None:
        assert not self.closed

    def close(self) -> None:
        self.closed = True


class Shapes:
    """Tells a shape by a client that is open."""

    def __init__(self, _kafka: KafkaSettings, client: Client) -> None:
        self.client = client

    def ask(self, _topic: str, *, within_s: float) -> TopicShape:
        assert within_s > 0
        assert not self.client.closed
        return TopicShape(1, "one")


class Missing(Credentials):
    """Credentials that want another client, and once do not give what it is made with."""

    configs = 0

    def __init__(self, kafka: KafkaSettings, *, quiet: bool) -> None:
        super().__init__(kafka, quiet=quiet)
        assert quiet

    def config(self) -> dict[str, Any]:
        Missing.configs += 1
        if self.configs == 2:
            raise SettingsError("the key file has gone")
        return {}

    def look(self, _client: Client) -> bool:
        return self.configs < 3


def test_an_onlooker_lets_no_client_go_before_it_has_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("confluent_kafka.Consumer", Client)
    monkeypatch.setattr("sluicegate.pipeline.kafka.onlooker.TopicShapes", Shapes)
    monkeypatch.setattr("sluicegate.pipeline.kafka.onlooker.Credentials", Missing)
    onlooker = Onlooker(KafkaSettings(), "posts")
    for _ in range(2):
        assert onlooker.shape(within_s=1) == TopicShape(1, "one")
    assert Missing.configs == 3
