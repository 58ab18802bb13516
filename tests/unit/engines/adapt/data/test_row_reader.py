"""Documents to rows: the plain form, the Chinese form, and reviewers' corrections."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.adapt.data.row_reader import CHINESE_CATEGORIES as IN_CHINESE
from sluicegate.engines.adapt.data.row_reader import RowReader
from sluicegate.engines.adapt.data.rows import RIGHT, Row
from sluicegate.engines.adapt.errors import FaultyRow, PrepareError, RowFault
from sluicegate.pipeline.client.renderings import RenderedFinding, to_chinese
from sluicegate.schemas import CATEGORIES
from support.labelled import row

FEEDBACK = Path(__file__).parents[4] / "golden" / "v1.0" / "feedback"
TEXT = "这个基金保本、年化25%稳赚不赔"


def read(document: dict[str, Any], **options: Any) -> Row | list[RowFault]:
    return RowReader(**options).read(document, name="file", line=7)


def good(document: dict[str, Any], **options: Any) -> Row:
    found = read(document, **options)
    assert isinstance(found, Row), found
    return found


def faults(document: dict[str, Any], **options: Any) -> dict[str, str]:
    found = read(document, **options)
    assert isinstance(found, list)
    assert all(fault.right for fault in found)
    return {fault.field: fault.wrong for fault in found}


def test_a_row_needs_a_text_a_severity_and_where_it_is_harmful_its_categories() -> None:
    found = good({"text": "a", "severity": "safe"}, kind="prompt", language="de")
    assert found.document() == {
        "id": "file:7",
        "text": "a",
        "kind": "prompt",
        "severity": "safe",
        "categories": [],
        "language": "de",
        "source": "file",
    }
    assert faults({}) == {"text": "missing", "severity": "missing"}
    assert faults({"text": "a", "severity": "unsafe"}) == {"categories": "missing"}
    assert faults({"text": "a", "severity": "unsafe", "categories": None}) == {"categories": "missing"}
    assert good({"text": "a", "severity": "unsafe", "categories": []}).categories == ()


def test_what_a_row_says_of_itself_stays() -> None:
    document = row(
        id="x",
        kind="response",
        context=[{"role": "user", "text": "q"}],
        severity="controversial",
        categories=["Unethical Acts"],
        refusal=True,
        reason="two\n lines",
        language="zh-Hant",
        region="TW",
        tenant="bank",
        source="ours",
        licence="MIT",
        group="g",
        split="dev",
        label_basis="human",
        repeat=3,
        source_labels={"votes": 3},
    )
    assert good(document, kind="prompt", language="de").document() == {**document, "reason": "two lines"}


def test_capitals_and_numbers_that_mean_the_same_are_taken() -> None:
    found = good(row(severity=" Unsafe ", kind="Prompt", id=17, group=4, split="TRAIN"))
    assert (found.severity, found.kind, found.id, found.group, found.split) == (
        "unsafe",
        "prompt",
        "17",
        "4",
        "train",
    )


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("text", "", "empty"),
        ("text", " \n", "blank"),
        ("text", 5, "no text"),
        ("severity", "harmful", "none of the known values"),
        ("kind", "comment", "none of the known values"),
        ("repeat", 11, "not as it should be"),
        ("repeat", 0, "not as it should be"),
        ("context", [], "no text"),
        ("categories", "PII", "not as it should be"),
        ("categories", ["PII"], "not empty, but the row is safe"),
        ("refusal", True, "set, but the row is no response"),
        ("refusal", "yes", "neither true nor false"),
        ("reason", "x" * 401, "too long"),
        ("language", "en_GB", "in another shape"),
        ("region", "germany", "too long"),
        ("tenant", "a b", "in another shape"),
        ("id", "a\u202eb", "in another shape"),
        ("split", "test", "none of the known values"),
        ("source", "a\nb", "in another shape"),
        ("source_labels", {str(n): n for n in range(65)}, "too many entries"),
    ],
)
def test_each_fault_is_named_with_what_would_be_right(field: str, value: object, said: str) -> None:
    assert faults(row(**{field: value})) == {field: said}


def test_all_faults_of_a_row_are_told_at_once() -> None:
    found = faults(row(severity="bad", kind="bad", language="x", categories=["A"]))
    assert found.keys() == {"severity", "kind", "language", "categories"}


def test_every_field_has_a_sentence_about_what_would_be_right() -> None:
    assert RIGHT.keys() == Row.model_fields.keys()


@given(value=st.text(min_size=3, max_size=40))
def test_nothing_of_a_row_stands_in_the_sentence_of_its_fault(value: str) -> None:
    marked = f"\u2603{value}\u2603"
    for field in ("severity", "kind", "split", "language", "categories", "tenant"):
        found = read(row(**{field: [marked] if field == "categories" else marked}))
        assert isinstance(found, list)
        assert all("\u2603" not in FaultyRow("f", 1, fault).sentence for fault in found)


def test_an_unknown_category_is_told_which_one_was_meant_and_how_to_go_on() -> None:
    found = read(row(severity="unsafe", categories=["Jailbrake", "金融欺诈"]))
    assert isinstance(found, list)
    assert [fault.right for fault in found] == [
        "perhaps Jailbreak",
        "map it (--map-category NAME=KNOWN) or declare it (--extra-category NAME)",
    ]
    assert [fault.value for fault in found] == ["Jailbrake", "金融欺诈"]


def test_names_of_categories_can_be_mapped_and_declared() -> None:
    document = row(severity="unsafe", categories=["Scam", "Fraud", "Violent", "None"])
    found = good(document, category_map={"Scam": "Fraud"}, extra_categories=["Fraud"])
    assert found.categories == ("Fraud", "Violent")
    for wrong in (
        {"category_map": {"a": "b"}},
        {"extra_categories": ["a, b"]},
        {"extra_categories": ["None"]},
    ):
        with pytest.raises(PrepareError, match="cannot be used"):
            RowReader(**wrong)


def test_a_jailbreak_is_for_what_goes_to_a_model() -> None:
    document = row(severity="unsafe", categories=["Jailbreak"])
    assert good({**document, "kind": "prompt"}).categories == ("Jailbreak",)
    assert faults({**document, "kind": "response"}) == {"categories": "Jailbreak on a response"}


def test_names_of_fields_that_mean_nothing_are_counted_if_they_look_like_names() -> None:
    reader = RowReader()
    for document in (row(catgories=[]), row(catgories=[], verdict_id="v"), row(**{"words of a text!": 1})):
        assert isinstance(reader.read(document, name="f", line=1), Row)
    assert reader.unused_fields == {"catgories": 2, "verdict_id": 1}


CHINESE = {
    "text": TEXT,
    "severity": "unsafe",
    "categories": ("Non-violent Illegal Acts",),
    "reason": "承诺保本",
}


@pytest.mark.parametrize(
    "output",
    [
        "风险等级：不安全 理由：承诺保本 类型：非暴力违法行为",
        "风险等级:不安全,理由:承诺保本,类型:非暴力违法行为",
        "风险等级：不安全\n理由：承诺保本。\n类型：非暴力违法行为。",
        " 类型：Non-violent Illegal Acts；理由：承诺保本；风险等级：不安全；",
        "风险等级：不安全；类型：金融欺诈；理由：承诺保本",
    ],
    ids=["spaces", "half width", "lines", "another order", "mapped"],
)
def test_the_chinese_form_is_read_in_either_width_and_any_order(output: str) -> None:
    document = {"instruction": "判断风险", "input": TEXT, "output": output}
    found = good(document, category_map={"金融欺诈": "Non-violent Illegal Acts"})
    assert found.model_dump(include=set(CHINESE)) == CHINESE
    assert found.language == "zh"


@pytest.mark.parametrize(
    ("word", "severity"), [("安全", "safe"), ("有争议", "controversial"), ("不安全", "unsafe")]
)
def test_the_three_words_for_severity(word: str, severity: str) -> None:
    found = good({"input": TEXT, "output": f"风险等级：{word} 理由：无 类型：无", "language": "zh-Hans"})
    assert (found.severity, found.categories, found.reason, found.language) == (severity, (), None, "zh-Hans")


def test_what_the_pipeline_renders_in_chinese_is_read_back() -> None:
    assert tuple(IN_CHINESE.values()) == CATEGORIES
    finding = RenderedFinding("controversial", CATEGORIES[:-1], refusal=False, reason="含有攻击性")
    found = good({"input": "答", "kind": "response", "output": to_chinese(finding)})
    assert (found.severity, found.categories, found.refusal, found.reason) == (
        "controversial",
        CATEGORIES[:-1],
        False,
        "含有攻击性",
    )


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"input": TEXT, "output": "不安全"}, "output"),
        ({"input": TEXT, "output": "风险等级：危险 理由：a 类型：无"}, "output"),
        ({"input": TEXT, "output": "风险等级：安全 风险等级：不安全"}, "output"),
        ({"input": TEXT, "output": "我认为 风险等级：安全"}, "output"),
        ({"input": TEXT, "output": 3}, "output"),
        ({"input": " ", "output": "风险等级：安全"}, "input"),
        ({"instruction": TEXT, "output": "风险等级：安全"}, "input"),
        ({"input": TEXT, "output": "风险等级：不安全 理由：a 类型：金融欺诈"}, "categories"),
        ({"input": TEXT, "output": "风险等级：安全 理由：a 类型：暴力"}, "categories"),
    ],
    ids=[
        "no key",
        "no level",
        "twice",
        "words before",
        "number",
        "blank",
        "no input",
        "unknown",
        "safe with one",
    ],
)
def test_what_is_not_the_chinese_form_is_a_fault(document: dict[str, Any], field: str) -> None:
    assert list(faults(document)) == [field]


def feedback(name: str, **changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FEEDBACK / f"{name}.json").read_text())
    return {**document, **changes}


def test_a_correction_becomes_a_row_that_says_where_it_comes_from() -> None:
    found = good(feedback("with_everything"), extra_categories=["Advance Fee"], language="de")
    assert found.document() == {
        "id": "feedback:5d1c9d7e-55c8-5a0e-8a5e-7e0f2c8f6b02",
        "text": "Send the fee first; the prize is guaranteed.",
        "kind": "response",
        "context": [{"role": "user", "text": "How do I claim the prize?"}],
        "severity": "unsafe",
        "categories": ["Non-violent Illegal Acts", "Advance Fee"],
        "refusal": False,
        "reason": "asks for money up front for a prize",
        "language": "en",
        "region": "GB",
        "tenant": "bank",
        "source": "feedback",
        "label_basis": "review",
        "verdict_id": "5d1c9d7e-55c8-5a0e-8a5e-7e0f2c8f6b02",
        "blind": False,
        "reviewed_at": "2026-03-02T10:30:00.500000+01:00",
    }
    assert good(feedback("minimal")).label_basis == "review-blind"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"severity": None}, {"severity": "none of the known values"}),
        ({"post": {"id": "a", "text": ""}}, {"post.text": "empty"}),
        ({"post": {"id": "a"}}, {"post.text": "missing"}),
        ({"categories": ["Violent"]}, {"severity, categories and refusal": "do not fit together"}),
        ({"reviewed_at": "yesterday"}, {"reviewed_at": "no date and time"}),
        ({"severity": "unsafe", "categories": ["Own"]}, {"categories": "a name that is not known"}),
        ({"basis": "vote"}, {"basis": "vote, and no correction"}),
        ({"basis": "golden"}, {"basis": "golden, and no correction"}),
    ],
)
def test_a_correction_that_is_none_is_a_fault(changes: dict[str, Any], said: dict[str, str]) -> None:
    assert faults(feedback("minimal", **changes)) == said


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)
names = st.sampled_from([*Row.model_fields, "input", "output", "post"])


@given(document=st.dictionaries(names, values, max_size=8))
def test_any_document_is_a_row_or_has_faults(document: dict[str, Any]) -> None:
    found = read(document)
    assert isinstance(found, Row) or found


def test_a_row_that_says_which_verdict_it_corrects_is_a_correction() -> None:
    corrects = {"verdict_id": "v", "blind": True, "reviewed_at": "2026-11-02T08:00:00Z"}
    found = good(row(**corrects))
    assert (found.verdict_id, found.blind) == ("v", True)
    assert found.reviewed_at is not None
    part = good(row(verdict_id="v", blind=True))
    assert (part.verdict_id, part.blind) == (None, None)
