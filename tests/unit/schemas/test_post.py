"""The limits of a post, each at its border."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter, ValidationError

from sluicegate.schemas import Feedback, Post, Turn
from sluicegate.schemas._fields import Identifier
from sluicegate.schemas.export import json_schema
from support.events import HIDDEN

if TYPE_CHECKING:
    from collections.abc import Callable


def accepts(**fields: Any) -> bool:
    try:
        Post.model_validate({"id": "a", "text": "t", **fields})
    except ValidationError:
        return False
    return True


def test_only_id_and_text_are_required() -> None:
    post = Post.model_validate({"id": "a", "text": "t"})
    assert post.model_dump() == {
        "id": "a",
        "text": "t",
        "kind": "post",
        "context": None,
        "tenant": "default",
        "author_id": None,
        "language": None,
        "region": None,
        "created_at": None,
        "revision": 0,
        "metadata": {},
    }


@pytest.mark.parametrize("field", ["id", "author_id"])
def test_an_identifier_has_up_to_256_printable_characters(field: str) -> None:
    assert accepts(**{field: "é" * 256})
    assert accepts(**{field: "می\u200cخواهم 👩\u200d👧/#?"})
    assert not accepts(**{field: "x" * 257})
    assert not accepts(**{field: ""})


@pytest.mark.parametrize("field", ["id", "author_id"])
@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\x00", "\x1b", "\x7f", "\x85", *HIDDEN], ids=ascii)
def test_an_identifier_hides_and_reorders_nothing(field: str, character: str) -> None:
    assert not accepts(**{field: f"a{character}b"})
    assert not accepts(**{field: f"a{character}"})
    assert not accepts(metadata={f"a{character}": 1})


UNSEEN = "\u200c\u200d\u00ad\u180e\ufe0e\ufe0f\U000e0001\U000e0067\U000e007f\u115f\u3164\uffa0\u2800\u00a0\u202f\u3000 "


@pytest.mark.parametrize("field", ["id", "author_id"])
@pytest.mark.parametrize("character", UNSEEN, ids=ascii)
def test_an_identifier_that_was_valid_before_stays_valid_though_one_cannot_see_it_all(
    field: str, character: str
) -> None:
    assert accepts(**{field: character})
    assert accepts(**{field: f"a{character}b"})
    assert accepts(metadata={f"a{character}": 1})


def test_the_contract_lists_every_character_that_is_refused() -> None:
    page = (Path(__file__).parents[3] / "docs" / "contract.md").read_text()
    table = page.partition("### Characters of an id")[2].partition("\n\nAll others are accepted")[0]
    listed = {
        chr(number)
        for first, last in re.findall(r"U\+([0-9A-F]{4})(?: to U\+([0-9A-F]{4}))?", table)
        for number in range(int(first, 16), int(last or first, 16) + 1)
    }
    characters = [chr(number) for number in range(0x110000) if not 0xD800 <= number <= 0xDFFF]
    pattern = re.compile(json_schema("post")["properties"]["id"]["pattern"])
    assert {one for one in characters if pattern.fullmatch(one) is None} == listed
    identifier = TypeAdapter(Identifier)
    around = listed | {chr(max(0, ord(one) + step)) for one in listed for step in (-1, 1)}
    assert {one for one in around if not _is_valid(identifier, one)} == listed


def _is_valid(of_type: TypeAdapter[str], value: str) -> bool:
    try:
        of_type.validate_python(value)
    except ValidationError:
        return False
    return True


def test_two_ids_that_only_look_alike_stay_two() -> None:
    composed, decomposed = Post(id="\u00e9", text="t"), Post(id="e\u0301", text="t")
    assert composed.id != decomposed.id


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (
            "tenant",
            ["a", "A9._-z", "x" * 64],
            ["", "x" * 65, ".a", "-a", "_a", "a b", "a/b", "ä", "a\n", "а"],
        ),
        (
            "language",
            ["en", "zh-Hant", "de-CH-1996", "abcdefgh-12345678"],
            ["", "e", "en_GB", "en-", "en-123456789", "en\n", "english language", "en" + "-abcdefgh" * 4],
        ),
        (
            "region",
            ["DE", "US-CA", "GB-ENG", "FR-7"],
            ["", "de", "DEU", "DE-", "DE-BAYE", "DE\n", "419", "D1"],
        ),
    ],
)
def test_tenant_language_and_region_have_narrow_alphabets(
    field: str, good: list[str], bad: list[str]
) -> None:
    assert [value for value in good if not accepts(**{field: value})] == []
    assert [value for value in bad if accepts(**{field: value})] == []


def test_metadata_is_small_and_flat() -> None:
    assert accepts(metadata={"k" * 64: "v" * 512})
    assert not accepts(metadata={"k" * 65: 1})
    assert not accepts(metadata={"k": "v" * 513})
    assert not accepts(metadata={"k": float("inf")})
    assert not accepts(metadata={"k": float("nan")})
    assert not accepts(metadata={"k": b"bytes"})


def test_a_metadata_value_keeps_its_type() -> None:
    metadata: dict[str, str | bool | int | float | None] = {
        "yes": True,
        "one": 1,
        "half": 0.5,
        "digits": "1",
        "none": None,
    }
    kept = Post(id="a", text="t", metadata=metadata).metadata
    assert [(name, value, type(value)) for name, value in kept.items()] == [
        (name, value, type(value)) for name, value in metadata.items()
    ]


def test_a_lone_surrogate_is_no_text() -> None:
    assert not accepts(text="\ud800")
    assert not accepts(id="\ud800")


def test_a_post_cannot_be_changed() -> None:
    post = Post(id="a", text="t")
    with pytest.raises(ValidationError, match="frozen"):
        post.text = "u"  # type: ignore[misc]  # what must fail


PRIVATE = "what somebody wrote"


@pytest.mark.parametrize(
    "fields",
    [
        {"text": [PRIVATE]},
        {"id": f"{PRIVATE}\n"},
        {"kind": PRIVATE},
        {"context": [{"role": PRIVATE, "text": PRIVATE}]},
        {"context": {"text": PRIVATE}},
        {"created_at": PRIVATE},
        {"revision": PRIVATE},
        {"metadata": {"note": [PRIVATE]}},
    ],
    ids=str,
)
@pytest.mark.parametrize("way", ["constructed", "read", "inside_feedback"])
def test_the_error_of_a_post_repeats_nothing_of_it_in_a_log(
    fields: dict[str, Any], way: str, caplog: pytest.LogCaptureFixture
) -> None:
    document: dict[str, Any] = {"id": "a", "text": PRIVATE, **fields}
    ways: dict[str, Callable[[], object]] = {
        "constructed": lambda: Post(**document),
        "read": lambda: Post.model_validate_json(json.dumps(document)),
        "inside_feedback": lambda: Feedback.model_validate({"post": document}),
    }
    try:
        ways[way]()
    except ValidationError as error:
        told = f"{error}, {error!r}"
        logging.getLogger("a producer").exception("no post: %s", told)
    assert "ValidationError" in caplog.text
    assert PRIVATE not in caplog.text


def test_a_plain_context_is_one_turn_of_the_user() -> None:
    turn = Turn(role="user", text="Why?")
    assert Post(id="a", text="t", context="Why?").turns == (turn,)
    assert Post(id="a", text="t", context=(turn,)).turns == (turn,)
    assert Post(id="a", text="t").turns == ()
