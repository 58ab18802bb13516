"""`sluicegate patterns` where feeds are hostile, a cluster is away, or a command ends in the middle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner, Result

from sluicegate.pipeline.command import patterns
from sluicegate.pipeline.command.pattern_topics import History
from sluicegate.pipeline.errors import ClusterError, PatternError
from sluicegate.pipeline.kafka.reader import TopicRecord
from sluicegate.pipeline.patterns.folder import PatternFolder
from sluicegate.pipeline.patterns.matcher import read_index
from sluicegate.pipeline.patterns.pattern import MOST_BYTES, Feed, Revocation
from sluicegate.pipeline.patterns.sharing import draft
from sluicegate.pipeline.patterns.sketch import KEPT, checksums
from unit.pipeline.patterns.circles import (
    CIRCLE,
    NORTH,
    SOUTH,
    TEMPLATE,
    TODAY,
    circle_with,
    confirmed,
    feed,
    flood,
    mined,
    sealed,
    vocabulary,
    write_circle,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ONE = feed(flood())
(PATTERN,) = ONE.patterns
REVOKES = feed(before=ONE).model_copy(
    update={"patterns": (), "revoked": (Revocation(id=PATTERN.id, on=TODAY, why="a greeting"),)}
)


class Cluster:
    """What the topics have: nothing but feeds; it may be away."""

    def __init__(self) -> None:
        self.away = False
        self.feeds: list[bytes] = []
        self.published: list[bytes] = []
        self.looked_back = 0
        self.history = History()

    def read_history(self, *_: object, **__: object) -> History:
        self._answer()
        self.looked_back += 1
        return self.history

    def read_raised(self, _settings: object) -> dict[str, Any]:
        self._answer()
        return {}

    def read_feeds(self, _settings: object, since: Mapping[int, int]) -> list[TopicRecord]:
        self._answer()
        first = since.get(0, 0)
        return [
            TopicRecord("patterns", 0, first + number, b"north", value)
            for number, value in enumerate(self.feeds[first:])
        ]

    def publish_feed(self, _settings: object, _member: str, content: bytes) -> None:
        self._answer()
        self.published.append(content)

    def _answer(self) -> None:
        if self.away:
            raise ClusterError("the brokers are away")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """In place of one."""
    made = Cluster()
    for name in ("read_history", "read_raised", "read_feeds", "publish_feed"):
        monkeypatch.setattr(patterns, name, getattr(made, name))
    return made


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> Path:
    """A folder with the circle's file, as the settings have it."""
    assert cluster
    folder = write_circle(tmp_path / "patterns")
    monkeypatch.setenv("SLUICEGATE_PATTERNS__PATH", str(folder))
    monkeypatch.setenv("SLUICEGATE_PATTERNS__TENANTS", '["teens"]')
    return folder


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(patterns.app, [str(one) for one in words])


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_what_is_revoked_leaves_also_while_the_cluster_is_away(place: Path, cluster: Cluster) -> None:
    assert run("import", written(place / "1.feed", sealed(ONE))).exit_code == 0
    assert len(read_index(place)) == 1
    cluster.away = True
    done = run("import", written(place / "2.feed", sealed(REVOKES)))
    assert isinstance(done.exception, ClusterError)
    assert len(read_index(place)) == 0


def test_what_is_new_is_used_once_it_was_held_against_what_was_here(place: Path, cluster: Cluster) -> None:
    cluster.away = True
    assert run("import", written(place / "1.feed", sealed(ONE))).exception
    assert len(read_index(place)) == 0
    cluster.away = False
    assert run("import").exit_code == 0
    assert (cluster.looked_back, len(read_index(place))) == (1, 1)


def test_a_pattern_of_a_key_that_is_not_here_yet_waits_until_it_was_looked_at(
    place: Path, cluster: Cluster
) -> None:
    key = CIRCLE.keys[0]
    later = key.model_copy(update={"id": "later"})
    early = ONE.model_copy(update={"patterns": (PATTERN.model_copy(update={"key": "later"}),)})
    assert run("import", written(place / "1.feed", sealed(early))).exit_code == 0
    cluster.history.harmless = [frozenset(checksums(flood()[0], KEPT))]
    write_circle(place, circle_with(keys=(key, later)))
    done = run("import")
    assert "matches what people here found safe" in done.output
    assert len(read_index(place)) == 0


def test_what_is_not_used_is_not_looked_at(place: Path, cluster: Cluster) -> None:
    cluster.away = True
    assert run("import", written(place / "1.feed", sealed(ONE))).exception
    cluster.away = False
    assert run("revoke", PATTERN.id, "--reason", "a greeting").exit_code == 0
    assert run("import").exit_code == 0
    assert cluster.looked_back == 0


def test_a_file_revokes_also_while_the_topic_is_away(place: Path, cluster: Cluster) -> None:
    assert run("import", written(place / "1.feed", sealed(ONE))).exit_code == 0
    cluster.away = True
    done = run("import", written(place / "2.feed", sealed(REVOKES)), "--topic")
    assert isinstance(done.exception, ClusterError)
    assert len(read_index(place)) == 0


