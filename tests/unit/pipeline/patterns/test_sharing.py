"""Sharing: what a feed has of a draft, and what of the feed before."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.patterns.mining import SLOT
from sluicegate.pipeline.patterns.pattern import Revocation
from sluicegate.pipeline.patterns.sharing import next_feed, read_draft, residue
from unit.pipeline.patterns.circles import CIRCLE, NOW, TODAY, K, candidates, feed, flood


def test_a_pattern_has_coarse_times_and_its_values_say_nothing_by_their_order() -> None:
    (pattern,) = feed(flood()).patterns
    assert list(pattern.values) == sorted(pattern.values)
    assert pattern.first_week.count("-W") == 1
    assert feed(flood()).made_at.second == 0


def test_a_count_is_drawn_once() -> None:
    first = feed(flood())
    seen = {first.patterns[0].authors}
    one = first
    for seed in range(20):
        one = next_feed(CIRCLE, "north", one, candidates(flood()), chance=random.Random(seed), now=NOW)
        seen.add(one.patterns[0].authors)
    assert len(seen) == 1
    assert one.patterns[0].id == first.patterns[0].id
    assert (one.sequence, len(one.patterns)) == (21, 1)


def test_a_pattern_of_more_values_takes_the_place_of_one_of_the_first_copies_under_an_id_of_its_own() -> None:
    (known,) = candidates(flood())
    poor = replace(known, checksums=known.checksums[:3])
    first = next_feed(CIRCLE, "north", None, [poor], chance=random.Random(1), now=NOW)
    then = next_feed(CIRCLE, "north", first, [known], chance=random.Random(2), now=NOW)
    (old,), (new,) = first.patterns, then.patterns
    assert set(old.values) < set(new.values)
    assert old.id != new.id  # who confirmed the old one confirms the new one anew
    assert old.authors == new.authors  # and nobody sees a second draw


def test_a_pattern_that_has_grown_takes_the_place_of_all_that_it_overlaps() -> None:
    """Receivers refuse two patterns of the same posts."""
    (known,) = candidates(flood())
    parts = [replace(known, checksums=known.checksums[at : at + 3]) for at in (0, 3)]
    first = next_feed(CIRCLE, "north", None, parts, chance=random.Random(1), now=NOW)
    then = next_feed(CIRCLE, "north", first, [known], chance=random.Random(2), now=NOW)
    assert (len(first.patterns), len(then.patterns)) == (2, 1)
    assert then.patterns[0].authors == first.patterns[0].authors


def test_a_count_is_not_the_exact_one() -> None:
    exact = candidates(flood(40))[0].authors
    drawn = {
        next_feed(CIRCLE, "north", None, candidates(flood(40)), chance=random.Random(seed), now=NOW)
        .patterns[0]
        .authors
        for seed in range(10)
    }
    assert exact == 40
    assert len(drawn) > 2
    assert min(drawn) >= K


def test_a_revoked_pattern_goes_and_is_named() -> None:
    before = feed(flood())
    gone = Revocation(id=before.patterns[0].id, on=TODAY, why="a greeting")
    after = next_feed(CIRCLE, "north", before, (), chance=random.Random(1), now=NOW, revoked=[gone])
    assert (after.patterns, after.revoked) == ((), (gone,))
    assert feed(before=after).revoked == (gone,)


def test_a_pattern_ends_unless_it_is_confirmed_again() -> None:
    before = feed(flood())
    later = NOW + timedelta(days=31)
    assert next_feed(CIRCLE, "north", before, (), chance=random.Random(1), now=later).patterns == ()
    (again,) = next_feed(
        CIRCLE, "north", before, candidates(flood()), chance=random.Random(1), now=NOW + timedelta(days=20)
    ).patterns
    assert again.expires_on == TODAY + timedelta(days=50)


def test_an_expired_circle_shares_nothing() -> None:
    with pytest.raises(PatternError, match="expired"):
        next_feed(
            CIRCLE, "north", None, candidates(flood()), chance=random.Random(1), now=NOW + timedelta(days=93)
        )


@pytest.mark.parametrize(
    ("template", "left"),
    [
        (f"pay {SLOT} at once", False),
        ("pay to IBAN DE02 1203 at once", True),
        (f"ask maria {SLOT} about it", True),
        ("see evil.example for more", True),
        ("", False),
    ],
)
def test_the_scan_before_it_leaves_finds_what_is_left(template: str, left: bool) -> None:
    assert residue(template) is left


def test_a_second_detector_counts() -> None:
    assert residue("plain words", also=lambda text: "plain" in text)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"format":"other","candidates":[]}'])
def test_what_is_no_draft_is_refused(content: bytes) -> None:
    with pytest.raises(PatternError, match="no draft"):
        read_draft(content)
