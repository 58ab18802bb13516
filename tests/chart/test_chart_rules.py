"""Alerts: on metrics that a worker exports, each with a page, and firing when they should."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chart.queries import RUNBOOKS, asked, keda_queries, promtool, rules, runbook_queries
from chart.rendering import CHART, render

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.helm

SERIES = '{job="moderation/guard-sluicegate"'
DESK = '{job="moderation/guard-sluicegate-review"'
COMPARE = '{job="moderation/guard-sluicegate-compare"'

# Alert → the series that set it off and then are well again, with their values by the minute; when it fires, and when
# it has ended.
FIRING: dict[str, tuple[list[tuple[str, str]], str, str]] = {
    "SluicegateAbsent": ([("sluicegate_partitions_assigned%s}", "_x10 12x30")], "6m", "15m"),
    "SluicegateWorkerMissing": (
        [
            ('sluicegate_partitions_assigned%s,instance="a"}', "6x120"),
            ('sluicegate_partitions_assigned%s,instance="b"}', "_x80 6x40"),
        ],
        "65m",
        "90m",
    ),
    "SluicegatePartitionsWithoutOwner": ([("sluicegate_partitions_assigned%s}", "6x15 12x30")], "12m", "20m"),
    "SluicegateRecordsMissed": (
        [('sluicegate_records_missed_total%s,topic="posts"}', "_x5 3x200")],
        "6m",
        "70m",
    ),
    "SluicegateRetentionNear": ([("sluicegate_oldest_post_seconds%s}", "302460x10 0x30")], "6m", "20m"),
    "SluicegatePostsWait": ([("sluicegate_oldest_post_seconds%s}", "61x10 0x30")], "6m", "20m"),
    "SluicegateHold": ([('sluicegate_hold%s,name="publish"}', "1x10 0x30")], "6m", "20m"),
    "SluicegateEngineCircuitOpen": (
        [('sluicegate_engine_circuit%s,state="closed"}', "0x10 1x30")],
        "6m",
        "20m",
    ),
    "SluicegateEngineUnsteady": (
        [('sluicegate_engine_circuit_changes_total%s,instance="a",state="open"}', "0+1x60 60x60")],
        "45m",
        "100m",
    ),
    "SluicegateEnginesDiffer": (
        [
            ('sluicegate_engine_info%s,instance="a",digest="new"}', "1x120"),
            ('sluicegate_engine_info%s,instance="b",digest="old"}', "1x80 _x40"),
        ],
        "65m",
        "90m",
    ),
    "SluicegateRestarts": (
        [('process_start_time_seconds%s,instance="a"}', "100x3 400x3 700x3 1000x90")],
        "14m",
        "60m",
    ),
    "SluicegateRebalances": (
        [('sluicegate_rebalances_total%s,instance="a"}', "0+1x120 120x120")],
        "90m",
        "200m",
    ),
    "SluicegateAdapterCircuitOpen": (
        [('sluicegate_adapter_circuit%s,adapter="teens",state="closed"}', "0x10 1x30")],
        "6m",
        "20m",
    ),
    "SluicegateFailures": (
        [("sluicegate_failures_total%s}", "0+6x40 240x60"), ("sluicegate_verdicts_total%s}", "0+100x100")],
        "30m",
        "60m",
    ),
    "SluicegateExplanationsFail": (
        [
            ('sluicegate_explanation_failures_total%s,code="timed_out"}', "0+6x40 240x60"),
            ('sluicegate_explanations_total%s,explained_as="unsafe"}', "0x40 0+6x60"),
        ],
        "30m",
        "60m",
    ),
    "SluicegateDeadLetters": (
        [('sluicegate_dead_letters_total%s,code="invalid_post"}', "0+120x40 4800x60")],
        "30m",
        "60m",
    ),
    "SluicegateBlockBreakerOpen": (
        [('sluicegate_block_breaker_open%s,tenant="teens"}', "1x10 0x30")],
        "1m",
        "20m",
    ),
    "SluicegateScreenOff": ([("sluicegate_screen_off%s}", "1x10 0x30")], "1m", "20m"),
    "SluicegateScreenDisagrees": (
        [
            ('sluicegate_screen_samples_total%s,screen="allow",engine="block"}', "0+1x90 90x120"),
            ('sluicegate_screen_samples_total%s,screen="allow",engine="allow"}', "0+9x210"),
        ],
        "75m",
        "170m",
    ),
    "SluicegatePolicyReloadFailed": ([("sluicegate_policy_reload_failed%s}", "1x10 0x30")], "3m", "20m"),
    "SluicegatePolicyForOtherEngines": (
        [("sluicegate_policy_for_other_engines%s}", "1x70 0x30")],
        "65m",
        "80m",
    ),
    "SluicegateControlTopicNotFollowed": (
        [("sluicegate_control_topic_followed%s}", "0x20 1x30")],
        "11m",
        "30m",
    ),
    "SluicegateReviewAbsent": ([(f"sluicegate_review_store_away{DESK}}}", "_x10 0x30")], "6m", "15m"),
    "SluicegateReviewStoreAway": ([(f"sluicegate_review_store_away{DESK}}}", "1x10 0x30")], "3m", "15m"),
    "SluicegateReviewHold": (
        [(f'sluicegate_review_hold{DESK},name="outbox"}}', "1x10 0x30")],
        "6m",
        "20m",
    ),
    "SluicegateReviewBehind": (
        [(f"sluicegate_review_unread_records{DESK}}}", "10001x20 0x30")],
        "16m",
        "30m",
    ),
    "SluicegateReviewUnsent": ([(f"sluicegate_review_unsent_records{DESK}}}", "7x20 0x30")], "16m", "30m"),
    "SluicegateReviewOverdue": (
        [(f'sluicegate_review_overdue_seconds{DESK},tenant="teens"}}', "60x40 0x30")],
        "35m",
        "60m",
    ),
    "SluicegateReviewOverturned": (
        [(f'sluicegate_review_overturned_share{DESK},read="blind",bound="low"}}', "0.6x80 0.4x30")],
        "65m",
        "90m",
    ),
    "SluicegateCandidateBarred": ([("sluicegate_candidate_barred%s}", "1x10 0x30")], "3m", "20m"),
    "SluicegateCandidateRolledBack": (
        [('sluicegate_candidate_state%s,state="rolled_back"}', "0x5 1x120")],
        "10m",
        "100m",
    ),
    "SluicegateCandidateRejected": (
        [(f'sluicegate_candidate_ruling{COMPARE},ruling="rejected"}}', "1x10 0x30")],
        "1m",
        "20m",
    ),
    "SluicegateCandidateCoverageLow": (
        [(f"sluicegate_candidate_coverage{COMPARE}}}", "0.9x80 0.99x30")],
        "65m",
        "90m",
    ),
    "SluicegateComparatorAbsent": ([(f"sluicegate_candidate_hold{COMPARE}}}", "_x20 0x30")], "16m", "30m"),
    "SluicegateComparatorHold": ([(f"sluicegate_candidate_hold{COMPARE}}}", "1x20 0x30")], "11m", "30m"),
}
VALUES = {
    "SluicegateWorkerMissing": "1",
    "SluicegatePartitionsWithoutOwner": "6",
    "SluicegateRetentionNear": "3d 12h 1m 0s",
    "SluicegatePostsWait": "1m 1s",
    "SluicegateEngineUnsteady": "30",
    "SluicegateEnginesDiffer": "2",
    "SluicegateRestarts": "3",
    "SluicegateRebalances": "60",
    "SluicegateFailures": "6%",
    "SluicegateExplanationsFail": "100%",
    "SluicegateDeadLetters": "2",
    "SluicegateScreenDisagrees": "10%",
    "SluicegateReviewBehind": "10k",
    "SluicegateReviewUnsent": "7",
    "SluicegateReviewOverdue": "1m 0s",
    "SluicegateReviewOverturned": "60%",
    "SluicegateCandidateCoverageLow": "90%",
}
"""What summaries say of those series."""
# The same series of a worker that is well: none of the alerts may fire.
QUIET = [
    # A rollout: each worker is away for twelve minutes, and the engine is another one then.
    ('sluicegate_partitions_assigned%s,instance="a"}', "6x5 _x12 6x100"),
    ('sluicegate_partitions_assigned%s,instance="b"}', "6x4 12x13 0 _x12 6x90"),
    ('sluicegate_engine_info%s,instance="a",digest="old"}', "1x5 _x120"),
    ('sluicegate_engine_info%s,instance="a",digest="new"}', "_x18 1x100"),
    ('sluicegate_engine_info%s,instance="b",digest="old"}', "1x18 _x100"),
    ('sluicegate_engine_info%s,instance="b",digest="new"}', "_x31 1x90"),
    ('sluicegate_rebalances_total%s,instance="a"}', "1 3 3 3 3 3 _x12 1x20 3x90"),
    ('process_start_time_seconds%s,instance="a"}', "100x5 _x12 1000x100"),
    ('sluicegate_engine_circuit_changes_total%s,instance="a",state="open"}', "0x20 1x20 2x90"),
    ('sluicegate_records_missed_total%s,topic="posts"}', "0x60"),
    ("sluicegate_oldest_post_seconds%s}", "61 61 61 61 59x100"),  # for less than five minutes
    ('sluicegate_hold%s,name="engine"}', "0 0 1 1 1 0x60"),  # for less than five minutes
    ('sluicegate_engine_circuit%s,state="closed"}', "1x60"),
    ('sluicegate_adapter_circuit%s,adapter="teens",state="closed"}', "1x60"),
    ("sluicegate_failures_total%s}", "0+4x60"),
    ("sluicegate_verdicts_total%s}", "0+100x60"),
    ('sluicegate_explanation_failures_total%s,code="timed_out"}', "0+4x60"),
    ('sluicegate_explanations_total%s,explained_as="safe"}', "0+96x60"),
    ('sluicegate_dead_letters_total%s,code="invalid_post"}', "0+30x60"),
    ('sluicegate_block_breaker_open%s,tenant="teens"}', "0x60"),
    ("sluicegate_screen_off%s}", "0x60"),
    ('sluicegate_screen_samples_total%s,screen="allow",engine="review"}', "0+1x60"),
    ('sluicegate_screen_samples_total%s,screen="allow",engine="allow"}', "0+99x60"),
    ("sluicegate_policy_reload_failed%s}", "0x60"),
    ("sluicegate_policy_for_other_engines%s}", "0x5 1x30 0x60"),
    ("sluicegate_control_topic_followed%s}", "1x60"),
    (f"sluicegate_review_store_away{DESK}}}", "0 0 1 0x60"),  # at one scrape
    (f'sluicegate_review_hold{DESK},name="projector"}}', "1 1 1 0x60"),  # while it starts
    (f"sluicegate_review_unread_records{DESK}}}", "90000 80000 50000 0x60"),  # made again from the topics
    (f"sluicegate_review_unsent_records{DESK}}}", "2 0 4 1 0 3x8 0 5x9 0x40"),
    (f'sluicegate_review_overdue_seconds{DESK},tenant="teens"}}', "0x10 60x20 0x40"),
    # Three of four is more than half, and says nothing yet.
    (f'sluicegate_review_overturned_share{DESK},read="shown",bound="share"}}', "0.75x70"),
    (f'sluicegate_review_overturned_share{DESK},read="shown",bound="low"}}', "0.3x70"),
    ("sluicegate_candidate_barred%s}", "0 1 0x60"),  # a worker that has not heard yet
    ('sluicegate_candidate_state%s,state="rolled_back"}', "0x70"),
    (f'sluicegate_candidate_ruling{COMPARE},ruling="open"}}', "1x70"),
    (f"sluicegate_candidate_coverage{COMPARE}}}", "0.5x5 0.99x70"),
    (f"sluicegate_candidate_hold{COMPARE}}}", "1 1 1 0x70"),  # while it reads what is known
    # Another release's trouble is not this one's.
    ('sluicegate_hold{job="moderation/other",name="engine"}', "1x60"),
]


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    alerts = rules()
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == alerts.keys()
    for name, rule in alerts.items():
        page = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert page.startswith(f"# {name}\n")
        assert rule["annotations"]["runbook_url"] == f"https://docs.example/runbooks/{name}.md"
        assert next(asked(rule["expr"]))[0] in page


@pytest.mark.promtool
def test_every_page_has_queries_to_paste_and_steps_that_decide(tmp_path: Path) -> None:
    recorded = []
    for name, queries in runbook_queries().items():
        page = (RUNBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert queries, name
        assert len(re.findall(r"^\d\. ", page, re.MULTILINE)) >= 3, name
        recorded += [
            {"record": name, "expr": query, "labels": {"n": str(n)}} for n, query in enumerate(queries)
        ]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "pages", "rules": recorded}]}), encoding="utf-8")
    checked = promtool("check", "rules", path)
    assert checked.returncode == 0, checked.stderr


def test_links_of_the_pages_lead_somewhere() -> None:
    for path in RUNBOOKS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def _case(series: list[tuple[str, str]], checks: list[dict[str, Any]]) -> dict[str, Any]:
    inputs = [
        {"series": name % SERIES if "%s" in name else name, "values": values} for name, values in series
    ]
    return {"interval": "1m", "input_series": inputs, "alert_rule_test": checks}


def _tested(folder: Path, cases: list[dict[str, Any]]) -> None:
    """Let promtool check the alerts, and these cases of them."""
    path = folder / "rules.yaml"
    path.write_text(
        yaml.safe_dump({"groups": [{"name": "alerts", "rules": list(rules().values())}]}), encoding="utf-8"
    )
    checked = promtool("check", "rules", path)
    assert checked.returncode == 0, checked.stderr
    test = folder / "test.yaml"
    test.write_text(
        yaml.safe_dump({"rule_files": [str(path)], "evaluation_interval": "1m", "tests": cases}),
        encoding="utf-8",
    )
    done = promtool("test", "rules", test)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.promtool
def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    assert FIRING.keys() == rules().keys()
    quiet: list[dict[str, Any]] = [
        {"eval_time": at, "alertname": name, "exp_alerts": []}
        for name in FIRING
        for at in ("4m", "15m", "40m", "60m")
    ]
    cases = [_case(QUIET, quiet)]
    for name, (series, at, ended) in FIRING.items():
        over: dict[str, Any] = {"eval_time": ended, "alertname": name, "exp_alerts": []}
        cases.append(_case(series, [_expected(name, at, series), over]))
    _tested(tmp_path, cases)


@pytest.mark.promtool
def test_records_missed_are_told_again_where_some_were_missed_before(tmp_path: Path) -> None:
    series = [('sluicegate_records_missed_total%s,topic="posts"}', "3x90 5x150")]
    name = "SluicegateRecordsMissed"
    quiet: list[dict[str, Any]] = [
        {"eval_time": at, "alertname": name, "exp_alerts": []} for at in ("80m", "160m")
    ]
    _tested(tmp_path, [_case(series, [_expected(name, "100m", series), *quiet])])


@pytest.mark.parametrize(
    ("retention", "limit"),
    [("604800000", "> 302400"), ("86400000", "> 43200"), ("31536000000", "> 518400"), ("-1", None)],
)
def test_lag_pages_before_the_topic_forgets_posts(retention: str, limit: str | None) -> None:
    """Where a worker can tell: it knows no age above seven days, and a topic that keeps all forgets none."""
    values = ("-f", str(CHART / "ci" / "gpu-values.yaml"))
    answer = render(*values, "--set-string", f"topics.config.posts.retention\\.ms={retention}")
    assert answer.code == 0, answer.said
    found = [one["expr"] for one in answer.of("PrometheusRule")["spec"]["groups"][0]["rules"]]
    limits = [one.partition(") ")[2] for one in found if "oldest_post" in one]
    assert limits == [*([limit] if limit else []), "> 60"]


def test_one_worker_is_not_missed_twice() -> None:
    answer = render("-f", str(CHART / "ci" / "gpu-values.yaml"), "--set", "autoscaling.minReplicas=1")
    alerts = {one["alert"] for one in answer.of("PrometheusRule")["spec"]["groups"][0]["rules"]}
    of_workers = {
        name
        for name in rules()
        if not name.startswith(("SluicegateReview", "SluicegateCandidate", "SluicegateComparator"))
    }
    assert of_workers - alerts == {"SluicegateWorkerMissing"}


def test_alerts_say_whose_they_are_and_link_only_to_an_address() -> None:
    values = ("-f", str(CHART / "ci" / "gpu-values.yaml"), "-n", "forum")
    answer = render(*values, "--set", "prometheusRule.runbooks=", release="teens")
    for rule in answer.of("PrometheusRule")["spec"]["groups"][0]["rules"]:
        assert (rule["labels"]["namespace"], rule["labels"]["release"]) == ("forum", "teens")
        assert rule["annotations"].keys() == {"summary"}
        assert rule["annotations"]["summary"].startswith("forum/teens: ")
    refused = render(*values, "--set", "prometheusRule.runbooks=docs/runbooks")
    assert refused.code != 0
    assert "/prometheusRule/runbooks" in refused.said


@pytest.mark.promtool
@pytest.mark.parametrize("hold", ["engine", "publish", "input"])
def test_workers_are_added_for_the_oldest_post_but_not_for_one_that_a_held_up_worker_has(
    hold: str, tmp_path: Path
) -> None:
    series = [('sluicegate_oldest_post_seconds%s,instance="a"}', "7x10")]
    series += [('sluicegate_oldest_post_seconds%s,instance="b"}', "9000x10")]
    for name in ("engine", "publish", "input"):
        series += [(f'sluicegate_hold%s,instance="a",name="{name}"}}', "0x10")]
        series += [(f'sluicegate_hold%s,instance="b",name="{name}"}}', "0x5 1x5" if name == hold else "0x10")]
    case = _case(series, []) | {
        "promql_expr_test": [
            {"expr": keda_queries()[0], "eval_time": at, "exp_samples": [{"labels": "{}", "value": value}]}
            for at, value in (("2m", 9000), ("8m", 7))
        ]
    }
    _tested(tmp_path, [case])


@pytest.mark.promtool
def test_the_posts_that_all_workers_take_are_counted_together(tmp_path: Path) -> None:
    series = [
        ('sluicegate_records_taken_total%s,instance="a"}', "0+60x10"),
        ('sluicegate_records_taken_total%s,instance="b"}', "0+120x10"),
    ]
    expected = {"expr": keda_queries()[1], "eval_time": "8m", "exp_samples": [{"labels": "{}", "value": 3}]}
    _tested(tmp_path, [_case(series, []) | {"promql_expr_test": [expected]}])


def _expected(name: str, at: str, series: list[tuple[str, str]]) -> dict[str, Any]:
    rule = rules()[name]
    labels = dict(re.findall(r'(\w+)="([^"]+)"', series[0][0]))
    kept = {label: labels[label] for label in re.findall(r"^\w+ by \((\w+)\)", rule["expr"])}
    if name == "SluicegateAbsent":
        kept = {"job": "moderation/guard-sluicegate"}
    if name == "SluicegateReviewAbsent":
        kept = {"job": "moderation/guard-sluicegate-review"}
    if name == "SluicegateComparatorAbsent":
        kept = {"job": "moderation/guard-sluicegate-compare"}
    value = VALUES.get(name, "")
    summary = re.sub(r"\{\{ \$value[^}]*\}\}", value, rule["annotations"]["summary"])
    summary = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: kept[found[1]], summary)
    annotations = rule["annotations"] | {"summary": summary}
    alert = {"exp_labels": {**rule["labels"], **kept}, "exp_annotations": annotations}
    return {"eval_time": at, "alertname": name, "exp_alerts": [alert]}
