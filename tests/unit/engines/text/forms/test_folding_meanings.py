"""Texts that look alike and mean different things keep different folded forms."""

from __future__ import annotations

from collections import Counter

import pytest

from sluicegate.engines.text.forms import fold

PAIRS = [
    # English
    ("en", "a-level results", "all evel results"),
    ("en", "I.T. helps", "it helps"),
    ("en", "the US won", "the us won"),
    ("en", "U.S. politics", "us politics"),
    ("en", "10/10 would go", "1010 would go"),
    ("en", "0800 1111", "0800 111"),
    ("en", "call 555-0199", "call SSS-oigg"),
    ("en", "my name is l33t", "my name is leet"),
    ("en", "gr8", "gr9"),
    ("en", "a 4k screen", "a ak screen"),
    ("en", "covid19", "covidig"),
    ("en", "on the 2nd", "on the end"),
    ("en", "B2B sales", "BeB sales"),
    ("en", "mp3", "mpe"),
    ("en", "10² metres", "102 metres"),
    ("en", "½ cup", "12 cup"),
    ("en", "H₂O", "H2O"),
    ("en", "good", "god"),
    ("en", "loose", "lose"),
    ("en", "www", "w"),
    ("en", "XXX", "X"),
    ("en", "KKK", "K"),
    ("en", "Louis III", "Louis I"),
    ("en", "Super Bowl XXX", "Super Bowl X"),
    ("en", "$100", "$1000"),
    ("en", "1000000", "10"),
    ("en", "step a b c", "step abc"),
    ("en", "plan D A D G", "plan DADG"),
    ("en", "option A, B, C", "option ABC"),
    ("en", "i c u", "icu"),
    ("en", "let's eat, grandma", "let's eat grandma"),
    ("en", "resume", "résumé"),
    ("en", "10:30", "1030"),
    ("en", "v1.2.3", "v123"),
    ("en", "@us3r", "@user"),
    ("en", "ex4mple.com/a", "example.com/a"),
    ("en", "no. 7", "no. T"),
    ("en", "season4finale", "seasonafinale"),
    # German
    ("de", "Maße", "Masse"),
    ("de", "in Maßen", "in Massen"),
    ("de", "schon", "schön"),
    ("de", "Busse", "Buße"),
    ("de", "Schifffahrt", "Schifahrt"),
    ("de", "der 1er", "der ier"),
    # Turkish
    ("tr", "sıkıldım", "sikildim"),
    ("tr", "ısı", "isi"),
    ("tr", "kar", "kâr"),
    ("tr", "oldu", "öldü"),
    # Spanish, Portuguese, French
    ("es", "ano", "año"),
    ("es", "tod@s", "todas"),
    ("es", "llama", "lama"),
    ("es", "perro", "pero"),
    ("pt", "avó", "avô"),
    ("pt", "1º lugar", "10 lugar"),
    ("fr", "pêcheur", "pécheur"),
    ("fr", "tâche", "tache"),
    # Russian, Ukrainian
    ("ru", "сок", "cok"),
    ("ru", "рот", "pot"),
    ("ru", "нос", "hoc"),
    ("ru", "роса упала", "poca упала"),
    ("ru", "и я в доме", "ияв доме"),
    ("ru", "все", "всё"),
    ("ru", "длинный", "длиный"),
    ("uk", "кіт", "кит"),
    # Greek
    ("el", "νόμος", "νομός"),
    ("el", "ΑΝ", "AN"),
    ("el", "Ωμ", "ωm"),
    # Arabic, Persian, Hebrew
    ("ar", "علم", "عالم"),
    ("ar", "حب", "خب"),
    ("ar", "كتاب", "كتّاب"),
    ("fa", "می‌خواهم", "میخواهم"),
    ("he", "שָׁלוֹם", "שלום"),
    # Hindi, Thai
    ("hi", "क्‍ष", "क्ष"),
    ("th", "มา", "ม้า"),
    # Chinese
    ("zh", "千", "干"),
    ("zh", "土", "士"),
    ("zh", "未", "末"),
    ("zh", "强健的身体", "强奸的身体"),
    ("zh", "紫砂壶", "自杀壶"),
    ("zh", "女子", "好"),
    ("zh", "日月", "明"),
    ("zh", "木木", "林"),
    ("zh", "皇后", "皇後"),
    ("zh", "乾坤", "干坤"),
    ("zh", "王濛", "王蒙"),
    ("zh", "银行", "很行"),
    ("zh", "五-六-七", "五六七"),
    ("zh", "三十", "卅"),
    ("zh", "人", "入"),
    # Japanese, Korean
    ("ja", "シ", "ツ"),
    ("ja", "国と國", "国と国"),
    ("ko", "ㅋㅋㅋ", "ㅋ"),
    ("ko", "나 는 너", "나는 너"),
]


def compared(text: str) -> str:
    return " ".join(fold(text).text.split())


@pytest.mark.parametrize(("one", "other"), [pair[1:] for pair in PAIRS])
def test_different_meanings_stay_apart(one: str, other: str) -> None:
    assert compared(one) != compared(other)


def test_the_pairs_are_many_and_of_many_languages() -> None:
    languages = Counter(language for language, *_ in PAIRS)
    assert len(PAIRS) >= 60
    assert sum(count >= 3 for count in languages.values()) >= 4
    assert len({frozenset(pair[1:]) for pair in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize(("disguised", "meant"), [("ѕchön", "schön"), ("k1ll", "kill"), ("亻言用", "信用")])
def test_what_is_one_word_in_two_dresses_is_compared_equal(disguised: str, meant: str) -> None:
    assert compared(disguised) == compared(meant)
