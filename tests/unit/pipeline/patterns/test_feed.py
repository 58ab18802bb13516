"""Feeds: only a member's own, the newest, and the same for all."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sluicegate.pipeline.errors import PatternError
from sluicegate.pipeline.patterns.feed import Head, open_feed, require_newer
from sluicegate.pipeline.patterns.pattern import Feed
from sluicegate.pipeline.signing.ed25519 import SigningKey
from unit.pipeline.patterns.circles import (
    CIRCLE,
    NORTH,
    SOUTH,
    TODAY,
    circle_with,
    days,
    feed,
    flood,
    keypair,
    sealed,
)

FEED = feed(flood())


def test_a_feed_is_read_as_it_was_signed() -> None:
    assert open_feed(sealed(FEED), CIRCLE, TODAY) == FEED


@pytest.mark.parametrize("key", [SOUTH, keypair()])
def test_a_feed_in_the_name_of_another_is_refused(key: tuple[bytes, bytes]) -> None:
    with pytest.raises(PatternError, match="no key of north"):
        open_feed(sealed(FEED, key), CIRCLE, TODAY)


@pytest.mark.parametrize(
    "change",
    [
        {"member": "south"},
        {"sequence": 9},
        {"patterns": []},
        {"revoked": [{"id": "0" * 16, "on": "2026-01-01", "why": "x"}]},
        {"k": 50},
        {"expires_on": "2099-01-01"},
        {"licence": "do what you like"},
    ],
)
def test_a_changed_feed_is_refused(change: dict[str, Any]) -> None:
    envelope = orjson.loads(sealed(FEED))
    envelope["feed"] |= change
    with pytest.raises(PatternError, match="signed it"):
        open_feed(orjson.dumps(envelope), CIRCLE, TODAY)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"unknown": 1}, id="a field too many"),
        pytest.param({"patterns": [{f"{number}": 1 for number in range(50)}]}, id="an entry with too many"),
        pytest.param({"patterns": {}}, id="no list"),
        pytest.param({"member": 7}, id="no name"),
        pytest.param({"licence": [[[[[[]]]]]]}, id="of another kind"),
    ],
)
def test_what_is_no_feed_is_refused_before_its_fields_are_looked_at(change: dict[str, Any]) -> None:
    envelope = orjson.loads(sealed(FEED))
    envelope["feed"] |= change
    with pytest.raises(PatternError, match=r"no feed of patterns|signed it"):
        open_feed(orjson.dumps(envelope), CIRCLE, TODAY)


def test_one_that_is_nested_too_deeply_is_refused() -> None:
    content = sealed(FEED).replace(b'"licence":"', b'"licence":' + b"[" * 400 + b"]" * 400 + b',"x":"')
    with pytest.raises(PatternError, match="no feed of patterns"):
        open_feed(content, CIRCLE, TODAY)


def signed_as_it_is(change: dict[str, Any]) -> bytes:
    """What a member with a program of its own signs."""
    inner = FEED.model_dump(mode="json") | change
    text = orjson.dumps(inner)
    signature = SigningKey(NORTH[0]).sign(b"sluicegate: a feed of patterns\n", text)
    return orjson.dumps({"feed": inner, "signature": signature})


PATTERN = FEED.patterns[0].model_dump(mode="json")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param({"values": [PATTERN["values"][0]] * 3}, "values|patterns", id="one value three times"),
        pytest.param({"first_week": "2026-W99", "last_week": "2026-W99"}, "first_week", id="no such week"),
        pytest.param({"first_week": "0000-W01"}, "first_week", id="no such year"),
        pytest.param(
            {"first_week": "2025-W53", "last_week": "2026-W10"}, "first_week", id="a year of 52 weeks"
        ),
        pytest.param({"first_week": "2026-W12", "last_week": "2026-W11"}, "patterns.0", id="backwards"),
        pytest.param({"expires_on": "9999-01-01"}, "would last for more than", id="for ever"),
    ],
)
def test_what_a_member_signed_is_held_to_the_rules_all_the_same(change: dict[str, Any], words: str) -> None:
    with pytest.raises(PatternError, match=words):
        open_feed(signed_as_it_is({"patterns": [PATTERN | change]}), CIRCLE, TODAY)


def test_the_first_fault_ends_the_reading_of_a_feed() -> None:
    entries = [PATTERN | {"severity": "none", "authors": -1}] * 1_000
    inner = FEED.model_dump(mode="json") | {"patterns": entries}
    with pytest.raises(ValidationError) as caught:
        Feed.model_validate_json(orjson.dumps(inner))
    assert len(caught.value.errors()) == 2


def test_a_signature_is_of_nothing_else() -> None:
    envelope = orjson.loads(sealed(FEED))
    envelope["signature"] = orjson.loads(sealed(feed(sequence=2)))["signature"]
    with pytest.raises(PatternError, match="signed it"):
        open_feed(orjson.dumps(envelope), CIRCLE, TODAY)


def test_a_field_that_is_not_known_is_refused() -> None:
    envelope = orjson.loads(sealed(FEED))
    envelope["feed"]["patterns"][0]["text"] = "somebody's"
    with pytest.raises(PatternError, match="no feed of patterns"):
        open_feed(orjson.dumps(envelope), CIRCLE, TODAY)


@given(
    st.binary(max_size=300)
    | st.builds(orjson.dumps, st.dictionaries(st.text(max_size=9), st.integers(-9, 9) | st.text()))
)
def test_whatever_else_is_refused_with_a_sentence(content: bytes) -> None:
    with pytest.raises(PatternError):
        open_feed(content, CIRCLE, TODAY)


def test_an_expired_feed_is_refused() -> None:
    with pytest.raises(PatternError, match="expired"):
        open_feed(sealed(FEED), CIRCLE, days(8))


def test_an_expired_signing_key_signs_nothing() -> None:
    gone = CIRCLE.members["north"][0].model_copy(update={"last_day": days(-1)})
    with pytest.raises(PatternError, match="good today"):
        open_feed(sealed(FEED), circle_with(members={**CIRCLE.members, "north": (gone,)}), TODAY)


def test_a_feed_of_a_lower_k_is_refused() -> None:
    with pytest.raises(PatternError, match="its k is 4"):
        open_feed(sealed(feed(k=4)), CIRCLE, TODAY)


def test_one_of_another_circle_is_refused() -> None:
    with pytest.raises(PatternError, match="yours is alps"):
        open_feed(sealed(feed(circle="seas")), CIRCLE, TODAY)


def test_one_pattern_twice_is_refused() -> None:
    with pytest.raises(PatternError, match="twice"):
        open_feed(sealed(FEED.model_copy(update={"patterns": FEED.patterns * 2})), CIRCLE, TODAY)


def test_the_next_feed_follows() -> None:
    assert require_newer(feed(before=FEED), Head(1, FEED.digest)) is None


@pytest.mark.parametrize(
    ("sequence", "head", "said"),
    [
        (3, Head(4, "sha256:" + "0" * 64), "an old feed"),
        (3, Head(3, "sha256:" + "0" * 64), "two feeds of number 3"),
        (3, Head(2, "sha256:" + "0" * 64), "follows another number 2"),
    ],
)
def test_a_replayed_or_forked_feed_is_refused(sequence: int, head: Head, said: str) -> None:
    one = feed(sequence=sequence, previous="sha256:" + "1" * 64)
    with pytest.raises(PatternError, match=said):
        require_newer(one, head)


def test_the_same_feed_again_is_refused() -> None:
    with pytest.raises(PatternError, match="before"):
        require_newer(FEED, Head(1, FEED.digest))


def test_a_gap_is_told() -> None:
    assert require_newer(feed(sequence=5), Head(2, FEED.digest)) == "numbers 3 to 4 of north never came"


def test_keys_of_the_file_are_all_that_counts() -> None:
    assert open_feed(sealed(feed(member="south"), SOUTH), CIRCLE, TODAY).member == "south"
    assert NORTH != SOUTH
