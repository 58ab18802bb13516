"""The report on layouts: its arithmetic, the ways of asking, the stand-in for the vendor's prompt, and the committed figures."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from layouts import report as layouts_report
from layouts import study as layouts
from layouts.engine import serving
from layouts.report import ALWAYS, ON_DEMAND, OURS, SCORE, VENDOR, Pass, Request, mean, ratio, spread
from layouts.texts import post_of, sampled, stand_in, vendor_layout
from sluicegate.engines.bundle.bundle import Bundle
from sluicegate.engines.bundle.tokenizer import ByteTokenizer
from sluicegate.engines.layouts import CompactLayout
from sluicegate.engines.protocol import Prompt
from sluicegate.engines.text.prompting import Prompter
from sluicegate.pipeline.policy import Policy
from sluicegate.schemas import Post, Scores
from support.chat_template import TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sluicegate.engines.adapt.data.rows import Row
    from sluicegate.schemas import Severity

REPORTS = Path(__file__).resolve().parents[3] / "benchmarks" / "reports"
SAFE = Scores(safe=0.98, controversial=0.01, unsafe=0.01)
RISKY = Scores(safe=0.1, controversial=0.2, unsafe=0.7)


def prompts_of(texts: Sequence[str]) -> list[tuple[Post, Prompt]]:
    prompter = Prompter(ByteTokenizer(), CompactLayout(), max_prompt_tokens=4096)
    posts = [Post(id="one", text=text) for text in texts]
    return [
        (post, prompt)
        for post, prompt in zip(posts, prompter.build_many(posts), strict=True)
        if isinstance(prompt, Prompt)
    ]


class Scripted:
    """An engine with a price list: 10 tokens and a second for a score, 3 and two for an explanation."""

    def __init__(self, risky: Prompt) -> None:
        self.risky = risky
        self.said: list[tuple[str, Prompt]] = []

    async def score(self, prompt: Prompt) -> tuple[Scores, Request]:
        self.said.append(("score", prompt))
        return RISKY if prompt is self.risky else SAFE, Request(20, 10, 1, 1.0)

    async def explain(self, prompt: Prompt, severity: Severity) -> Request:
        self.said.append((severity, prompt))
        return Request(30, 3, 8, 2.0)

    async def generate(self, prompt: Prompt) -> Request:
        self.said.append(("generate", prompt))
        return Request(20, 10, 12, 4.0)


async def test_a_round_asks_in_every_way_and_counts_no_warm_up() -> None:
    (one, two, warm) = prompts_of(["fine", "not fine", "warm"])
    engine = Scripted(two[1])
    passes, scores, explained, again = await layouts.one_round(
        engine, [one, two], OURS, Policy.load(None), warm=warm[1]
    )
    assert [what for what, _ in engine.said] == [
        "score",
        "score",
        "score",
        "unsafe",
        "score",
        "generate",
        "generate",
    ]
    assert engine.said[0][1] is engine.said[4][1] is warm[1]
    assert passes == [
        Pass(OURS, SCORE, 1.0, 20.0, 10.0, 1.0, 1.0),
        Pass(OURS, ON_DEMAND, 1.5, 35.0, 11.5, 5.0, 2.0),
        Pass(OURS, ALWAYS, 1.0, 20.0, 10.0, 12.0, 4.0),
    ]
    assert (scores, explained) == ([SAFE, RISKY], 1)
    assert again == (10 + 10 + 3 + 10) / 2  # the explained post's own tokens once more


def test_a_mean_is_of_posts_and_not_of_requests() -> None:
    assert mean(OURS, SCORE, 4, [Request(2, 4, 6, 8.0)] * 2) == Pass(OURS, SCORE, 0.5, 1.0, 2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("values", "shown"),
    [([1.0, 1.0, 1.0], "1.00"), ([1.0, 3.0, 2.0], "2.00 (1.00 to 3.00)"), ([1.001, 1.002], "1.00")],
)
def test_a_range_is_shown_where_it_can_be_seen(values: list[float], shown: str) -> None:
    assert spread(values, 2) == shown


def test_ratios_are_taken_within_a_round() -> None:
    passes = [
        Pass(layout, SCORE, 1, 0, 0, 0, seconds)
        for layout, seconds in ((OURS, 1.0), (VENDOR, 4.0), (VENDOR, 20.0), (OURS, 2.0))
    ]
    assert ratio(passes, (OURS, SCORE), (VENDOR, SCORE), "seconds") == [0.25, 0.1]


def test_the_hit_share_is_of_all_prompt_tokens() -> None:
    assert layouts_report.hit_share([Pass(OURS, SCORE, 1, 30.0, 10.0, 0, 0)]) == 0.75


def test_a_training_on_longer_prompts_takes_longer_by_as_much() -> None:
    trained = {OURS: 50.0, VENDOR: 300.0}
    assert layouts_report.training_hours({"rows": 7200, "rows_per_s": 2.0}, trained) == pytest.approx(6.0)


def test_a_row_that_trains_is_cut_and_the_longer_layout_adds_what_is_its_own() -> None:
    (row,) = sampled(None, 1, seed=1)
    post = post_of(row)

    def side(*lengths: int) -> list[tuple[Row, Post, Prompt]]:
        return [(row, post, Prompt((1,) * length, "post", 0, (0, 1))) for length in lengths]

    assert layouts.trained({OURS: side(60, 200), VENDOR: side(160, 300)}) == {OURS: 94.0, VENDOR: 194.0}


def test_the_rate_is_the_logs_whole_and_kept_where_no_log_is_given(tmp_path: Path) -> None:
    steps = [{"what": "plan"}, *({"what": "step", "rows": 16 * n, "seconds": 4.0 * n} for n in (1, 2))]
    (tmp_path / "log.jsonl").write_text("\n".join(map(json.dumps, steps)), encoding="utf-8")
    found = layouts.training_rate(tmp_path)
    assert (found["rows_per_s"], found["measured_rows"]) == (4.0, 32)
    assert layouts.kept_rate(tmp_path) is None
    (tmp_path / "layouts.json").write_text(json.dumps({"training": found}), encoding="utf-8")
    assert layouts.kept_rate(tmp_path) == found
    with pytest.raises(SystemExit, match="tells no rate"):
        layouts.training_rate(tmp_path / "nowhere")


def test_judgements_are_counted_against_labels_and_layout_against_layout() -> None:
    (row,) = [row for row in sampled(None, 596, seed=1) if row.severity == "unsafe"][:1]
    rows = [(row, post_of(row))] * 2
    found = layouts.judgement(rows, {OURS: [RISKY, RISKY], VENDOR: [RISKY, SAFE]}, Policy.load(None))
    assert [found["judgement"][name]["severity"]["hits"] for name in (OURS, VENDOR)] == [2, 1]
    assert (found["differ"]["hits"], found["differ"]["of"]) == (1, 2)
    assert found["all_safe"]["hits"] == 0


def test_a_sample_has_no_text_twice_and_every_stratum_its_share(tmp_path: Path) -> None:
    def line(number: int, text: str, language: str, severity: str) -> str:
        return json.dumps(
            {"id": f"p{number}", "text": text, "language": language, "label": {"severity": severity}}
        )

    stream = tmp_path / "stream.jsonl"
    lines = [line(n, f"text {n}", "en", "safe") for n in range(60)]
    lines += [line(100 + n, f"text {n}", "de", "unsafe") for n in range(20)]
    lines += [line(200 + n, "text 1", "en", "safe") for n in range(50)]
    stream.write_text("\n".join(lines), encoding="utf-8")
    rows = sampled(stream, 8, seed=3)
    assert len({row.text + str(row.language) for row in rows}) == 8
    assert [sum(row.language == name for row in rows) for name in ("en", "de")] == [6, 2]
    assert rows == sampled(stream, 8, seed=3) != sampled(stream, 8, seed=4)


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "p", "text": "x", "label": {"severity": "bad"}}'])
def test_a_line_that_is_no_labelled_post_is_named_without_its_text(tmp_path: Path, line: str) -> None:
    (tmp_path / "s.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(SystemExit, match=r"s\.jsonl:1: is no labelled post \(\w+\); see"):
        sampled(tmp_path / "s.jsonl", 1, seed=1)


def test_the_vendor_layout_is_the_stand_in_or_a_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text(TEMPLATE, encoding="utf-8")
    given = vendor_layout(tmp_path / "t.jinja")
    assert given != stand_in() == vendor_layout(None)
    for layout in (given, stand_in()):
        assert layout.prompt.after.endswith("\nSafety:")
    with pytest.raises(SystemExit, match="cannot be read"):
        vendor_layout(tmp_path / "no.jinja")


@pytest.mark.cpu_model
async def test_the_stand_in_is_about_as_long_as_the_guards_and_the_servers_counts_add_up(
    cpu_bundle: Path,
) -> None:
    bundle = Bundle.open(cpu_bundle)
    prompter = Prompter(bundle.tokenizer, stand_in(), max_prompt_tokens=2048)
    prompts = prompter.build_many([Post(id="one", text=text) for text in ("Hello there", "Good bye")])
    one, two = (prompt for prompt in prompts if isinstance(prompt, Prompt))
    assert one.shared_tokens == pytest.approx(201, rel=0.03)
    assert len(one.token_ids) - one.content[1] == pytest.approx(96 + 2, rel=0.03)
    async with serving(bundle, threads=1) as engine:
        await engine.score(one)
        counted = [(await engine.score(two))[1], (await engine.score(one))[1], (await engine.score(two))[1]]
    assert [cost.cached + cost.computed for cost in counted] == [
        len(prompt.token_ids) for prompt in (two, one, two)
    ]
    assert counted[0].cached >= two.shared_tokens
    assert (counted[0].cached, counted[0].computed) == (counted[2].cached, counted[2].computed)


def test_the_committed_page_is_that_of_the_committed_figures() -> None:
    report = json.loads((REPORTS / "layouts.json").read_text(encoding="utf-8"))
    assert (REPORTS / "layouts.md").read_text(encoding="utf-8") == layouts_report.page(report)
    passes = [Pass(**one) for one in report["passes"]]
    assert [asdict(one) for one in passes] == report["passes"]
    assert layouts_report.middle(passes, OURS, SCORE, "computed") < layouts_report.middle(
        passes, VENDOR, SCORE, "computed"
    )
