"""The ledger: what it keeps of decisions, what a snapshot proves, and what an erasure leaves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import orjson
import pytest

from sluicegate.engines.adapt.cycle.erasure import erase_author
from sluicegate.engines.adapt.cycle.ledger import CycleLedger, SealedDecision
from sluicegate.engines.adapt.cycle.qualify import qualify
from sluicegate.engines.adapt.errors import CycleError
from sluicegate.schemas import Feedback, Post

if TYPE_CHECKING:
    from pathlib import Path

BEGAN = datetime(2026, 11, 2, 8, tzinfo=UTC)
QUOTED = "my mother keeps the spare key under the blue pot"


def feedback(number: int, text: str, severity: str, **fields: object) -> Feedback:
    post = Post(
        id=f"post-{number}",
        tenant="forum",
        author_id=str(fields.pop("author", f"author-{number}")),
        text=text,
        kind="post",
        language="en",
    )
    document = {
        "verdict_id": f"verdict-{number}",
        "post": post,
        "severity": severity,
        "categories": () if severity == "safe" else ("Violent",),
        "blind": False,
        "reviewed_at": BEGAN + timedelta(minutes=number),
        "reviewer": "reviewer-1",
        "basis": "single",
        "sampled_by": "review",
        "inclusion_probability": 1.0,
        "found": "safe",
        "engine": f"sha256:{'e' * 64}",
    }
    return Feedback.model_validate({**document, **fields})


def taken(ledger: CycleLedger, *records: Feedback) -> None:
    ledger.collect(records)
    found = qualify(
        ledger.decisions(),
        golden={},
        row_id=lambda one, severity: ledger.keys.mac("row", one.case, severity),
        splits={},
    )
    ledger.take_snapshot(found.rows)


def every_byte(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_no_text_and_no_author_stands_readable_in_any_file(tmp_path: Path) -> None:
    ledger = CycleLedger(tmp_path)
    taken(ledger, feedback(1, QUOTED, "unsafe", author="anna-4711", reason="names the blue pot"))
    found = every_byte(tmp_path)
    assert b"blue pot" not in found
    assert b"anna-4711" not in found
    opened = ledger.text(ledger.decisions()[0])
    assert opened is not None
    assert (opened[0].text, opened[1]) == (QUOTED, "names the blue pot")


def test_a_decision_that_is_read_twice_is_one(tmp_path: Path) -> None:
    ledger = CycleLedger(tmp_path)
    assert ledger.collect([feedback(1, "a", "safe"), feedback(2, "b", "unsafe")]) == 2
    assert CycleLedger(tmp_path).collect([feedback(2, "b", "unsafe"), feedback(3, "c", "safe")]) == 1
    assert len(CycleLedger(tmp_path).decisions()) == 3


def test_equal_decisions_give_equal_snapshots_in_any_order(tmp_path: Path) -> None:
    one, other = CycleLedger(tmp_path / "one"), CycleLedger(tmp_path / "one")
    records = [feedback(number, f"text {number}", "unsafe") for number in range(20)]
    taken(one, *records)
    taken(other, *reversed(records))
    assert one.digests() == [one.newest()]
    before = one.newest()
    taken(one, feedback(99, "another text", "safe"))
    assert one.snapshot(str(one.newest())).parent == before


def test_a_snapshot_that_was_changed_is_refused(tmp_path: Path) -> None:
    ledger = CycleLedger(tmp_path)
    taken(ledger, feedback(1, "a text", "unsafe"))
    path = next((tmp_path / "snapshots").glob("*/rows.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"unsafe"', b'"safe"'))
    with pytest.raises(CycleError, match="was changed"):
        ledger.snapshot(str(ledger.newest()))


def test_an_erased_author_is_gone_from_every_snapshot_which_still_proves_its_rows(tmp_path: Path) -> None:
    ledger = CycleLedger(tmp_path)
    taken(ledger, feedback(1, QUOTED, "unsafe", author="anna"), feedback(2, "another", "unsafe"))
    first = str(ledger.newest())
    taken(ledger, feedback(3, "a third", "safe", author="anna"))
    run = tmp_path / "runs" / "weekly-1" / "work"
    run.mkdir(parents=True)
    (run / "corrections.jsonl").write_text(QUOTED)
    sealed = [one.sealed for one in ledger.decisions() if ledger.text(one) and one.verdict_id == "verdict-1"]

    found = erase_author(ledger, "forum", "anna", every_days=7, now=BEGAN)

    assert found["texts_erased"] == 2 + 3  # two decisions; rows of two snapshots
    assert found["runs_begun_anew"] == ["weekly-1"]
    after = every_byte(tmp_path)
    assert QUOTED.encode() not in after
    assert str(sealed[0]).encode() not in after
    again = CycleLedger(tmp_path)
    for digest in (first, str(again.newest())):
        rows = again.snapshot(digest).rows
        gone = [row for row in rows if again.text(row) is None]
        assert {row.verdicts[0] for row in gone} <= {"verdict-1", "verdict-3"}
        assert gone
    assert erase_author(again, "forum", "anna", every_days=7)["texts_erased"] == 0


def test_nothing_comes_back_of_an_erased_author(tmp_path: Path) -> None:
    ledger = CycleLedger(tmp_path)
    erase_author(ledger, "forum", "anna", every_days=7)
    assert CycleLedger(tmp_path).collect([feedback(1, QUOTED, "unsafe", author="anna")]) == 0
    assert CycleLedger(tmp_path).collect([feedback(2, "of another", "unsafe", author="bert")]) == 1


def test_an_erasure_that_was_cut_off_after_the_key_is_finished_by_the_next(tmp_path: Path) -> None:
    ledger = CycleLedger(tmp_path)
    taken(ledger, feedback(1, QUOTED, "unsafe", author="anna"))
    ledger.keys.erase(ledger.keys.author("forum", "anna"))  # and then the power went
    assert all(ledger.text(one) is None for one in ledger.decisions())
    assert erase_author(CycleLedger(tmp_path), "forum", "anna", every_days=7)["texts_erased"] == 2


def test_lost_keys_are_a_fault_and_not_an_erasure(tmp_path: Path) -> None:
    ledger = CycleLedger(tmp_path)
    taken(ledger, feedback(1, QUOTED, "unsafe"))
    (tmp_path / "keys.json").write_bytes(orjson.dumps({"secret": "AAAA"}))
    with pytest.raises(CycleError, match=r"keys\.json"):
        CycleLedger(tmp_path)


def test_a_text_that_was_changed_is_a_fault(tmp_path: Path) -> None:
    ledger = CycleLedger(tmp_path)
    taken(ledger, feedback(1, QUOTED, "unsafe"), feedback(2, "another", "safe"))
    first, second = ledger.decisions()
    swapped = SealedDecision.model_validate(first.model_dump() | {"sealed": second.sealed})
    with pytest.raises(CycleError, match="was changed"):
        ledger.text(swapped)


def test_keys_that_two_processes_write_are_all_kept_and_who_is_erased_stays_erased(tmp_path: Path) -> None:
    first, second = CycleLedger(tmp_path), CycleLedger(tmp_path)
    anna, bert, carl = (first.keys.author("forum", name) for name in ("anna", "bert", "carl"))
    first.keys.seal(anna, "a", b"text")
    first.keys.save()
    sealed = second.keys.seal(bert, "b", b"text")
    second.keys.erase(carl)
    first.keys.save()
    found = CycleLedger(tmp_path).keys
    assert found.open(bert, "b", sealed) == b"text"
    assert [found.is_erased(one) for one in (anna, bert, carl)] == [False, False, True]
