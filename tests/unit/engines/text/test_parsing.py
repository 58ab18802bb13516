from __future__ import annotations

import unicodedata
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.protocol import Explanation, ItemFailure
from sluicegate.engines.text.parsing import parse_explanation
from sluicegate.schemas import CATEGORIES, FailureCode, Kind
from sluicegate.schemas.assessment import REASON_CHARACTERS

KINDS = get_args(Kind)
# Pieces of real answers in any order: gets past the first checks far more often than plain text.
pieces = st.sampled_from(
    [
        "\n",
        "Categories: ",
        "Refusal: ",
        "Reason: ",
        "Safety: Safe",
        "None",
        "Yes",
        "No",
        ", ",
        "\r",
        "\u2028",
        *CATEGORIES,
    ]
)
answers = st.text() | st.lists(pieces | st.text(max_size=5), max_size=12).map("".join)


def parsed(text: str, kind: Kind = "post") -> Explanation:
    found = parse_explanation(text, kind, CATEGORIES)
    assert isinstance(found, Explanation)
    return found


def refused(text: str, kind: Kind = "post") -> ItemFailure:
    found = parse_explanation(text, kind, CATEGORIES)
    assert isinstance(found, ItemFailure)
    return found


def test_a_plain_answer() -> None:
    assert parsed("\nCategories: Violent") == Explanation(categories=("Violent",))


def test_none_alone_means_no_category() -> None:
    assert parsed("\nCategories: None").categories == ()


def test_several_categories_keep_their_order_and_are_named_once() -> None:
    text = "\nCategories: PII, Suicide & Self-Harm, PII"
    assert parsed(text).categories == ("PII", "Suicide & Self-Harm")


@pytest.mark.parametrize(("word", "refusal"), [("Yes", True), ("No", False)])
def test_a_response_tells_whether_it_refuses(word: str, refusal: bool) -> None:
    assert parsed(f"\nCategories: None\nRefusal: {word}", "response").refusal is refusal


def test_a_reason_may_follow() -> None:
    assert parsed("\nCategories: Violent\nReason: it threatens a person").reason == "it threatens a person"
    assert parsed("\nCategories: None\nRefusal: No\nReason: polite", "response").reason == "polite"


@pytest.mark.parametrize(
    "text",
    [
        "Categories: Violent",  # on the label's line
        " and\nCategories: Violent",
        "\n Categories: Violent",
        "\ncategories: Violent",
        "\nCategories: violent",
        "\nCategories:Violent",
        "\nCategories: Violent ",
        "\nCategories: Violent,PII",
        "\nCategories: Violent, ",
        "\nCategories: ",
        "\nCategories: None, Violent",
        "\nCategories: Non-violent",  # cut off
        "\nCategories: Spam",
        "\nCategories: Violent\n",
        "\nCategories: Violent\n\nReason: x",
        "\nCategories: Violent\nReason: x\nReason: y",
        "\nCategories: Violent\nReason: x\nSafety: Safe",
        "\nSafety: Safe\nCategories: None",
        "\nCategories: None\nCategories: Violent",
        "\r\nCategories: Violent",
        "\u2028Categories: Violent",
        "\n\nCategories: Violent",
        "\nCategories: Violent\nRefusal: No",  # a post refuses nothing
        "I am sorry, I cannot judge that.",
    ],
)
def test_anything_but_the_agreed_lines_is_unparsable(text: str) -> None:
    assert refused(text).code is FailureCode.UNPARSABLE


@pytest.mark.parametrize(
    "text",
    [
        "\nCategories: None",
        "\nCategories: None\nRefusal: Maybe",
        "\nCategories: None\nRefusal: yes",
        "\nCategories: None\nReason: x\nRefusal: No",
        "\nRefusal: No\nCategories: None",
        "\nCategories: Jailbreak\nRefusal: No",  # a category of prompts
    ],
)
def test_a_response_without_its_own_lines_is_unparsable(text: str) -> None:
    assert refused(text, "response").code is FailureCode.UNPARSABLE


@pytest.mark.parametrize("kind", ["post", "prompt"])
def test_jailbreak_is_known_in_posts_and_prompts(kind: Kind) -> None:
    assert parsed("\nCategories: Jailbreak", kind).categories == ("Jailbreak",)


@pytest.mark.parametrize("text", ["", " ", "\n", "\n \t\r\n"])
def test_nothing_is_an_empty_completion(text: str) -> None:
    assert refused(text).code is FailureCode.EMPTY_COMPLETION


def test_category_words_inside_a_reason_do_not_count() -> None:
    found = parsed("\nCategories: None\nReason: Categories: Violent, PII")
    assert found.categories == ()
    assert found.reason == "Categories: Violent, PII"


def test_an_adapted_engine_brings_its_own_names() -> None:
    found = parse_explanation("\nCategories: Spam & Scams", "post", ["Spam & Scams"])
    assert found == Explanation(categories=("Spam & Scams",))


def test_more_categories_than_a_verdict_holds_are_refused() -> None:
    names = [f"c{index}" for index in range(20)]
    assert isinstance(parse_explanation("\nCategories: " + ", ".join(names[:16]), "post", names), Explanation)
    assert isinstance(parse_explanation("\nCategories: " + ", ".join(names[:17]), "post", names), ItemFailure)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a\u202eb\u2066c", "abc"),
        ("a\x00b\x1b[31mc", "a b [31mc"),
        ("a\u2028b\u2029c\x85d\re", "a b c d e"),
        ("tag\U000e0041\ufeff\u200bged", "tagged"),
        ("क्\u200dष 👩\u200d👩", "क्\u200dष 👩\u200d👩"),
        ("   ", None),
        ("", None),
        ("x" * 900, "x" * REASON_CHARACTERS),
    ],
)
def test_a_reason_is_one_bounded_printable_line(raw: str, clean: str | None) -> None:
    assert parsed(f"\nCategories: None\nReason: {raw}").reason == clean


@given(text=answers, kind=st.sampled_from(KINDS))
def test_no_output_raises_and_what_is_found_keeps_its_bounds(text: str, kind: Kind) -> None:
    found = parse_explanation(text, kind, CATEGORIES)
    if isinstance(found, ItemFailure):
        assert found.code in (FailureCode.UNPARSABLE, FailureCode.EMPTY_COMPLETION)
        assert found.detail
        return
    assert text.startswith("\nCategories: ")
    assert set(found.categories) <= set(CATEGORIES)
    assert len(set(found.categories)) == len(found.categories)
    assert (found.refusal is not None) == (kind == "response")
    assert kind != "response" or "Jailbreak" not in found.categories


@given(reason=st.text(max_size=600))
def test_no_reason_breaks_out_of_its_line(reason: str) -> None:
    found = parse_explanation("\nCategories: None\nReason: " + reason.replace("\n", " "), "post", CATEGORIES)
    assert isinstance(found, Explanation)
    kept = found.reason or ""
    assert len(kept) <= REASON_CHARACTERS
    assert len(kept.splitlines()) <= 1
    assert not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in kept)
    assert not any(unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI") for c in kept)


@given(text=st.text(min_size=20))
def test_a_failure_tells_nothing_of_the_text(text: str) -> None:
    assert text not in refused("x" + text).detail
