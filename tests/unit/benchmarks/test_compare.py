"""The arithmetic of the comparison, its plan, its goals and closing line, and that a stopped run goes on."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compare import plots, report
from compare.cells import require_sound
from compare.cluster import Judged, judged_of
from compare.data import DataError, distinct, even_place, read_lines, skewed_place, stratified, stream
from compare.figures import (
    Span,
    Spread,
    at,
    difference,
    engine_figures,
    over,
    ratio,
    rise,
    spread,
    steady,
    steady_of,
)
from compare.goals import GOALS, closing_line, goal_lines
from compare.memory import Look, document, page, slope
from compare.open_loop import latencies, limit_ms
from compare.plan import (
    AIOKAFKA_EMPTY,
    ALONE,
    FAUST_EMPTY,
    FLOOR,
    FLOOR_FOLDS,
    GENERATE,
    ONE,
    OURS,
    SMALL,
    STAGES,
    SWEEP,
    THREE,
    TWO,
    Cell,
    Sizes,
    cells,
    fits,
    left_s,
    measurable,
)
from compare.run import Budget, Kept, Result, WorkFolderError, go
from compare.watch import cpu_seconds, lines

SETTING = {"sizes": {"stream": 10}, "data": "sha256:1"}


def good(**changed: float) -> dict[str, Any]:
    """Figures that keep every goal."""
    of = {
        "busy": 0.97,
        "ours": 1000.0,
        "alone": 1020.0,
        "cpu": 0.0006,
        "floor": 0.0004,
        "one": 100.0,
        "three": 290.0,
        "wall": 0.001,
        "always": 0.0042,
    } | changed
    h100 = {
        OURS: {1: {"busy_share": of["busy"], "posts_per_s": of["ours"], "wall_s_per_post": of["wall"]}},
        ALONE: {1: {"posts_per_s": of["alone"]}},
        GENERATE: {
            1: {
                "saturated_s_per_post": of["always"],
                "wall_s_per_post": 0.005,
                "cached_tokens_per_post": 220.0,
            }
        },
        SWEEP: {1: {"best": 3, "posts_per_s_at_3": 1010.0}},
    }
    worker = {
        OURS: {1: {"posts_per_s": 1600.0, "cpu_s_per_post": of["cpu"]}},
        FLOOR: {1: {"cpu_s_per_post": of["floor"]}},
        FLOOR_FOLDS: {1: {"cpu_s_per_post": 0.0005}},
        FAUST_EMPTY: {1: {"cpu_s_per_post": 0.00008}},
        AIOKAFKA_EMPTY: {1: {"cpu_s_per_post": 0.00001}},
    }
    scale = {
        ONE: {1: {"posts_per_s": of["one"]}},
        TWO: {1: {"posts_per_s": 195.0}},
        THREE: {1: {"posts_per_s": of["three"]}},
    }
    latency = {OURS: {1: {"p99_ms": 90.0, "micro_batch_ms": 50.0}}}
    return {"h100": h100, "worker": worker, "scale": scale, "latency": latency}


def test_the_steady_part_lies_between_a_tenth_and_nine_tenths_of_the_posts() -> None:
    assert steady([float(second) for second in reversed(range(101))]) == Span(10.0, 90.0, 80)
    assert Span(10.0, 90.0, 80).per_s == 1.0
    assert steady([1.0] * 50) is None
    assert steady([1.0, 2.0]) is None
    assert steady_of([(float(second), 2.0 * second) for second in range(101)]) == Span(10.0, 90.0, 160)
    assert steady_of([(1.0, 5.0)]) is None
    assert steady_of([]) is None


def test_a_sum_between_samples_lies_on_the_straight_line() -> None:
    samples = [(10.0, 0.0), (20.0, 10.0), (30.0, 10.0)]
    assert [at(samples, moment) for moment in (0, 10, 15, 20, 25, 99)] == [0, 0, 5, 10, 10, 10]
    assert rise(samples, Span(12.0, 25.0, 1)) == pytest.approx(8.0)
    assert rise(samples, Span(40.0, 50.0, 1)) is None
    assert rise(samples[:1], Span(0.0, 20.0, 1)) is None


@given(st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)), min_size=2, max_size=30))
def test_what_grows_never_falls_between_samples(raw: list[tuple[float, float]]) -> None:
    moments = sorted({moment for moment, _ in raw})
    samples = list(zip(moments, sorted(sum_ for _, sum_ in raw), strict=False))
    found = [at(samples, samples[0][0] + step * (samples[-1][0] - samples[0][0]) / 20) for step in range(21)]
    assert all(after >= before - 1e-6 * max(1.0, before) for before, after in itertools.pairwise(found))


def test_an_engines_counts_give_its_figures_in_the_steady_part() -> None:
    first = {"at_s": 0.0, "saturated_s": 0.0, "work_s": 0.0, "prompts": 0.0, "prompt_tokens": 0.0}
    first |= {"cached_tokens": 0.0, "explained": 0.0, "generated_tokens": 0.0}
    last = {"at_s": 10.0, "saturated_s": 9.5, "work_s": 8.0, "prompts": 110.0, "prompt_tokens": 1000.0}
    last |= {"cached_tokens": 600.0, "explained": 20.0, "generated_tokens": 320.0}
    found = engine_figures([first, last], Span(0.0, 10.0, 100))
    assert found == pytest.approx(
        {
            "wall_s_per_post": 0.1,
            "busy_share": 0.95,
            "saturated_s_per_post": 0.095,
            "work_share": 0.8,
            "work_s_per_post": 0.08,
            "prompts_per_post": 1.1,
            "cached_share": 0.6,
            "computed_tokens_per_post": 4.0,
            "cached_tokens_per_post": 6.0,
            "explained_per_post": 0.2,
            "generated_tokens_per_post": 3.2,
        }
    )
    assert engine_figures([], Span(0.0, 10.0, 100)) == {"wall_s_per_post": 0.1}
    bare = [{"at_s": 0.0, "saturated_s": 0.0}, {"at_s": 10.0, "saturated_s": 10.1}]
    assert engine_figures(bare, Span(0.0, 10.0, 100))["busy_share"] == 1.0


def test_ratios_are_formed_within_a_repeat_and_medians_over_all() -> None:
    done = {
        "a": {1: {"x": 10.0}, 2: {"x": 40.0}, 3: {"x": 9.0}},
        "b": {1: {"x": 10.0, "y": 5.0}, 2: {"x": 20.0, "y": 1.0}},
    }
    assert over(done, "a", "x") == Spread(10.0, 9.0, 40.0, 3)
    assert ratio(done, "a", "b", "x") == Spread(1.5, 1.0, 2.0, 2)
    assert ratio(done, "a", "b", "x", figure_below="y") == Spread(21.0, 2.0, 40.0, 2)
    assert difference(done, "a", "b", "x") == Spread(10.0, 0.0, 20.0, 2)
    assert ratio(done, "a", "c", "x") is None
    assert over(done, "a", "z") is None
    assert spread([]) is None


def test_the_closing_line_is_exactly_the_one_agreed_on() -> None:
    assert closing_line(good()) == (
        "busy 97.0 %, e2e/engine 0.980, CPU ratio 1.50 (1.20), scale 2.90, "
        "engine seconds per post: ours 0.00100 vs generate-always 0.00420 (0.238)"
    )
    assert closing_line({}) == (
        "busy – %, e2e/engine –, CPU ratio – (–), scale –, engine seconds per post: ours – vs generate-always – (–)"
    )


def test_every_goal_is_kept_or_missed_by_so_much() -> None:
    assert [line.split(":")[1].split(",")[0] for line in goal_lines(good())] == [" kept"] * len(GOALS)
    missed = goal_lines(good(busy=0.9, ours=900.0, cpu=0.00105, three=250.0, wall=0.002))
    assert [line.split(",")[0] for line in missed] == [
        "B ≥ 95.0 %: missed by 5.0 %",
        "R ≥ 0.950: missed by 0.068",
        "C ≤ 2.50: missed by 0.12",
        "F ≤ 1.40: missed by 0.70",
        "S ≥ 2.80: missed by 0.30",
        "E1/E2 ≤ 0.350: missed by 0.126",
    ]
    assert goal_lines({})[0] == "B ≥ 95.0 %: not measured"


def test_a_goal_is_judged_by_what_is_shown() -> None:
    assert GOALS["busy"].kept(94.96)
    assert not GOALS["busy"].kept(94.94)
    assert GOALS["cpu"].kept(2.504)
    assert not GOALS["cpu"].kept(2.506)


def test_generate_always_gets_the_benefit_of_the_doubt() -> None:
    """An engine that was not always saturated: ours counts all of the time, theirs only the saturated."""
    found = json.loads(json.dumps(report.as_json(about(), good())))
    assert found["goals"]["ask"]["median"] == pytest.approx(0.001 / 0.0042)


def test_systems_alternate_and_every_repeat_is_whole_before_the_next() -> None:
    plan = cells(2, ["h100", "scale"])
    assert [cell.key for cell in plan if cell.system == SWEEP] == ["h100/sweep/1"]
    first, second = ([cell for cell in plan[1:] if cell.repeat == repeat] for repeat in (1, 2))
    assert plan[1:] == first + second
    assert [cell.system for cell in second if cell.stage == "scale"] == [*STAGES["scale"]][::-1]
    assert len({cell.key for cell in cells(5, STAGES)}) == len(cells(5, STAGES))


def test_a_sample_that_one_call_of_take_holds_is_not_measured_with_it() -> None:
    plan = cells(1, STAGES)
    few, many = ([cell for cell in plan if measurable(cell, Sizes(cpu=cpu))] for cpu in (120, 256))
    assert many == plan
    assert [cell.key for cell in plan if cell not in few] == ["cpu/faust-take/1"]


def test_the_default_plan_is_expected_to_fit_its_time() -> None:
    assert left_s(cells(5, STAGES), {}) <= 38 * 60
    assert {one.name for one in fields(Sizes)} == asdict(SMALL).keys()


def test_what_a_cell_takes_is_learnt_from_its_repeats() -> None:
    cell, took = Cell("h100", OURS, 3), {("h100", OURS): [10.0, 30.0]}
    assert left_s([cell, cell], took) == 40.0
    assert fits(cell, took, remaining_s=20.0)
    assert not fits(cell, took, remaining_s=19.0)


def test_a_machine_that_is_slower_than_guessed_is_slower_in_all() -> None:
    first = Cell("h100", OURS, 1)
    guessed, other = left_s([first], {}), left_s([Cell("h100", ALONE, 1)], {})
    assert left_s([Cell("h100", ALONE, 1)], {first.kind: [3 * guessed]}) == pytest.approx(3 * other)


def test_a_stopped_run_goes_on_where_it_was(tmp_path: Path) -> None:
    plan = cells(1, ["scale"])
    asked: list[str] = []

    def measure(cell: Cell) -> dict[str, float]:
        if len(asked) == 2:
            raise KeyboardInterrupt
        asked.append(cell.key)
        return {"posts_per_s": 1.0}

    def run(kept: Kept) -> Any:
        return go(plan, kept, measure, budget=Budget(1e6), commit="abc", say=lambda _line: None)

    assert run(Kept(tmp_path, SETTING)).interrupted
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"cell": {"stage": "sca')  # killed while writing
    kept = Kept(tmp_path, SETTING)
    assert len(kept.results) == 2
    done = list(asked)
    asked.clear()
    outcome = run(kept)
    assert not outcome.interrupted
    assert done + asked == [cell.key for cell in plan]
    assert kept.stages["scale"][ONE] == {1: {"posts_per_s": 1.0}}
    assert kept.commits == ["abc"]


def test_a_line_after_one_that_broke_off_is_read(tmp_path: Path) -> None:
    kept = Kept(tmp_path, SETTING)
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"cell": {"stage": "sca')
    kept = Kept(tmp_path, SETTING)
    kept.add(Result(Cell("scale", ONE, 1), 1.0, "abc", {}))
    assert [*Kept(tmp_path, SETTING).results] == ["scale/one/1"]


def test_a_folder_of_another_run_is_refused_and_says_in_what(tmp_path: Path) -> None:
    Kept(tmp_path, SETTING)
    Kept(tmp_path, SETTING)
    with pytest.raises(WorkFolderError, match="another data; give another --work"):
        Kept(tmp_path, SETTING | {"data": "sha256:2"})


def test_nothing_is_begun_that_would_be_over_too_late(tmp_path: Path) -> None:
    now = [0.0]

    def measure(cell: Cell) -> dict[str, float]:
        now[0] += 40.0
        return {}

    plan, kept = cells(3, ["latency"]), Kept(tmp_path, SETTING)
    outcome = go(
        plan, kept, measure, budget=Budget(100.0, clock=lambda: now[0]), commit="", say=lambda _line: None
    )
    assert now[0] <= 100.0
    assert outcome.left_out == ["latency/ours/3"]


def test_a_cell_that_fails_is_named_and_its_kind_given_up_after_two(tmp_path: Path) -> None:
    asked: list[str] = []

    def measure(cell: Cell) -> dict[str, float]:
        asked.append(cell.key)
        if cell.system == TWO:
            raise RuntimeError("it ended")
        return {}

    plan, kept = cells(3, ["scale"]), Kept(tmp_path, SETTING)
    outcome = go(plan, kept, measure, budget=Budget(1e6), commit="", say=lambda _line: None)
    assert outcome.failed == {"scale/two/1": "it ended", "scale/two/2": "it ended"}
    assert "scale/two/3" not in asked
    assert "scale/three/3" in asked


def test_a_stream_comes_round_again_with_other_texts_and_ids_of_its_own() -> None:
    posts = [json.dumps({"id": "a", "text": f"text {number}"}).encode() for number in range(3)]
    found = [json.loads(line) for line in stream(posts, 7)]
    assert [one["id"] for one in found] == [f"c{number}" for number in range(7)]
    assert len({one["text"] for one in found}) == 7
    assert [json.loads(line)["text"] for line in distinct([*posts, *posts])] == ["text 0", "text 1", "text 2"]


def test_a_sample_has_every_language_and_label_with_its_share() -> None:
    def row(number: int, language: str, severity: str) -> bytes:
        post = {"id": str(number), "text": f"text {number}", "language": language}
        return json.dumps(post | {"label": {"severity": severity}}).encode()

    rows = [
        row(number, "en" if number % 4 else "de", "safe" if number % 10 else "unsafe")
        for number in range(400)
    ]
    sample = [json.loads(line) for line in stratified([*rows, *rows], 40)]
    assert len({one["text"] for one in sample}) == 40
    assert sum(one["language"] == "de" for one in sample) == 10
    assert sum(one["label"]["severity"] == "unsafe" for one in sample) == 4
    assert stratified(rows, 40) == stratified(rows, 40)
    assert len(stratified(rows, 1000)) == 400


def test_a_hot_key_has_two_posts_in_five_beside_its_share_of_the_rest() -> None:
    posts = 6000
    assert [sum(even_place(n, 6) == place for n in range(posts)) for place in range(6)] == [1000] * 6
    hot = sum(skewed_place(number, 6) == 0 for number in range(posts))
    assert hot == pytest.approx(posts / 2, rel=0.02)


def test_a_file_without_posts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_text('{"text": 1}\n[]\n')
    with pytest.raises(DataError, match="no line is a post"):
        read_lines(path)
    with pytest.raises(DataError, match="cannot be read"):
        read_lines(tmp_path / "missing.jsonl")
    assert len(read_lines(None)) > 100


def test_cpu_time_is_read_past_a_name_with_blanks_and_brackets() -> None:
    stat = "12 (a b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1"
    assert cpu_seconds(stat) * 100 == pytest.approx(200, rel=0.5)  # by the ticks of a second
    assert cpu_seconds(stat.replace(" 150 ", " 0 ").replace(" 50 ", " 0 ")) == 0


def test_a_line_that_is_being_written_is_left_for_later(tmp_path: Path) -> None:
    path = tmp_path / "counts.jsonl"
    assert lines(path) == []
    path.write_text('{"a": 1}\n{"a": ')
    assert lines(path) == [{"a": 1}]


def test_memory_is_told_as_a_slope_after_the_warm_up() -> None:
    looks = [
        Look(float(step), step * 10, 500 if step < 20 else 1000 + step, 30, 50_000 if step % 5 else None)
        for step in range(101)
    ]
    found = slope([(one.answered, float(one.rss_bytes)) for one in looks], 1000)
    assert found is not None
    assert (found.first, found.last) == (1020, 1100)
    assert found.per_million == pytest.approx(100_000)
    told = document(looks, 1000)
    assert told["grown"]["descriptors"]["per_million"] == pytest.approx(0)
    assert "| file descriptors | 30.0 | 30.0 | +0.0 |" in page(told)
    assert slope([(1, 1.0)], 1000) is None


def about(**changed: Any) -> dict[str, Any]:
    return {
        "command": "make bench",
        "date": "2026-01-01",
        "commits": ["abc"],
        "machine": {"cores": "2"},
        "versions": {"Apache Kafka": "4"},
        "data": {"name": "posts.jsonl", "posts": 10, "digest": "sha256:1"},
        "failed": {},
        "left_out": [],
        "small": False,
    } | changed


def test_the_page_has_every_part_and_says_what_is_missing() -> None:
    stages = good()
    told = report.page(about(failed={"cpu/ours/1": "it ended"}), stages, {"a.png": "A plot"})
    assert closing_line(stages) in told
    assert "- R ≥ 0.950: kept, 0.980 [0.980, 0.980]" in told
    assert "Without a prefix cache generate-always would take 0.00794" in told
    assert "two workers 1.95, three 2.90" in told
    assert "Faust's own stream: 70 µs an event." in told
    assert "here 120 ms; p99 over that: 0.75, kept" in told
    assert told.count("simulated") >= 1
    assert "- cpu/ours/1: it ended" in told
    assert "![A plot](a.png)" in told
    assert limit_ms(50.0) == 120.0


def test_the_data_holds_everything_that_the_page_is_made_of() -> None:
    found = json.loads(json.dumps(report.as_json(about(), good())))
    assert found["closing"] == closing_line(good())
    assert found["goals"]["scale"] == {
        "figure": "S",
        "meaning": GOALS["scale"].meaning,
        "limit": 2.8,
        "median": 2.9,
        "range": [2.9, 2.9],
        "kept": True,
    }


def test_every_plot_is_drawn_of_what_there_is(tmp_path: Path) -> None:
    stages = good() | {"cpu": good()["h100"]}
    assert plots.draw(stages, tmp_path) == plots.PLOTS
    assert all((tmp_path / name).stat().st_size > 1000 for name in plots.PLOTS)
    assert [*plots.draw({"scale": stages["scale"]}, tmp_path)] == ["compare-scale.png"]


def test_the_page_quotes_the_report() -> None:
    root = Path(__file__).resolve().parents[3]
    closing = json.loads((root / "benchmarks" / "reports" / "compare.json").read_text())["closing"]
    assert closing in (root / "docs/bench.md").read_text()


def verdict(post: str, failure: object = None) -> bytes:
    return json.dumps({"post_id": post, "failure": failure}).encode()


def test_only_what_was_judged_is_an_answer_and_only_once() -> None:
    failed = {"code": "timed_out"}
    records = [
        (3.0, verdict("a")),
        (1.0, verdict("b")),
        (4.0, verdict("a")),
        (2.0, verdict("c", failed)),
        (5.0, b'{"dead_letter_id": "d"}'),
    ]
    assert judged_of(records) == Judged((1.0, 3.0), failed=2, repeats=1)
    written = [(6.0, verdict("e", {"code": "unparsable"}))]
    assert judged_of(written) == Judged((), failed=1, repeats=0)
    assert judged_of(records + written, unread=True) == Judged((1.0, 3.0, 6.0), failed=2, repeats=1)


@pytest.mark.parametrize(("failed", "repeats"), [(1, 0), (0, 1)])
def test_a_worker_that_does_not_judge_is_not_measured(failed: int, repeats: int) -> None:
    require_sound(Judged((1.0,), 0, 0))
    with pytest.raises(RuntimeError, match="not judged"):
        require_sound(Judged((1.0,), failed, repeats))


@pytest.mark.parametrize("wrong", [{"drops": 1}, {"failures": 2}, {"stopped": "interrupted"}])
def test_the_latency_of_a_load_that_went_wrong_is_none(wrong: dict[str, Any], tmp_path: Path) -> None:
    found = {"offered_per_s": 1.0, "p99_ms": 5.0, "drops": 0, "failures": 0}
    stopped = wrong.pop("stopped", "")
    report = tmp_path / "bench.json"
    report.write_text(json.dumps({"systems": [{"figures": found, "stopped": ""}]}), encoding="utf-8")
    assert latencies(report) == {"offered_per_s": 1.0, "p99_ms": 5.0}
    document = {"systems": [{"figures": found | wrong, "stopped": stopped}]}
    report.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(RuntimeError, match="went wrong"):
        latencies(report)
