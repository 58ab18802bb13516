"""The folder: what was taken in, what it is worth here, and who did what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.patterns import folder as module
from sluicegate.pipeline.patterns.folder import MOST_OWNERS, PatternFolder
from sluicegate.pipeline.patterns.matcher import LivePattern, read_index, write_live
from unit.pipeline.patterns.circles import (
    CIRCLE,
    SOUTH,
    TEMPLATE,
    TODAY,
    circle_with,
    days,
    feed,
    flood,
    sealed,
    write_circle,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the circle's file."""
    return write_circle(tmp_path / "patterns")


def take(place: Path, content: bytes) -> None:
    with PatternFolder.opened(place) as folder:
        _, new, _, _ = folder.take(content)
        folder.admit(one.id for one in new)
        folder.save()


def test_what_was_taken_in_is_there_afterwards(place: Path) -> None:
    one = feed(flood())
    take(place, sealed(one))
    with PatternFolder.opened(place) as folder:
        assert [(known.pattern, known.member, known.standing) for known in folder.known()] == [
            (one.patterns[0], "north", "seed")
        ]
        assert folder.heads["north"] == (1, one.digest)
    assert read_index(place).find(flood()[0]) == [0]


def test_a_feed_takes_the_place_of_the_one_before(place: Path) -> None:
    one = feed(flood())
    take(place, sealed(one))
    with PatternFolder.opened(place) as folder:
        _, new, gone, _ = folder.take(sealed(feed(before=one).model_copy(update={"patterns": ()})))
        folder.save()
    assert (new, gone) == ([], [one.patterns[0].id])
    assert read_index(place).find(flood()[0]) == []


@pytest.mark.parametrize("field", ["values", "key"])
def test_a_pattern_that_was_looked_at_stays_what_it_was(place: Path, field: str) -> None:
    """Else a member shares a flood, waits until it is confirmed, and puts a greeting in its place."""
    one = feed(flood())
    take(place, sealed(one))
    (pattern,) = one.patterns
    other = {"values": (*pattern.values[1:], "0" * 16), "key": "another"}[field]
    changed = feed(before=one).model_copy(update={"patterns": (pattern.model_copy(update={field: other}),)})
    with PatternFolder.opened(place) as folder, pytest.raises(PatternError, match="has other values"):
        folder.take(sealed(changed))


def test_one_that_comes_again_begins_anew(place: Path) -> None:
    one = feed(flood())
    take(place, sealed(one))
    (pattern,) = one.patterns
    without = feed(before=one).model_copy(update={"patterns": ()})
    other = pattern.model_copy(update={"values": ("0" * 16, *pattern.values[1:])})
    with PatternFolder.opened(place) as folder:
        folder.judge(pattern.id, "confirmed", by="ann", why="x", confirmed=pattern.values[:2], harmful=5)
        folder.take(sealed(without))
        folder.take(sealed(feed(before=without).model_copy(update={"patterns": (other,)})))
        (known,) = folder.known()
    assert (known.standing, known.confirmed, known.fresh) == ("seed", (), TODAY)


def test_what_a_member_shared_leaves_with_it_and_is_looked_at_should_it_come_back(place: Path) -> None:
    with PatternFolder.opened(place) as folder:
        folder.take(sealed(feed(flood())))
        folder.save()
    write_circle(place, circle_with(members={"south": CIRCLE.members["south"]}))
    with PatternFolder.opened(place) as folder:
        assert folder.known() == []
        folder.save()
    write_circle(place)
    with PatternFolder.opened(place) as folder:
        assert [known.fresh for known in folder.known()] == [TODAY]


