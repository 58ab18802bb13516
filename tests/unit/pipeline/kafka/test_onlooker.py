"""An onlooker whose client is replaced."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

from sluicegate.pipeline.errors import SettingsError
from sluicegate.pipeline.kafka.credentials import Credentials
from sluicegate.pipeline.kafka.onlooker import Onlooker, TopicShape, TopicShapes
from sluicegate.pipeline.kafka.topics import EMBEDDED
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


class Admin:
    """Of shapes. It has nothing to send, as the real one when it is new: it counts for false then."""

    made: ClassVar[list[Admin]] = []

    def __init__(self, _config: dict[str, Any]) -> None:
        self.made.append(self)
        self.polls = 0

    def __len__(self) -> int:
        return 0

    def poll(self, _timeout_s: float) -> None:
        self.polls += 1


def test_shapes_are_asked_for_with_the_new_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("confluent_kafka.admin.AdminClient", Admin)
    wanted = [False, True]
    monkeypatch.setattr(
        "sluicegate.pipeline.kafka.credentials.Credentials.look", lambda _self, _client: wanted.pop()
    )
    topic = SimpleNamespace(error=None, partitions={0: None})
    metadata = SimpleNamespace(topics={"posts": topic}, cluster_id=EMBEDDED)
    shapes = TopicShapes(KafkaSettings(), SimpleNamespace(list_topics=lambda _topic, timeout: metadata))
    for _ in range(2):
        assert shapes.ask("posts", within_s=1) == TopicShape(1, None, embedded=True)
    assert [one.polls for one in Admin.made] == [1, 1]
