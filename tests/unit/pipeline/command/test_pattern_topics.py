"""What topics tell of patterns: who confirmed what, which words are common, and what became of raised posts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

import pytest

from sluicegate.pipeline.command import pattern_topics
from sluicegate.pipeline.command.pattern_topics import _Floods, read_history
from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.patterns.mining import mine
from sluicegate.pipeline.settings.tree import PatternSettings, Settings
from sluicegate.schemas import (
    Action,
    Authority,
    Basis,
    Post,
    Resolution,
    ResolutionCause,
    content_hash,
    encode,
)
from unit.pipeline.patterns.circles import K, flood

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def post(number: int, text: str, **fields: Any) -> Post:
    return Post(**{"id": f"p{number}", "text": text, "author_id": f"a{number}", "tenant": "teens"} | fields)


def decided(one: Post, severity: str | None = "unsafe", **fields: Any) -> Resolution:
    harmful = severity == "unsafe"
    plain: dict[str, Any] = {
        "resolution_id": f"r-{one.id}-{severity}",
        "verdict_id": f"v-{one.id}",
        "verdict_judged_at": NOW,
        "post_id": one.id,
        "revision": one.revision,
        "tenant": one.tenant,
        "kind": one.kind,
        "content_hash": content_hash(one),
        "action": Action.BLOCK if harmful else Action.ALLOW,
        "disposition": "none",
        "severity": severity,
        "authority": Authority.REVIEWER,
        "reviewer": "ann",
        "role": "reviewer",
        "basis": Basis.SINGLE,
        "cause": ResolutionCause.REVIEW,
        "decided_at": NOW,
    }
    return Resolution(**plain | fields)


@pytest.fixture
def topics(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """Events by topic, in place of a cluster."""
    events: dict[str, list[Any]] = {"posts": [], "resolutions": [], "verdicts.review": []}

    class Reader:
        def __init__(self, _kafka: object, names: list[str], **_options: object) -> None:
            self._names = names

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_exc: object) -> None:
            pass

        def read_all(self) -> list[TopicRecord]:
            return [
                TopicRecord(name, 0, number, None, encode(one))
                for name in self._names
                for number, one in enumerate(events[name])
            ]

    monkeypatch.setattr(pattern_topics, "TopicReader", Reader)
    return events


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(patterns=PatternSettings(path=tmp_path, tenants=("teens",)))


def test_only_what_people_confirmed_takes_part(topics: dict[str, list[Any]], settings: Settings) -> None:
    texts = flood(5)
    posts = [post(number, text) for number, text in enumerate(texts)]
    topics["posts"] += posts
    reopened = decided(
        posts[2],
        None,
        authority=Authority.MACHINE,
        cause=ResolutionCause.REOPENED,
        decided_at=NOW + timedelta(hours=1),
    )
    topics["resolutions"] += [decided(posts[0]), decided(posts[1], "safe"), decided(posts[2]), reopened]
    history = read_history(settings, k=K)
    assert [copy.text for copy in history.copies] == [texts[0]]
    assert history.harmless
    assert len(history.others) == 3


def test_a_tenant_that_did_not_opt_in_takes_no_part(topics: dict[str, list[Any]], settings: Settings) -> None:
    one = post(1, flood(1)[0], tenant="default")
    topics["posts"].append(one)
    topics["resolutions"].append(decided(one))
    history = read_history(settings, k=K)
    assert (history.copies, history.others) == ([], [])


def test_a_decision_is_about_the_content_that_was_seen(
    topics: dict[str, list[Any]], settings: Settings
) -> None:
    one = post(1, flood(1)[0])
    topics["posts"].append(one.model_copy(update={"text": "another text than the one that was decided on"}))
    topics["resolutions"].append(decided(one))
    history = read_history(settings, k=K)
    assert (history.copies, history.missing) == ([], 1)


def test_what_all_copies_share_of_a_person_is_no_common_word_though_nobody_decided_on_most(
    topics: dict[str, list[Any]], settings: Settings
) -> None:
    name = "kontaktiere quarshie"  # no list has it, and it is in small letters
    template = "good news your parcel could not be delivered because the customs fee is open pay {name} at once or lose it"
    posts = [post(number, f"{template.format(name=name)} {number}") for number in range(60)]
    plain = [
        post(100 + number, template.format(name="").replace("parcel", "letter or parcel")[:60])
        for number in range(K)
    ]
    topics["posts"] += [*posts, *plain]
    topics["resolutions"] += [decided(one) for one in posts[:20]]
    history = read_history(settings, k=K)
    assert len(history.others) == 40 + K
    assert not history.vocabulary.knows(b"quarshie")
    found = mine(history.copies, k=K, vocabulary=history.vocabulary, harmless=history.harmless)
    assert all("quarshie" not in one.template for one in found.clusters)


def test_a_post_is_of_a_flood_by_two_values_of_one_and_not_of_two() -> None:
    floods = _Floods([[1, 2, 3, 4], [1, 2, 3, 5], [11, 12, 13, 14], [11, 12, 13, 15]])
    assert floods.have([2, 3, 99])
    assert not floods.have([2, 13, 99])
    assert not floods.have([4, 5, 99])  # what one copy alone has tells no other
    assert _Floods([[1, 2, 3, 4]]).have([3, 4])