def test_what_is_new_waits_for_a_look_and_what_is_gone_does_not(place: Path) -> None:
    one = feed(flood())
    take(place, sealed(one))
    other = feed(flood(template="Dear customer, " + TEMPLATE.replace("parcel", "letter box")))
    both = feed(before=one).model_copy(update={"patterns": other.patterns})
    with PatternFolder.opened(place) as folder:
        folder.take(sealed(both))
        folder.save()  # and here the cluster with the posts is away
    assert len(read_index(place)) == 0
    with PatternFolder.opened(place) as folder:
        assert [known.fresh for known in folder.known()] == [TODAY]
        folder.admit([other.patterns[0].id])
        folder.save()
    assert len(read_index(place)) == 1


def test_a_confirmed_pattern_acts_by_the_values_that_were_confirmed_alone(place: Path) -> None:
    one = feed(flood())
    take(place, sealed(one))
    (pattern,) = one.patterns
    with PatternFolder.opened(place) as folder:
        folder.judge(pattern.id, "confirmed", by="ann", why="x", confirmed=pattern.values[:2], harmful=5)
        folder.save()
    with PatternFolder.opened(place) as folder:
        (known,) = folder.known()
        assert (known.confirmed, known.harmful) == (pattern.values[:2], 5)
    index = read_index(place)
    assert [found.confirmed for found in index.patterns] == [False, True]
    assert len(index) == 1


