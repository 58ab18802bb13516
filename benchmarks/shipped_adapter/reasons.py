"""Reasons by template: what a public source's own labels say, put as a sentence.

No public source has reasons. Where its labels say more than harmful or not, a sentence may say the same without adding
anything; such a reason names a kind of harm, never what a particular text says. Rows that get one are marked in
``label_basis``. Only a share of the rows does, so that a reason is learnt without every answer becoming a template.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

MARK: Final = "reason by template"
_SHARE = 0.4

_TEMPLATES: Final[dict[tuple[str, str, str], str]] = {
    ("cold", "topic", "region"): "冒犯某一地域的人",
    ("cold", "topic", "race"): "冒犯某一种族或族群",
    ("cold", "topic", "gender"): "冒犯某一性别",
    ("swsr", "category", "SA"): "以外貌贬低某一性别",
    ("swsr", "category", "SCB"): "以文化偏见贬低某一性别",
    ("swsr", "category", "SO"): "带有性意味的冒犯",
    ("swsr", "category", "MA"): "含蓄的性别偏见",
    ("hrde_health_rumour", "class", "rumour"): "未经证实的健康说法",
    ("davidson", "class", "hate"): "Hateful towards a group.",
    ("davidson", "class", "offensive"): "Offensive words.",
    ("constraint_covid", "class", "fake"): "A health claim that needs checking.",
    ("sms_phishing", "class", "smishing"): "Tries to get money or data by deception.",
    ("sms_phishing", "class", "spam"): "Unwanted promotion.",
    ("germeval2018", "class", "ABUSE"): "Wertet eine Gruppe ab.",
    ("germeval2018", "class", "INSULT"): "Beleidigt eine Person.",
    ("germeval2018", "class", "PROFANITY"): "Vulgäre Sprache.",
    ("offendes", "class", "OFG"): "Ofende a un grupo.",
    ("offendes", "class", "OFP"): "Ofende a una persona.",
    ("offendes", "class", "NOE"): "Lenguaje vulgar.",
    ("mlma_fr", "sentiment", "hateful"): "Haineux envers un groupe.",
    ("mlma_fr", "sentiment", "offensive"): "Propos offensants.",
    ("mlma_fr", "sentiment", "abusive"): "Propos injurieux.",
    ("mlma_ar", "sentiment", "hateful"): "كراهية تجاه مجموعة.",
    ("mlma_ar", "sentiment", "offensive"): "كلام مسيء.",
    ("mlma_ar", "sentiment", "abusive"): "شتم وإهانة.",
    ("convabuse", "types", "sex_harassment"): "Sexual harassment.",
    ("convabuse", "types", "sexist"): "Demeans women or men.",
    ("convabuse", "types", "homophobic"): "Demeans people for whom they love.",
    ("convabuse", "types", "intellectual"): "Insults somebody's intelligence.",
    ("harm_prompts", "category", "copyright"): "Asks for a protected work.",
    ("harm_prompts", "category", "chemical_biological"): "Asks for help with dangerous substances.",
    ("harm_prompts", "category", "Violence"): "Asks for help with violence.",
    ("harm_prompts", "category", "Non-violent crimes"): "Asks for help with a crime.",
    ("harm_prompts", "category", "Illegal goods and services"): "Asks for illegal goods or services.",
    ("harm_prompts", "category", "Disinformation and deception"): "Asks for help with deception.",
    ("harm_prompts", "category", "Hate, harassment and discrimination"): "Asks for hate or harassment.",
}
_EVERY_ROW: Final = {"jailbreak_templates": "Tries to make a model drop its rules."}


def reason(row: dict[str, Any]) -> str | None:
    """The sentence for a row's labels; None where they say nothing more, or for rows outside the share."""
    return None if row.get("reason") or _outside(row["id"]) else sentence(row)


def sentence(row: dict[str, Any]) -> str | None:
    """The sentence for a row's labels, whatever its share; None where they say nothing more."""
    if row["severity"] == "safe":
        return None
    source = row["source"]
    if source in _EVERY_ROW:
        return _EVERY_ROW[source]
    for key, value in (row.get("source_labels") or {}).items():
        for one in value if isinstance(value, list) else [value]:
            if (found := _TEMPLATES.get((source, key, str(one)))) is not None:
                return found
    return None


def _outside(row_id: str) -> bool:
    drawn = int.from_bytes(hashlib.blake2b(row_id.encode(), digest_size=7, person=b"reason").digest())
    return drawn / 2**56 >= _SHARE
