"""Calibration: a distribution stays one, order is kept, the right group is applied, and files are read strictly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.bundle.calibration import (
    CALIBRATION_BYTES,
    Calibration,
    Group,
    Isotonic,
    Temperature,
    Threshold,
)
from sluicegate.engines.errors import BundleError
from sluicegate.schemas import Scores
from support.small_bundle import file_entry, small_manifest, write_small_bundle

if TYPE_CHECKING:
    from pathlib import Path

DATA = f"sha256:{'0' * 64}"
SAME = Temperature(temperature=1.0)


def document(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "data": DATA, "fallback": {"method": "temperature", "temperature": 2.0}, **changes}


def calibration(**changes: Any) -> Calibration:
    return Calibration.parse(orjson.dumps(document(**changes)))


def isotonic(risk: list[list[float]], unsafe: list[list[float]]) -> dict[str, Any]:
    return {"method": "isotonic", "risk": risk, "unsafe": unsafe}


@st.composite
def scores(draw: st.DrawFn) -> Scores:
    """Any distribution that an engine may give: certain ones, and ones with next to nothing left."""
    weights = [draw(st.sampled_from([0.0, 5e-324, 1e-300, 1e-12]) | st.floats(0, 1)) for _ in range(3)]
    total = math.fsum(weights)
    if not total > 1e-290:
        weights, total = [1.0, 0.0, 0.0], 1.0
    safe, controversial, unsafe = (weight / total for weight in weights)
    return Scores(safe=safe, controversial=controversial, unsafe=unsafe)


@st.composite
def lines(draw: st.DrawFn) -> list[list[float]]:
    raw = sorted(draw(st.sets(st.floats(0, 1), min_size=1, max_size=6)))
    calibrated = sorted(draw(st.lists(st.floats(0, 1), min_size=len(raw), max_size=len(raw))))
    return [[before, after] for before, after in zip(raw, calibrated, strict=True)]


mappings = st.builds(Temperature, temperature=st.floats(0.05, 20)) | st.builds(
    lambda risk, unsafe: Isotonic.model_validate(isotonic(risk, unsafe)), lines(), lines()
)


@given(scores(), mappings)
def test_what_comes_out_is_a_distribution(raw: Scores, mapping: Temperature | Isotonic) -> None:
    found = mapping.apply(raw)
    parts = (found.safe, found.controversial, found.unsafe)
    assert all(0 <= part <= 1 for part in parts)  # not a number is neither
    assert math.fsum(parts) == pytest.approx(1, abs=1e-9)


@given(scores(), st.floats(0.05, 20))
def test_a_temperature_keeps_the_order_of_the_labels(raw: Scores, temperature: float) -> None:
    found = Temperature(temperature=temperature).apply(raw)
    for one, other in (("safe", "controversial"), ("safe", "unsafe"), ("controversial", "unsafe")):
        before = getattr(raw, one) - getattr(raw, other)
        after = getattr(found, one) - getattr(found, other)
        assert before * after >= 0


@given(scores())
def test_a_temperature_of_one_changes_nothing_and_above_one_is_less_sure(raw: Scores) -> None:
    same, cooler = SAME.apply(raw), Temperature(temperature=3.0).apply(raw)
    for name in ("safe", "controversial", "unsafe"):
        assert getattr(same, name) == pytest.approx(getattr(raw, name), abs=1e-9)
    top = max(raw.safe, raw.controversial, raw.unsafe)
    assert max(cooler.safe, cooler.controversial, cooler.unsafe) <= top + 1e-9


@given(scores(), scores(), lines(), lines())
def test_more_risk_never_becomes_less_along_isotonic_lines(
    one: Scores, other: Scores, risk: list[list[float]], unsafe: list[list[float]]
) -> None:
    mapping = Isotonic.model_validate(isotonic(risk, unsafe))
    lower, higher = sorted((one, other), key=lambda raw: min(raw.controversial + raw.unsafe, 1.0))
    assert mapping.apply(lower).safe >= mapping.apply(higher).safe - 1e-12


def test_isotonic_lines_are_straight_between_knots_and_flat_outside() -> None:
    mapping = Isotonic.model_validate(isotonic([[0.2, 0.1], [0.6, 0.5]], [[0.5, 0.25]]))

    def risk_of(raw: float) -> float:
        return 1 - mapping.apply(Scores(safe=1 - raw, controversial=raw, unsafe=0.0)).safe

    assert [round(risk_of(raw), 9) for raw in (0.0, 0.2, 0.4, 0.6, 1.0)] == [0.1, 0.1, 0.3, 0.5, 0.5]
    found = mapping.apply(Scores(safe=0.4, controversial=0.1, unsafe=0.5))
    assert found.unsafe == pytest.approx(0.5 * 0.25)
    assert found.controversial == pytest.approx(0.5 * 0.75)


def test_kind_and_language_choose_the_group_the_rest_of_its_kind_or_the_fallback() -> None:
    def group(kind: str, temperature: float, *languages: str) -> dict[str, Any]:
        mapping = {"method": "temperature", "temperature": temperature}
        return {"kind": kind, "languages": languages, "rows": 1, "mapping": mapping}

    found = calibration(
        groups=[group("post", 3.0), group("post", 4.0, "zh", "ja"), group("prompt", 5.0, "en")]
    )

    def temperature(kind: Any, language: str | None) -> float:
        chosen = found.group(kind, language)
        mapping = chosen.mapping if chosen is not None else found.fallback
        assert isinstance(mapping, Temperature)
        raw = Scores(safe=0.7, controversial=0.2, unsafe=0.1)
        assert found.calibrated(raw, kind, language) == mapping.apply(raw)
        return mapping.temperature

    assert temperature("post", "zh") == temperature("post", "ZH-Hant-TW") == temperature("post", "ja") == 4.0
    assert temperature("post", "en") == temperature("post", None) == temperature("post", "zho") == 3.0
    assert temperature("prompt", "en-GB") == 5.0
    assert temperature("prompt", "de") == temperature("prompt", None) == temperature("response", "zh") == 2.0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"version": 2}, "calibration.json: version: "),
        ({"data": "abc"}, "calibration.json: data: "),
        ({"more": 1}, "calibration.json: more: "),
        ({"fallback": {"method": "temperature", "temperature": 0.0}}, "fallback.temperature.temperature: "),
        ({"fallback": {"method": "temperature", "temperature": "2"}}, "fallback.temperature.temperature: "),
        ({"fallback": {"method": "platt"}}, "calibration.json: fallback: "),
        ({"fallback": isotonic([], [[0.5, 0.5]])}, "fallback.isotonic.risk: "),
        ({"fallback": isotonic([[0.5, 1.5]], [[0.5, 0.5]])}, "fallback.isotonic.risk.0.1: "),
        (
            {"fallback": isotonic([[0.5, 0.5]], [[0.2, 0.6], [0.4, 0.5]])},
            "unsafe: after the knot [0.2, 0.6] comes [0.4, 0.5]; raw values must rise",
        ),
        ({"fallback": isotonic([[0.5, 0.5], [0.5, 0.6]], [[0.5, 0.5]])}, "risk: after the knot [0.5, 0.5]"),
        (
            {
                "groups": [
                    {"kind": "post", "rows": 1, "mapping": {"method": "temperature", "temperature": 1}}
                ]
                * 2
            },
            "groups: two hold post in the other languages; keep one",
        ),
        ({"groups": [{"kind": "post", "languages": ["zh-Hant"], "rows": 1}]}, "groups.0.languages.0: "),
    ],
)
def test_a_file_that_says_something_else_is_refused_by_field(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BundleError) as refused:
        calibration(**changes)
    assert sentence in str(refused.value)
    assert str(refused.value).endswith("; calibrate again")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"NaN", b"[" * 100_000, b" " * (CALIBRATION_BYTES + 1)])
def test_what_is_no_such_file_is_refused(raw: bytes) -> None:
    with pytest.raises(BundleError, match=r"^calibration\.json: "):
        Calibration.parse(raw)


def test_what_is_written_is_read_again() -> None:
    threshold = Threshold(measure="risk", value=0.83, false_positive_rate=0.0099, recall=0.7)
    made = Calibration(
        data=DATA,
        groups=(
            Group(kind="post", languages=("en",), rows=9, mapping=SAME, thresholds={"fpr_1": threshold}),
        ),
        fallback=Isotonic(risk=((0.1, 0.2),), unsafe=((0.1, 0.2),)),
        thresholds={"fpr_5": threshold},
    )
    assert Calibration.parse(made.model_dump_json().encode()) == made


def test_a_bundle_brings_its_calibration_and_another_one_is_another_bundle(tmp_path: Path) -> None:
    def bundle(name: str, raw: bytes) -> Bundle:
        manifest = small_manifest()
        manifest["files"]["calibration"] = file_entry("calibration.json", raw)
        folder = write_small_bundle(tmp_path / name, manifest)
        (folder / "calibration.json").write_bytes(raw)
        return Bundle.open(folder)

    plain = Bundle.open(write_small_bundle(tmp_path / "plain"))
    one = bundle("one", orjson.dumps(document()))
    other = bundle("other", orjson.dumps(document(fallback={"method": "temperature", "temperature": 1.0})))
    assert plain.calibration is None
    assert one.calibration == calibration()
    assert len({plain.digest, one.digest, other.digest}) == 3
    with pytest.raises(BundleError, match=r"^calibration\.json: data: "):
        bundle("wrong", orjson.dumps(document(data="x")))
    (one.path / "calibration.json").write_bytes(orjson.dumps(document(version=1.0)))
    with pytest.raises(BundleError, match=r"calibration\.json: files\.calibration\.(bytes|sha256)"):
        Bundle.open(one.path, verify=False)