def test_a_topic_is_read_on_past_what_is_forged_replayed_and_none(place: Path, cluster: Cluster) -> None:
    forged = sealed(ONE.model_copy(update={"sequence": 9}), SOUTH)
    cluster.feeds = [sealed(ONE), b"junk", b"", forged, sealed(REVOKES), sealed(ONE), sealed(REVOKES)]
    done = run("import", "--topic")
    assert done.exit_code == 1
    assert done.output.count("refused") == 4  # the newest one again is no fault: one's own comes so
    assert "no key of north that is good today signed it" in done.output
    assert "an old feed would bring back" in done.output
    assert len(read_index(place)) == 0
    again = run("import", "--topic")
    assert (again.exit_code, "refused" in again.output) == (0, False), "it reads on from where it was"
    with PatternFolder.opened(place) as folder:
        whats = [one["what"] for one in folder.events()]
    assert whats == ["feed taken in", *["feed refused"] * 3, "feed taken in", "feed refused"]


def test_what_is_published_is_a_good_feed_and_an_event(place: Path, cluster: Cluster) -> None:
    good = written(place / "1.feed", sealed(ONE))
    assert run("publish", good, "--as", "bob").exit_code == 0
    assert cluster.published == [sealed(ONE)]
    with PatternFolder.opened(place) as folder:
        (event,) = folder.events()
    assert (event["actor"], event["what"], event["of"]) == ("bob", "feed published", "north 1")
    assert isinstance(run("publish", written(place / "2.feed", b"junk")).exception, PatternError)
    assert len(cluster.published) == 1


def test_a_file_without_end_is_not_read_to_its_end(place: Path) -> None:
    with (place / "huge.feed").open("wb") as file:
        file.truncate(50 * MOST_BYTES)
    done = run("import", "--no-learn", place / "huge.feed")
    assert done.exit_code == 1
    assert "a feed has at most" in done.output


def approved(place: Path, tmp_path: Path, *texts: str) -> Result:
    """What `export --approve` of a draft of these texts says."""
    key, content = (
        written(tmp_path / "north.pem", NORTH[0]),
        draft(mined(texts), matches=lambda _one: 0, by="ann"),
    )
    with PatternFolder.opened(place) as folder:
        folder.note_draft(content, "ann")
        folder.save()
    words = ("export", "--approve", written(tmp_path / "draft.json", content), "--member", "north")
    return run(*words, "--signing-key", key, "--out", tmp_path / "out.feed", "--as", "bob")


def test_what_was_taken_back_is_not_shared_again(place: Path, tmp_path: Path, cluster: Cluster) -> None:
    out = tmp_path / "out.feed"
    assert approved(place, tmp_path, *flood()).exit_code == 0
    with PatternFolder.opened(place) as folder:
        (own,) = folder.known()
    words = ("revoke", own.pattern.id, "--reason", "a greeting", "--out", out)
    assert run(*words, "--signing-key", tmp_path / "north.pem").exit_code == 0
    cluster.history.copies = confirmed(flood())
    cluster.history.vocabulary = vocabulary()
    made = run("export", "--draft", tmp_path / "new.json", "--as", "ann")
    assert "1 clusters are of patterns that you took back, and are left out" in made.output
    assert approved(place, tmp_path, *flood()).exit_code == 0
    assert b'"sequence":3' in out.read_bytes()
    assert b'"patterns":[]' in out.read_bytes()


def test_a_pattern_is_revoked_here_also_if_the_key_signs_nothing(place: Path, tmp_path: Path) -> None:
    assert run("import", written(place / "1.feed", sealed(ONE))).exit_code == 0
    words = ("revoke", PATTERN.id, "--reason", "a greeting", "--out", tmp_path / "out.feed")
    done = run(*words, "--signing-key", written(tmp_path / "none.pem", b"none"))
    assert isinstance(done.exception, PatternError)
    assert len(read_index(place)) == 0


def test_a_command_that_ends_in_the_middle_makes_no_fork(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were a number signed twice, others would say that we tell members different things."""
    real = patterns._replace

    def approve(*texts: str) -> Result:
        return approved(place, tmp_path, *texts)

    monkeypatch.setattr(patterns, "_replace", lambda _path, _content: 1 / 0)
    assert isinstance(approve(*flood()).exception, ZeroDivisionError)
    monkeypatch.setattr(patterns, "_replace", real)
    assert approve(*flood(template=TEMPLATE.replace("parcel", "letter box"))).exit_code == 0
    envelope = (tmp_path / "out.feed").read_bytes()
    assert b'"sequence":2' in envelope
    with PatternFolder.opened(place) as folder:
        own = folder.feed("north")
        assert isinstance(own, Feed)
        assert own.sequence == 2


@pytest.mark.parametrize("command", [one.name for one in patterns.app.registered_commands])
def test_every_command_teaches_with_an_example(command: str) -> None:
    said = run(command, "--help").output
    assert f"Example: sluicegate patterns {command}" in said
