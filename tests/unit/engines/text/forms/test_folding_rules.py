"""One rule each: what it undoes, and what it must leave alone."""

from __future__ import annotations

import pytest

from sluicegate.engines.text.forms import RULES, fold

FOLDS = [
    # invisible, bidi, marks
    ("k\u200bi\u200bl\u200bl them", "kill them", {"invisible"}),
    ("bo\u00admb", "bomb", {"invisible"}),
    ("к\u2060у\u2060пи", "купи", {"invisible"}),
    ("杀\u200b人", "杀人", {"invisible"}),
    ("k\ufe0fill", "kill", {"invisible"}),
    ("a\u202edrow nedd\u202cih", "adden wordih", {"bidi"}),
    ("\u202elliK\u202c them", "Kill them", {"bidi"}),
    ("k\u0336i\u0336l\u0336l\u0336", "kill", {"marks"}),
    ("k\u0300\u0316\u0301ill", "kill", {"marks"}),
    # letter forms
    ("𝐤𝐢𝐥𝐥 𝔂𝓸𝓾", "kill you", {"letter_forms"}),
    ("ⓚⓘⓛⓛ", "kill", {"letter_forms"}),
    ("ｋｉｌｌ ｙｏｕ 好", "kill you 好", {"letter_forms"}),
    ("1\u200d2\u200d3", "123", {"invisible"}),
    ("🅺🅸🅻🅻", "KILL", {"letter_forms"}),
    ("ｋｉｌｌ ｙｏｕ", "kill you", {"letter_forms"}),
    ("去ｃｉty看看", "去city看看", {"letter_forms"}),
    ("ᴋɪʟʟ yourself now", "kill yourself now", {"lookalikes"}),
    # lookalikes
    ("Рlѕ go therе", "Pls go there", {"lookalikes"}),
    ("I wіll kіll уоu", "I will kill you", {"lookalikes"}),
    ("kіll уоu, kіll hіm. привет", "kill you, kill him. привет", {"lookalikes"}),
    ("pay with раураl here", "pay with paypal here", {"lookalikes"}),
    ("хyй тебе", "хуй тебе", {"lookalikes"}),
    ("бoмба", "бомба", {"lookalikes"}),
    ("νoθεία και κaλά", "νοθεία και καλά", {"lookalikes"}),
    # Chinese
    ("亻言用卡", "信用卡", {"split_characters"}),
    ("扌丁电话", "打电话", {"split_characters"}),
    ("弓虽女干", "强奸", {"split_characters"}),
    ("加徽信聊", "加微信聊", {"variants"}),
    ("这是我們的证件和说明", "这是我们的证件和说明", {"traditional"}),
    ("这是我們的證件和说明の", "这是我们的证件和说明の", {"traditional"}),
    # spaced
    ("k i l l you", "kill you", {"spaced"}),
    ("f.u.c.k off", "fuck off", {"spaced"}),
    ("k-i-l-l", "kill", {"spaced"}),
    ("k_i_l_l him", "kill him", {"spaced"}),
    ("K I L L him", "KILL him", {"spaced"}),
    ("у б е й его", "убей его", {"spaced"}),
    ("m * a * t * a", "mata", {"spaced"}),
    ("ق ت ل ك", "قتلك", {"spaced"}),
    ("赌*博*网站", "赌博网站", {"spaced"}),
    ("杀 死 你 们", "杀死你们", {"spaced"}),
    # leet
    ("k1ll them", "kill them", {"leet"}),
    ("sh!t happens", "shit happens", {"leet"}),
    ("a b0mb", "a bomb", {"leet"}),
    ("FL1PKART", "FLIPKART", {"leet"}),
    ("b@stard", "bastard", {"leet"}),
    ("l3t m3 k1ll th4t m4n", "let me kill that man", {"leet"}),
    ("m1erd4 y p0ll4", "mierda y polla", {"leet"}),
    # repeats
    ("killlll him", "kill him", {"repeats"}),
    ("fuuuuck", "fuck", {"repeats"}),
    ("goooood", "good", {"repeats"}),
    ("сууууука", "сука", {"repeats"}),
    ("Scheiiiße", "Scheiße", {"repeats"}),
    ("كـــتـاب", "كتاب", {"repeats"}),
    # layers
    ("ｋ.１.ｌ.ｌ him", "kill him", {"width", "spaced", "leet"}),
    ("k\u200b1\u200bl\u200bl", "kill", {"invisible", "leet"}),
    ("к.i.l.l.e.r", "killer", {"spaced", "lookalikes"}),
]