def test_a_value_counts_for_so_many_patterns_of_a_member_and_takes_none_from_another(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each post that has it costs a step for each of 100,000 patterns."""
    north, south = feed(flood()), feed(member="south")
    (own,) = north.patterns
    many = tuple(
        own.model_copy(
            update={
                "id": f"{number:016x}",
                "values": (own.values[0], *(f"{number:08x}{one:08x}" for one in range(2))),
            }
        )
        for number in range(1, MOST_OWNERS + 4)
    )
    found: dict[str, set[str]] = {}

    def noting(live: list[tuple[LivePattern, str, list[str]]]) -> bytes:
        found.update({one.id: set(values) for one, _, values in live})
        return write_live(live)

    monkeypatch.setattr(module, "write_live", noting)
    for content in (sealed(north), sealed(south.model_copy(update={"patterns": many}), SOUTH)):
        take(place, content)
    with PatternFolder.opened(place) as folder:
        assert folder.save() == 3
    assert sum(own.values[0] in its for its in found.values()) == 1 + MOST_OWNERS
    assert found[own.id] == set(own.values)
    assert own.values[0] in found[many[0].id]
    assert own.values[0] not in found[many[-1].id]


def test_how_far_a_topic_was_read_is_of_that_topic(place: Path) -> None:
    with PatternFolder.opened(place) as folder:
        assert folder.read_up_to("patterns") == {}
        folder.note_read("patterns", {0: 7})
        folder.save()
    with PatternFolder.opened(place) as folder:
        assert folder.read_up_to("patterns") == {0: 7}
        assert folder.read_up_to("others") == {}


def test_a_replayed_feed_changes_nothing(place: Path) -> None:
    one = feed(flood())
    two = feed(before=one).model_copy(update={"patterns": ()})
    take(place, sealed(one))
    take(place, sealed(two))
    with PatternFolder.opened(place) as folder, pytest.raises(PatternError, match="an old feed"):
        folder.take(sealed(one))
    assert read_index(place).find(flood()[0]) == []


def test_nobody_takes_over_a_pattern_of_another(place: Path) -> None:
    one = feed(flood())
    take(place, sealed(one))
    stolen = one.model_copy(update={"member": "south"})
    with PatternFolder.opened(place) as folder, pytest.raises(PatternError, match="another member's"):
        folder.take(sealed(stolen, SOUTH))


@pytest.mark.parametrize("standing", ["refused", "revoked", "poisoned"])
def test_a_pattern_that_is_refused_here_leaves_at_once_and_stays_away(place: Path, standing: str) -> None:
    one = feed(flood())
    take(place, sealed(one))
    with PatternFolder.opened(place) as folder:
        folder.judge(one.patterns[0].id, standing, by="ann", why="a greeting")  # type: ignore[arg-type]  # one of them
        folder.save()
    assert len(read_index(place)) == 0
    without = feed(before=one).model_copy(update={"patterns": ()})
    take(place, sealed(without))
    take(place, sealed(feed(before=without).model_copy(update={"patterns": one.patterns})))
    with PatternFolder.opened(place) as folder:
        assert [known.standing for known in folder.known()] == [standing]
    assert len(read_index(place)) == 0


@pytest.mark.parametrize(
    ("by_hand", "common", "standing"), [(True, 2, "revoked"), (True, 1, "seed"), (False, 2, "seed")]
)
def test_what_people_here_revoked_stays_away_under_another_id(
    place: Path, by_hand: bool, common: int, standing: str
) -> None:
    one = feed(flood())
    take(place, sealed(one))
    (pattern,) = one.patterns
    with PatternFolder.opened(place) as folder:
        folder.judge(pattern.id, "revoked" if by_hand else "refused", by="ann", why="a greeting")
        if by_hand:
            folder.remember(pattern.id, own=False)
        folder.save()
    grown = pattern.model_copy(
        update={"id": "a" * 16, "values": (*pattern.values[:common], "0" * 16, "1" * 16)}
    )
    take(place, sealed(feed(before=one).model_copy(update={"patterns": (grown,)})))
    with PatternFolder.opened(place) as folder:
        assert [known.standing for known in folder.known()] == [standing]
        last = folder.events()[-1]
        assert ((last["of"], last["why"]) == (grown.id, f"like {pattern.id}: a greeting")) is (
            standing == "revoked"
        )
        assert folder.withdrawn() == []


def test_what_was_taken_back_is_remembered_until_its_copies_have_left(place: Path) -> None:
    one = feed(flood())
    take(place, sealed(one))
    (pattern,) = one.patterns
    with PatternFolder.opened(place) as folder:
        folder.judge(pattern.id, "revoked", by="ann", why="a greeting")
        folder.remember(pattern.id, own=True)
        folder.save()
    for on, kept in ((days(120), True), (days(121), False)):
        with PatternFolder.opened(place, today=on) as folder:
            folder.save()
            assert folder.withdrawn() == ([(pattern.key, list(pattern.values))] if kept else [])


def test_everything_is_in_the_journal_with_actor_and_time(place: Path) -> None:
    with PatternFolder.opened(place) as folder:
        folder.note("ann", "draft made", "x", clusters=1)
        folder.judge("0" * 16, "revoked", by="bob", why="a greeting")
        first, second = folder.events()
    assert (first["actor"], first["what"], first["clusters"]) == ("ann", "draft made", 1)
    assert (second["actor"], second["what"], second["of"]) == ("bob", "pattern revoked", "0" * 16)
    assert first["at"].endswith("+00:00")


def test_a_draft_that_was_changed_is_nobodys(place: Path) -> None:
    with PatternFolder.opened(place) as folder:
        folder.note_draft(b"draft", "ann")
        folder.save()
    with PatternFolder.opened(place) as folder:
        assert folder.author_of_draft(b"draft") == "ann"
        with pytest.raises(PatternError, match="was changed"):
            folder.author_of_draft(b"draft, changed")
        folder.forget_drafts()
        with pytest.raises(PatternError, match="approved before"):
            folder.author_of_draft(b"draft")


def test_patterns_of_a_key_that_has_expired_match_nothing(place: Path) -> None:
    take(place, sealed(feed(flood())))
    old = CIRCLE.keys[0].model_copy(update={"last_day": days(-1)})
    write_circle(place, circle_with(keys=(old,)))
    assert read_index(place).find(flood()[0]) == []


def test_an_expired_pattern_is_not_known(place: Path) -> None:
    one = feed(flood())
    take(place, sealed(one))
    with PatternFolder.opened(place, today=days(31)) as folder:
        assert folder.known() == []


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(PatternError, match="is no folder"), PatternFolder.opened(tmp_path / "x", today=TODAY):
        pass
