"""The tables: their shape, their licences, and how they are made from their sources."""

from __future__ import annotations

from importlib import resources

import pytest

from sluicegate.engines.text.forms import fold
from sluicegate.engines.text.forms.chinese import FIRST_PARTS, LAST_PARTS
from sluicegate.engines.text.forms.generate import lookalikes, splits

CONFUSABLES = """# confusables.txt
0430 ;\t0061 ;\tMA\t# ( а → a ) CYRILLIC SMALL LETTER A → LATIN SMALL LETTER A
0406 ;\t006C ;\tMA\t# ( І → l )
0442 ;\t1D1B ;\tMA\t# ( т → ᴛ )
043A ;\t0138 ;\tMA\t# ( к → ĸ )
0433 ;\t0072 ;\tMA\t# ( г → r )
0131 ;\t0069 ;\tMA\t# ( ı → i ) a letter of Turkish
0432 ;\t0299 ;\tMA\t# ( в → ʙ )
044E ;\t0049 006F ;\tMA\t# two letters
05D5 ;\t006C ;\tMA\t# ( ו → l ) Hebrew
0627 ;\t006C ;\tMA\t# ( ا → l ) Arabic
0417 ;\t0033 ;\tMA\t# ( З → 3 ) a digit
"""
CHAIZI = (
    "信\t人 言\t亻 言\n证\t言 正\t讠 正\n好\t女 子\n甲\t亻 一\n乙\t亻 一\n刚\t冈 刂\n邳\t丕 阝\n㐰\t亻 口\n"
)


def rows(name: str) -> list[list[str]]:
    text = (resources.files("sluicegate.engines.text.forms") / "data" / name).read_text(encoding="utf-8")
    return [line.split(" ") for line in text.splitlines() if not line.startswith("#")]


def test_lookalikes_are_single_letters_of_other_scripts_each_with_its_kind() -> None:
    made = {one: (to, kind) for one, to, kind in lookalikes(CONFUSABLES)}
    assert {one: made.get(one) for one in "аІткгв"} == {
        "а": ("a", "close"),
        "І": ("I", "close"),
        "т": ("t", "rough"),
        "к": ("k", "rough"),
        "г": ("r", "rough"),
        "в": ("b", "rough"),
    }
    assert made["ʟ"] == ("l", "close")  # a small capital by its name alone
    assert not set("ıюואЗا") & made.keys()


def test_splits_are_pairs_that_belong_to_one_common_character() -> None:
    assert splits(CHAIZI) == [("丕阝", "邳"), ("亻言", "信"), ("冈刂", "刚"), ("讠正", "证")]


def test_the_shipped_tables_have_the_shape_that_is_read() -> None:
    letters = rows("lookalikes.txt")
    assert all(len(one) == len(to) == 1 and to.isascii() and to.isalpha() for one, to, _ in letters)
    assert {kind for *_, kind in letters} == {"close", "rough"}
    assert not {one for one, *_ in letters} & set("ıßøđłæœþðħŋə")
    pairs = rows("splits.txt")
    assert all(len(pair) == 2 and (pair[0] in FIRST_PARTS or pair[1] in LAST_PARTS) for pair, _ in pairs)
    assert len({pair for pair, _ in pairs}) == len(pairs) > 1000


@pytest.mark.parametrize(
    ("name", "said"),
    [("lookalikes.txt", "Unicode License v3"), ("splits.txt", "CC BY 3.0"), ("LICENSE-UNICODE.txt", "V3")],
)
def test_the_licences_travel_with_the_tables(name: str, said: str) -> None:
    assert said in (resources.files("sluicegate.engines.text.forms") / "data" / name).read_text(
        encoding="utf-8"
    )


def test_every_split_character_of_the_table_is_joined() -> None:
    wrong = [pair for pair, one in rows("splits.txt") if fold(pair).text != one]
    assert wrong == []
