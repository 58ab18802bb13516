"""The arithmetic that the integration tests stand on, itself tested."""

from __future__ import annotations

from support.collector import Record, Sent, account


def verdict(post_id: str, verdict_id: str, action: str = "allow", *, tenant: str = "default") -> Record:
    body = {"post_id": post_id, "verdict_id": verdict_id, "action": action, "tenant": tenant, "revision": 0}
    return Record(f"verdicts.{action}", 0, 0, post_id.encode(), body)


def dead_letter(offset: int, partition: int = 0) -> Record:
    origin = {"topic": "posts", "partition": partition, "offset": offset}
    return Record(
        "posts.deadletter", 0, 0, None, {"dead_letter_id": f"dead-{partition}-{offset}", "origin": origin}
    )


SENT = [Sent("posts", 0, 0, "a"), Sent("posts", 0, 1, "b"), Sent("posts", 1, 0)]


def test_everything_answered_once_balances() -> None:
    found = account(SENT, [verdict("a", "1"), verdict("b", "2"), dead_letter(0, partition=1)])
    assert (found.sent, found.verdicts, found.dead_letters) == (3, 2, 1)
    assert not found.lost
    assert (found.repeats_same_id, found.repeats_other_id, found.unasked) == (0, 0, 0)
    assert found.two_actions == ()


def test_a_record_without_an_answer_is_lost() -> None:
    found = account(SENT, [verdict("a", "1")])
    assert found.lost == (SENT[1], SENT[2])


def test_another_tenants_verdict_is_no_answer() -> None:
    found = account(SENT[:1], [verdict("a", "1", tenant="school")])
    assert found.lost == (SENT[0],)
    assert found.unasked == 1


def test_a_dead_letter_answers_by_its_origin_even_for_a_post_with_an_id() -> None:
    assert not account(SENT[:1], [dead_letter(0)]).lost


def test_a_repeat_with_the_same_id_is_told_from_one_with_another() -> None:
    found = account(SENT[:1], [verdict("a", "1"), verdict("a", "1"), verdict("a", "2", "review")])
    assert (found.repeats_same_id, found.repeats_other_id) == (1, 1)


def test_one_id_with_two_actions_is_named() -> None:
    found = account(SENT[:1], [verdict("a", "1"), verdict("a", "1", "block")])
    assert found.two_actions == ("1",)


def test_a_repeated_dead_letter_is_a_repeat() -> None:
    assert account(SENT[2:], [dead_letter(0, 1), dead_letter(0, 1)]).repeats_same_id == 1


def test_an_answer_nobody_asked_for_is_counted() -> None:
    assert account([], [verdict("a", "1"), dead_letter(7)]).unasked == 2