PLAIN = [
    "",
    " ",
    # invisible with a meaning
    "👨‍👩‍👧 at home",
    "❤️ 1️⃣ ✌🏽",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f wins",
    "می‌خواهم بروم",
    "क्‍ष",
    "ภาษา\u200bไทย",
    "été naïve Việt Nam",
    "שָׁלוֹם",
    # letters and numbers of their own kind
    "10² m and ½ cup, H₂O, №5, ™",
    "ㅋㅋㅋ ㅠㅠ",
    "① ② ③",
    "1º lugar, 2ª vez",
    "Ⅷ",
    "let 𝑥 be a number",
    # other scripts
    "я пью сок и ем кокос",
    "сок",
    "Это COVIDом называют",
    "Ωμέγα και άλφα",
    "Δx = αs · t",
    "Türkçe ılık sütlü kahve",
    "Straße, Größe, Fuß",
    "我爱你，也爱Python",
    "台灣人說國語，也寫漢字",
    "日本の国は東にある",
    "王濛拿了金牌",
    "王濛拿了#冰金牌 这个国家",
    # spaced
    "a b c",
    "A B C D",
    "x y z",
    "J. R. R. Tolkien",
    "I.T. helps, U.S. too, e.g. here",
    "i c u, r u ok",
    "и я в доме",
    "D A D G A D",
    "1 2 3 4",
    "1-800-555-0199",
    "a+b+c=d",
    "东、西、南、北",
    "五-六-七",
    "나 는 너 를",
    # leet
    "4k, 8K, 2nd, 1st, 3D, B2B, P2P, H2O, H1N1, mp3, mp3s, ps5, covid19, win10, i7, a4",
    "10am 7pm 100m 5km 24h 90s 3x 12h30",
    "v1.2.3 and 10/10 on 02/09/03 at 10:30",
    "$5, 5$, US$5, €10, 3,50",
    "a@b.com and @us3r and https://ex4mple.com/a1b and youtu.be/wK4Ekh",
    "lao3tan3",
    "l33t",
    "tod@s l@s amig@s",
    "3f4a0b1c",
    "Wow! Great! Hi!you",
    "season4finale",
    # repeats
    "www hhh XXX kkk",
    "XVIII III MMXXIII",
    "Schifffahrt",
    "good book, all, 1000000",
    "啊啊啊啊 哈哈哈",
    "!!!! ???? ....",
    "XXX医院 III级",
]


@pytest.mark.parametrize(("text", "folded", "rules"), FOLDS, ids=[text for text, *_ in FOLDS])
def test_a_disguise_is_undone_and_named(text: str, folded: str, rules: set[str]) -> None:
    found = fold(text)
    assert (found.text, set(found.rules)) == (folded, rules)
    assert found.differs


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_disguise_stays_letter_by_letter(text: str) -> None:
    found = fold(text)
    assert found.text == text
    assert not found.differs


def test_every_rule_is_shown_here() -> None:
    shown = {rule for _, _, rules in FOLDS for rule in rules}
    assert shown | {"format"} == set(RULES)


@pytest.mark.parametrize(
    ("text", "folded", "rules"),
    [
        ("\ufeffHello", "Hello", ("format",)),
        ("hello \u200bworld", "hello world", ("format",)),
        ("שלום\u200fabc", "שלוםabc", ("format",)),
        ("葛\U000e0100城", "葛城", ("format",)),
        ("Ｔ应该比Ｐ好", "T应该比P好", ("width",)),
        ("２０２６年", "2026年", ("width",)),
        ("ｺｰﾋｰ", "コーヒー", ("width",)),
        ("ﬁnd", "find", ("width",)),
    ],
)
def test_a_change_of_width_or_at_the_edge_of_a_word_is_no_reason_for_a_second_look(
    text: str, folded: str, rules: tuple[str, ...]
) -> None:
    found = fold(text)
    assert (found.text, found.rules, found.differs) == (folded, rules, False)
