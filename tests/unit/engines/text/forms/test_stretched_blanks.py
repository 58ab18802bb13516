"""Letters set apart by whatever looks like a space or a mark, and texts in which such stand for themselves."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from sluicegate.engines.text.forms import fold

BLANKS = [
    "\t",
    "\u2800",
    *(one for one in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(one) == "Zs"),
]
MARKS = ".-_*·•~|^#–—．＊‐‑‒―−⁃﹘﹣－‧∙⋅⸱◦․・･∗⁎～∼〜｜¦│∣＿＾＃"


@pytest.mark.parametrize("blank", BLANKS, ids=ascii)
def test_every_blank_sets_letters_apart_as_a_space_does(blank: str) -> None:
    for plain in (
        "I will k i l l you",
        "k  i  l  l",
        "m * a * t * a",
        "杀 死 你 们",
        "у б е й его",
        "a b c",
        "i c u",
        "J R R",
    ):
        spaced = fold(plain)
        found = fold(plain.replace(" ", blank))
        assert found.differs == spaced.differs
        assert found.text.replace(unicodedata.normalize("NFC", blank), " ") == spaced.text


@pytest.mark.parametrize("mark", MARKS)
def test_every_mark_that_looks_like_a_usual_one_sets_letters_apart(mark: str) -> None:
    assert fold(f"k{mark}i{mark}l{mark}l him").text == "kill him"


@pytest.mark.parametrize("mark", [one for one in MARKS if one not in "‧・․･⁎⁃〜∼"])
def test_ideographs_are_set_apart_by_marks_but_not_by_those_of_lists(mark: str) -> None:
    assert fold(f"赌{mark}博{mark}网站").text == "赌博网站"


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("k\u00a0i\u2009l l him", "kill him"),
        ("k\u2800i\tl\u3000l", "kill"),
        ("k‑i-l–l", "kill"),
        ("one k\u00a0i l\u00a0l, 1\u00a0000\u00a0b\u2009o m\tb\u00a0s", "one kill, 1\u00a0000\u00a0bombs"),
        ("杀\u3000死\t你 们", "杀死你们"),
    ],
)
def test_changing_between_separators_that_look_alike_hides_no_word(text: str, folded: str) -> None:
    assert fold(text).text == folded


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("@a\u2800k1ll\u2800them", "@a\u2800kill\u2800them"),
        ("https://x\u2800killlll", "https://x\u2800kill"),
        ("www.x\u2800killlll", "www.x\u2800kill"),
    ],
)
def test_an_address_ends_at_empty_braille(text: str, folded: str) -> None:
    assert fold(text).text == folded


@pytest.mark.parametrize(
    "text",
    [
        "name\tage\tcity\nAnn\t31\tBonn\nx\t1\tA\ty\t2\tB",
        "a\tb\tc\nx\ty\tz\n1\t2\t3",
        "Il y a\u00a0: «\u00a0c’est l’été\u00a0!\u00a0» à 20\u202f% ou 1\u00a0000\u00a0€",
        "z.\u202fB. 10\u2009km, J.\u00a0R.\u00a0R.\u00a0Tolkien",
        "日本\u3000東京\u3000大阪",
        "\u3000\u3000他说了。\u3000我走了。",
        "日\u3000月\u3000火\u3000水\u3000木\u3000金\u3000土",
        "春\t夏\t秋\t冬",
        "東・西・南・北 日・米・韓 中‧美‧日",
        "T・O・P",
        "pages 10–12, 5−3, self‑made",
        "\u2801\u2803\u2800\u2809\u2811\u2800\u2813",
    ],
)
def test_tables_and_typographic_blanks_stay_letter_by_letter(text: str) -> None:
    assert (fold(text).text, fold(text).rules) == (text, ())
