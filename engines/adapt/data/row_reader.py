"""Row reader: a document of any of the three forms to a row, or to what is wrong with it. Pure."""

from __future__ import annotations

import re
from collections import Counter
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sluicegate.engines.adapt.data.rows import CORRECTION, FIELDS, MADE_IN_FILE, RIGHT, Row
from sluicegate.engines.adapt.errors import PrepareError, RowFault
from sluicegate.engines.text.parsing import PROMPT_ONLY
from sluicegate.schemas import CATEGORIES, NO_CATEGORY, Feedback, Post

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


CHINESE_SEVERITIES = {"安全": "safe", "有争议": "controversial", "不安全": "unsafe"}
CHINESE_CATEGORIES = {
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


def from_chinese(document: dict[str, Any]) -> dict[str, Any] | RowFault:
    """The record with ``text``, ``severity``, ``categories``, ``reason`` and ``refusal`` in place of its output.

    Its other fields stay, and a language it does not name is ``zh``. Names of categories that are
    not among the nine stay as they are.
    """
    output, text = document.get("output"), document.get("input")
    if not isinstance(output, str):
        return RowFault("output", "no text", _SHAPE)
    if not isinstance(text, str) or not text.strip():
        return RowFault("input", "no text", "write the text to judge in input, the task in instruction")
    said = _parts(output)
    if said is None:
        return RowFault("output", "not in the Chinese form, or a part stands twice", _SHAPE, output)
    severity = CHINESE_SEVERITIES.get(said["风险等级"])
    if severity is None:
        return RowFault("output", "风险等级 is none of the three", _SHAPE, said["风险等级"])
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
    return [CHINESE_CATEGORIES.get(name, name) for name in names if name not in _NONE]


_WRONG = {
    "missing": "missing",
    "string_type": "no text",
    "bool_type": "neither true nor false",
    "bool_parsing": "neither true nor false",
    "literal_error": "none of the known values",
    "string_pattern_mismatch": "in another shape",
    "string_too_long": "too long",
    "string_too_short": "empty",
    "too_long": "too many entries",
    "date_time": "no date and time",
    "json_invalid": "no JSON object",
}
_FIELD_NAME = re.compile(r"[a-z_][a-z0-9_]{0,30}", re.IGNORECASE)
_MOST_UNUSED = 1000  # names kept; a hostile file could have one of its own in every row


class RowReader:
    """Turns documents into rows.

    Args:
        kind: What a row is that does not say it.
        language: Language of rows that do not say it; None leaves them without.
        extra_categories: Names beside the nine.
        category_map: Names of the input to names that count; both may be anything.

    Raises:
        PrepareError: A category of the map leads to a name that does not count.
    """

    def __init__(
        self,
        *,
        kind: str = "post",
        language: str | None = None,
        extra_categories: Sequence[str] = (),
        category_map: Mapping[str, str] | None = None,
    ) -> None:
        self._kind = kind
        self._language = language
        self._map = dict(category_map or {})
        self.categories = (*CATEGORIES, *extra_categories)
        self.unused_fields: Counter[str] = Counter()
        """Names of fields that no row has, with their counts; only what looks like a name."""
        for name in {*self._map.values(), *extra_categories}:
            if name not in self.categories or not name.strip() or name == NO_CATEGORY or "," in name:
                raise PrepareError(
                    f"the category {name!r} cannot be used: name one of the nine ({', '.join(CATEGORIES)}), "
                    "or declare it with --extra-category; no commas"
                )

    def read(self, document: dict[str, Any], *, name: str, line: int) -> Row | list[RowFault]:
        """The row that a document says, or everything that is wrong with it.

        Args:
            document: A labelled row, a record of the Chinese form, or :class:`Feedback`.
            name: Name of the file without its ending: the source of rows that name none.
            line: Line of the file, for the id of rows that have none.
        """
        fields: dict[str, Any] | list[RowFault]
        if "post" in document and "verdict_id" in document:
            fields = _correction(document)
        else:
            plain = from_chinese(document) if is_chinese_form(document) else document
            fields = [plain] if isinstance(plain, RowFault) else self._own_fields(plain)
        if isinstance(fields, list):
            return fields
        fields.setdefault("id", f"{name}:{line}")
        fields.setdefault("source", name)
        fields.setdefault("kind", self._kind)
        _settle_scalars(fields)
        if self._language is not None:
            fields.setdefault("language", self._language)
        faults = self._settle_categories(fields)
        try:
            row = Row.model_validate(fields)
        except ValidationError as error:
            return field_faults(error, fields) + faults
        return faults + _contradictions(row) or row

    def _own_fields(self, document: dict[str, Any]) -> dict[str, Any]:
        named = {name for name, value in document.items() if value is not None}
        known = FIELDS if named >= CORRECTION else MADE_IN_FILE
        for name in document.keys() - known:
            if _FIELD_NAME.fullmatch(name) and (
                name in self.unused_fields or len(self.unused_fields) < _MOST_UNUSED
            ):
                self.unused_fields[name] += 1
        return {name: value for name, value in document.items() if name in known and value is not None}

    def _settle_categories(self, fields: dict[str, Any]) -> list[RowFault]:
        """Map the names in place; those that remain unknown are faults."""
        given = fields.get("categories")
        if given is None:
            if str(fields.get("severity", "")).strip().casefold() in ("", "safe"):
                return []
            return [RowFault("categories", "missing", RIGHT["categories"])]
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            return []  # the row's own type says it better
        names = list(dict.fromkeys(self._map.get(one, one) for one in given))
        fields["categories"] = [one for one in names if one != NO_CATEGORY]
        return [
            RowFault("categories", "a name that is not known", self._fix(one), one)
            for one in fields["categories"]
            if one not in self.categories
        ]

    def _fix(self, name: str) -> str:
        close = get_close_matches(name[:64], self.categories, n=1)
        if close:
            return f"perhaps {close[0]}"
        return "map it (--map-category NAME=KNOWN) or declare it (--extra-category NAME)"


def _correction(document: dict[str, Any]) -> dict[str, Any] | list[RowFault]:
    try:
        feedback = Feedback.model_validate(document)
    except ValidationError as error:
        return field_faults(
            error, document, "write it as the Feedback schema says: sluicegate schema export FOLDER"
        )
    if not feedback.corrects:
        fix = "leave it out: it says how a person read, and corrects no verdict"
        return [RowFault("basis", f"{feedback.basis}, and no correction", fix)]
    post = feedback.post
    fields: dict[str, Any] = {
        "id": f"feedback:{feedback.verdict_id}"[:256],
        "source": "feedback",
        "text": post.text,
        "kind": post.kind,
        "context": post.context if isinstance(post.context, str) else post.context and list(post.context),
        "severity": feedback.severity,
        "categories": list(feedback.categories),
        "refusal": feedback.refusal,
        "reason": feedback.reason,
        "language": post.language,
        "region": post.region,
        "tenant": post.tenant,
        "label_basis": "review-blind" if feedback.blind else "review",
        "verdict_id": feedback.verdict_id,
        "blind": feedback.blind,
        "reviewed_at": feedback.reviewed_at,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _contradictions(row: Row) -> list[RowFault]:
    found = []
    if not row.text.strip():
        found.append(RowFault("text", "blank", RIGHT["text"]))
    if row.severity == "safe" and row.categories:
        found.append(
            RowFault("categories", "not empty, but the row is safe", "write [], or another severity")
        )
    if row.refusal is not None and row.kind != "response":
        found.append(
            RowFault("refusal", "set, but the row is no response", "leave it out, or correct the kind")
        )
    if row.kind == "response" and PROMPT_ONLY in row.categories:
        found.append(RowFault("categories", f"{PROMPT_ONLY} on a response", "it is for what goes to a model"))
    return found


def _settle_scalars(fields: dict[str, Any]) -> None:
    """What is written in more than one way and means the same: numbers as ids, a reason over several lines."""
    for name in ("id", "group"):
        if isinstance(fields.get(name), int) and not isinstance(fields[name], bool):
            fields[name] = str(fields[name])
    if isinstance(fields.get("reason"), str):
        fields["reason"] = " ".join(fields["reason"].split()) or None


def field_faults(
    error: ValidationError, document: Mapping[str, Any] | None = None, right: str = ""
) -> list[RowFault]:
    """One fault a field; pydantic's own messages may quote the row, so none of them is used.

    Args:
        error: Of a row or of a feedback.
        document: What was read, for the values that stand there.
        right: What would be right; that of the field unless given.
    """
    by_field: dict[str, RowFault] = {}
    for one in error.errors(include_url=False, include_context=False):
        path = [str(part) for part in one["loc"]]
        whole = "line" if one["type"] == "json_invalid" else "severity, categories and refusal"
        field = path[0] if path else whole
        if field == "post" and path[1:] and path[1] in Post.model_fields:
            field = f"post.{path[1]}"
        if field not in by_field:
            value = (document or {}).get(field)
            by_field[field] = RowFault(
                field,
                _WRONG.get(one["type"], "not as it should be" if path else "do not fit together"),
                right or RIGHT.get(field, "write one JSON object a line"),
                value if isinstance(value, str) else None,
            )
    return list(by_field.values())
