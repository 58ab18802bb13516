"""What people are asked about: every disagreement that is evidence, and a known share of the rest."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sluicegate.pipeline.shadow.comparison import Comparison, JudgedContent
from sluicegate.pipeline.shadow.records import ComparedPost, SummaryRecord, read_record, to_review
from sluicegate.schemas import Action
from unit.pipeline.shadow.sides import CANDIDATE, INCUMBENT, compared, side
from unit.pipeline.shadow.summaries import a_summary

HASH = "sha256:" + "e" * 64


def asked(before: str, after: str, post: str = "p", *, is_evidence: bool = True, share: float = 0.0) -> Any:
    """The record about a post with a content hash as the contract has them."""
    content = JudgedContent("acme", post, 3, HASH)
    both = compared(before, after, post, content=content)
    return to_review("retrained", both, is_evidence=is_evidence, audit_share=share)


@pytest.mark.parametrize(("before", "after"), [("block", "allow"), ("allow", "review")])
def test_people_are_asked_about_every_disagreement(before: str, after: str) -> None:
    record = asked(before, after)
    assert (record.incumbent, record.candidate) == (Action(before), Action(after))
    assert (record.probability, record.differs) == (1.0, True)
    assert record.content == JudgedContent("acme", "p", 3, HASH)
    assert record.verdict_id == compared(before, after).known.verdict_id


def test_people_are_asked_about_a_known_share_of_the_posts_on_which_both_agree() -> None:
    posts = [asked("allow", "allow", f"{number}", share=0.1) for number in range(3_000)]
    found = [one for one in posts if one is not None]
    assert 200 < len(found) < 400
    assert {(one.probability, one.differs) for one in found} == {(0.1, False)}
    # A greater share asks about the same ones, and more.
    more = [asked("allow", "allow", f"{number}", share=0.3) for number in range(3_000)]
    assert all(after is not None for before, after in zip(posts, more, strict=True) if before is not None)


def test_nobody_is_asked_about_a_copy_a_failure_or_half_a_pair() -> None:
    assert asked("block", "allow", is_evidence=False) is None
    failed = compared("block", "allow", failed=True)
    assert to_review("x", failed, is_evidence=True, audit_share=1.0) is None
    alone = Comparison(side(INCUMBENT), None)
    assert to_review("x", alone, is_evidence=True, audit_share=1.0) is None
    broken = Comparison(side(INCUMBENT, action="block"), side(CANDIDATE, failed=True))
    assert to_review("x", broken, is_evidence=True, audit_share=1.0) is None


def test_records_are_read_as_they_were_written() -> None:
    post = asked("block", "allow")
    summary = SummaryRecord(experiment="retrained", document=orjson.loads(orjson.dumps(a_summary())))
    assert [read_record(one.encode()) for one in (post, summary)] == [post, summary]
    newer = orjson.loads(post.encode()) | {"added": "later"}
    assert read_record(orjson.dumps(newer)) == post


@pytest.mark.parametrize(
    "value",
    [b"", b"[]", b"null", b'{"kind": "comparison"}', b'{"kind": "other"}', b'{"kind": []}', b"x" * 1_000_000],
)
def test_what_is_no_record_is_none(value: bytes) -> None:
    assert read_record(value) is None


def test_a_record_holds_no_text_and_no_author() -> None:
    assert set(ComparedPost.model_fields) == {
        "kind",
        "experiment",
        "tenant",
        "post_id",
        "revision",
        "content_hash",
        "incumbent",
        "candidate",
        "verdict_id",
        "probability",
    }
