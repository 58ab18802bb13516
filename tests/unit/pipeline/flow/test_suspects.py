from __future__ import annotations

from sluicegate.pipeline.flow.suspects import REMEMBERED_S, Suspects


class Rig:
    def __init__(self) -> None:
        self.now = 100.0
        self.found: list[tuple[str, bool]] = []
        self.prompts = Suspects(lambda: self.now, lambda key, certain: self.found.append((key, certain)))


def test_poison_is_remembered_for_ten_minutes_and_no_longer() -> None:
    rig = Rig()
    rig.prompts.learn("text", REMEMBERED_S)
    assert rig.prompts.is_poison("text")
    assert not rig.prompts.is_poison("another")
    rig.now += REMEMBERED_S - 1
    assert rig.prompts.is_poison("text")
    rig.now += 1
    assert not rig.prompts.is_poison("text")


def test_who_knows_of_no_poison_says_so() -> None:
    rig = Rig()
    assert rig.prompts.answers_for_none is True
    rig.prompts.learn("text", REMEMBERED_S)
    assert rig.prompts.answers_for_none is False


def test_poison_that_is_forgotten_is_asked_alone_and_ends_the_engine_once_more() -> None:
    rig = Rig()
    for death in ("first", "second"):
        rig.prompts.died_with(["text"], death, attributable=True)
    rig.now += REMEMBERED_S
    assert rig.prompts.is_suspect("text")
    rig.prompts.died_with(["text"], "third", attributable=True)
    assert rig.prompts.is_poison("text")
    assert rig.found == [("text", True)] * 2


def test_only_so_many_are_remembered_and_the_oldest_is_forgotten_first() -> None:
    rig = Rig()
    for number in range(1024):
        rig.prompts.learn(str(number), REMEMBERED_S)
    rig.prompts.learn("0", REMEMBERED_S)  # again, so it is the youngest now
    rig.prompts.learn("one more", REMEMBERED_S)
    assert rig.prompts.is_poison("one more")
    assert rig.prompts.is_poison("0")
    assert not rig.prompts.is_poison("1")
    assert len(rig.prompts.known["poison"]) == 1024


def test_what_another_worker_tells_counts_for_no_longer_than_ten_minutes() -> None:
    rig = Rig()
    rig.prompts.learn("text", 10 * REMEMBERED_S)
    rig.now += REMEMBERED_S
    assert not rig.prompts.is_poison("text")


def test_a_death_long_ago_does_not_add_up() -> None:
    rig = Rig()
    rig.prompts.died_with(["a", "b"], "first", attributable=True)
    rig.now += REMEMBERED_S
    rig.prompts.died_with(["a", "b"], "second", attributable=True)
    assert not rig.prompts.is_suspect("a")


def test_what_others_tell_of_deaths_makes_suspects_and_condemns_nobody() -> None:
    rig = Rig()
    for death in ("first", "second", "third", "third"):
        rig.prompts.heard_of(["text"], death, REMEMBERED_S)
    assert rig.prompts.is_suspect("text")
    assert rig.found == []
    rig.prompts.died_with(["text"], "fourth", attributable=True)
    assert rig.found == [("text", True)]
    rig.prompts.heard_of(["late"], "first", 0.0)
    rig.prompts.heard_of(["late"], "second", -1.0)
    assert not rig.prompts.is_suspect("late")


def test_what_breaks_off_alone_is_set_aside_the_fifth_time_and_not_before() -> None:
    rig = Rig()
    for _ in range(4):
        rig.prompts.broke_off(["text"])
        assert not rig.prompts.is_aside("text")
    rig.prompts.broke_off(["text"])
    assert rig.prompts.is_aside("text")
    assert rig.found == [("text", False)]


def test_deaths_of_several_prompts_together_set_none_of_them_aside() -> None:
    rig = Rig()
    for death in ("first", "second", "third"):
        rig.prompts.died_with(["a", "b"], death, attributable=False)
    assert rig.found == []
    rig.prompts.died_with(["a"], "fourth", attributable=False)
    assert rig.found == [("a", False)]
    assert not rig.prompts.is_aside("b")


def test_what_is_known_of_a_poison_prompt_is_forgotten_ten_minutes_after_it_may_be_asked_again() -> None:
    rig = Rig()
    for death in ("first", "second"):
        rig.prompts.died_with(["text"], death, attributable=True)
    rig.now += 2 * REMEMBERED_S - 1
    assert rig.prompts.is_suspect("text")
    rig.now += 1
    assert not rig.prompts.is_suspect("text")


def test_only_so_many_tallies_are_kept_and_the_oldest_is_forgotten_first() -> None:
    rig = Rig()
    for number in range(8192):
        rig.prompts.heard_of([str(number)], "first", REMEMBERED_S)
    assert len(rig.prompts.known["tallies"]) == 8192
    rig.prompts.heard_of(["one more"], "first", REMEMBERED_S)
    assert len(rig.prompts.known["tallies"]) == 8192
    assert "0" not in rig.prompts.known["tallies"]
    assert "one more" in rig.prompts.known["tallies"]


def test_what_this_worker_counted_is_not_forgotten_for_what_it_hears() -> None:
    rig = Rig()
    rig.prompts.died_with(["killer", "beside"], "first", attributable=False)
    for number in range(9000):
        rig.prompts.heard_of([str(number)], "first", REMEMBERED_S)
    rig.prompts.died_with(["killer", "another"], "second", attributable=False)
    assert rig.prompts.is_suspect("killer")
    for number in range(9000):
        rig.prompts.heard_of([str(number)], str(number % 2), REMEMBERED_S)
    known = rig.prompts.known["tallies"]
    assert len(known) == 8192
    assert known.keys() >= {"killer", "beside", "another"}


def test_a_suspect_is_not_forgotten_for_what_was_in_work_at_one_death() -> None:
    rig = Rig()
    for death in ("first", "second"):
        rig.prompts.died_with(["killer", "beside"], death, attributable=False)
    rig.prompts.died_with([str(number) for number in range(9000)], "third", attributable=False)
    assert rig.prompts.is_suspect("killer")
    assert len(rig.prompts.known["tallies"]) == 8192


def test_the_killer_among_as_many_prompts_as_a_worker_can_have_in_work_is_a_suspect_at_the_second_death() -> (
    None
):
    rig = Rig()
    for death in ("first", "second"):
        rig.prompts.died_with(
            ["killer", *(f"{death} {number}" for number in range(4095))], death, attributable=False
        )
    assert rig.prompts.is_suspect("killer")


def test_what_another_tells_cannot_displace_what_this_worker_counted_even_where_there_is_room_for_nothing_else() -> (
    None
):
    rig = Rig()
    own = [str(number) for number in range(8192)]
    rig.prompts.died_with(own, "first", attributable=False)
    rig.prompts.heard_of(["heard"], "first", REMEMBERED_S)
    assert rig.prompts.known["tallies"].keys() == set(own)
    rig.now += REMEMBERED_S
    rig.prompts.heard_of(["heard"], "first", REMEMBERED_S)
    assert rig.prompts.known["tallies"].keys() == {"heard"}
