"""Renderings: a finding as lines of text, and back. Pure.

Two forms of the same fields, for consumers that take text. The line form is the shape in which
the model itself answers::

    Safety: Unsafe
    Categories: Violent, PII
    Refusal: No
    Reason: names a person and threatens them

``Refusal`` stands for responses only, ``Reason`` where there is one. The Chinese form always has
three lines, and 拒答 as a fourth for responses::

    风险等级：不安全
    理由：names a person and threatens them
    类型：暴力、个人身份信息

A reason stays in the language it was written in. Categories beyond the nine known ones pass
through under their own names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from sluicegate.engines.text.parsing import one_line
from sluicegate.schemas import NO_CATEGORY, Severity, Verdict

_SEVERITIES: dict[Severity | None, str] = {
    "safe": "Safe",
    "controversial": "Controversial",
    "unsafe": "Unsafe",
    None: "Not judged",
}
_SEVERITIES_IN_CHINESE: dict[Severity | None, str] = {
    "safe": "安全",
    "controversial": "有争议",
    "unsafe": "不安全",
    None: "未判定",
}
_CATEGORIES_IN_CHINESE = {
    "Violent": "暴力",
    "Non-violent Illegal Acts": "非暴力违法行为",
    "Sexual Content or Sexual Acts": "色情或性行为",
    "PII": "个人身份信息",
    "Suicide & Self-Harm": "自杀与自残",
    "Unethical Acts": "不道德行为",
    "Politically Sensitive Topics": "政治敏感话题",
    "Copyright Violation": "侵犯版权",
    "Jailbreak": "越狱攻击",
}
_NONE_IN_CHINESE = "无"

_SEVERITIES_BACK = {text: severity for severity, text in _SEVERITIES.items()}
_SEVERITIES_BACK_FROM_CHINESE = {text: severity for severity, text in _SEVERITIES_IN_CHINESE.items()}
_CATEGORIES_BACK_FROM_CHINESE = {text: name for name, text in _CATEGORIES_IN_CHINESE.items()}

_LINES = re.compile(
    r"Safety: (?P<severity>[^\n]+)\nCategories: (?P<categories>[^\n]+)"
    r"(?:\nRefusal: (?P<refusal>Yes|No))?(?:\nReason: (?P<reason>[^\n]+))?"
)
_CHINESE = re.compile(
    r"风险等级：(?P<severity>[^\n]+)\n理由：(?P<reason>[^\n]*)\n类型：(?P<categories>[^\n]+)"
    r"(?:\n拒答：(?P<refusal>是|否))?"
)


@dataclass(frozen=True, slots=True)
class RenderedFinding:
    """What both forms say."""

    severity: Severity | None
    """None where the post could not be scored."""
    categories: tuple[str, ...] = ()
    refusal: bool | None = None
    reason: str | None = None

    @classmethod
    def of(cls, verdict: Verdict) -> Self:
        """The finding that a verdict carries."""
        return cls(verdict.severity, verdict.categories, verdict.refusal, verdict.reason)


def to_lines(finding: RenderedFinding) -> str:
    """The line form. Whatever a name or a reason holds, it can begin no line of its own."""
    lines = [
        f"Safety: {_SEVERITIES[finding.severity]}",
        f"Categories: {', '.join(_names(finding, ',')) or NO_CATEGORY}",
    ]
    if finding.refusal is not None:
        lines.append(f"Refusal: {'Yes' if finding.refusal else 'No'}")
    if reason := one_line(finding.reason or ""):
        lines.append(f"Reason: {reason}")
    return "\n".join(lines)


def from_lines(text: str) -> RenderedFinding | None:
    """The finding that the line form says; None if the text is anything else."""
    shape = _LINES.fullmatch(text)
    if shape is None or shape["severity"] not in _SEVERITIES_BACK:
        return None
    names = shape["categories"]
    return RenderedFinding(
        severity=_SEVERITIES_BACK[shape["severity"]],
        categories=() if names == NO_CATEGORY else tuple(names.split(", ")),
        refusal={"Yes": True, "No": False}.get(shape["refusal"]),
        reason=shape["reason"],
    )


def to_chinese(finding: RenderedFinding) -> str:
    """The Chinese form. Whatever a name or a reason holds, it can begin no line of its own."""
    names = [_CATEGORIES_IN_CHINESE.get(name, name) for name in _names(finding, "、")]
    lines = [
        f"风险等级：{_SEVERITIES_IN_CHINESE[finding.severity]}",
        f"理由：{one_line(finding.reason or '') or ''}",
        f"类型：{'、'.join(names) or _NONE_IN_CHINESE}",
    ]
    if finding.refusal is not None:
        lines.append(f"拒答：{'是' if finding.refusal else '否'}")
    return "\n".join(lines)


def from_chinese(text: str) -> RenderedFinding | None:
    """The finding that the Chinese form says, with the names of categories as the model has them."""
    shape = _CHINESE.fullmatch(text)
    if shape is None or shape["severity"] not in _SEVERITIES_BACK_FROM_CHINESE:
        return None
    names = () if shape["categories"] == _NONE_IN_CHINESE else shape["categories"].split("、")
    return RenderedFinding(
        severity=_SEVERITIES_BACK_FROM_CHINESE[shape["severity"]],
        categories=tuple(_CATEGORIES_BACK_FROM_CHINESE.get(name, name) for name in names),
        refusal={"是": True, "否": False}.get(shape["refusal"]),
        reason=shape["reason"] or None,
    )


def _names(finding: RenderedFinding, separator: str) -> list[str]:
    """Category names that a list can hold; what separates names becomes a space inside one."""
    cleaned = (one_line(name.replace(separator, " ")) for name in finding.categories)
    return [name for name in cleaned if name]
