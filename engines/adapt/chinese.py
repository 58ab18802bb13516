"""The Chinese form: a record whose output says 风险等级, 理由 and 类型, to the fields of a row. Pure.

Both widths of punctuation, any order of the three, on one line or several. What a model is told
(``instruction``) is passed over; the text to judge stands in ``input``.
"""

from __future__ import annotations

import re
from typing import Any

from sluicegate.engines.adapt.errors import Fault

SEVERITIES = {"安全": "safe", "有争议": "controversial", "不安全": "unsafe"}
CATEGORIES = {
    "暴力": "Violent",
    "非暴力违法行为": "Non-violent Illegal Acts",
    "色情或性行为": "Sexual Content or Sexual Acts",
    "个人身份信息": "PII",
    "自杀与自残": "Suicide & Self-Harm",
    "不道德行为": "Unethical Acts",
    "政治敏感话题": "Politically Sensitive Topics",
    "侵犯版权": "Copyright Violation",
    "越狱攻击": "Jailbreak",
}
_NONE = frozenset({"", "无", "None", "none"})
_REFUSALS = {"是": True, "否": False}

_KEY = re.compile(r"(?:^|(?<=[\s,，;；。.|、]))(风险等级|理由|类型|拒答)[ \t]*[:：]")
_EDGE = " \t\r\n,，;；。.|、"
_BETWEEN_NAMES = re.compile(r"[、,，;；/|]")
_SHAPE = "write 风险等级：安全, 有争议 or 不安全, then 理由：… and 类型：…"


def is_chinese_form(document: dict[str, Any]) -> bool:
    """True if the record has an output and no severity of its own."""
    return "output" in document and "severity" not in document


def from_chinese(document: dict[str, Any]) -> dict[str, Any] | Fault:
    """The record with ``text``, ``severity``, ``categories``, ``reason`` and ``refusal`` in place of its output.

    Its other fields stay, and a language it does not name is ``zh``. Names of categories that are
    not among the nine stay as they are.
    """
    output, text = document.get("output"), document.get("input")
    if not isinstance(output, str):
        return Fault("output", "no text", _SHAPE)
    if not isinstance(text, str) or not text.strip():
        return Fault("input", "no text", "write the text to judge in input, the task in instruction")
    said = _parts(output)
    if said is None:
        return Fault("output", "not in the Chinese form, or a part stands twice", _SHAPE, output)
    severity = SEVERITIES.get(said["风险等级"])
    if severity is None:
        return Fault("output", "风险等级 is none of the three", _SHAPE, said["风险等级"])
    rest = {name: value for name, value in document.items() if name not in {"input", "instruction", "output"}}
    row: dict[str, Any] = {
        "language": "zh",
        **rest,
        "text": text,
        "severity": severity,
        "categories": _categories(said.get("类型", "")),
    }
    if said.get("理由", "") not in _NONE:
        row["reason"] = said["理由"]
    if "拒答" in said:
        row["refusal"] = _REFUSALS.get(said["拒答"], said["拒答"])
    return row


def _parts(output: str) -> dict[str, str] | None:
    found = list(_KEY.finditer(output))
    names = [match[1] for match in found]
    if "风险等级" not in names or len(set(names)) < len(names) or output[: found[0].start()].strip():
        return None
    ends = [*(match.start() for match in found[1:]), len(output)]
    return {match[1]: output[match.end() : end].strip(_EDGE) for match, end in zip(found, ends, strict=True)}


def _categories(text: str) -> list[str]:
    names = (part.strip() for part in _BETWEEN_NAMES.split(text))
    return [CATEGORIES.get(name, name) for name in names if name not in _NONE]
