"""Alerts: on metrics that a worker exports, each with a page, and firing when they should."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from chart.queries import keda_queries, promtool, rules
from chart.rendering import ROOT

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.helm

RUNBOOKS = ROOT / "docs" / "runbooks"
SERIES = '{job="moderation/guard-sluicegate"'

# Alert → the series that sets it off, with its values by the minute, and when to look.
FIRING: dict[str, tuple[list[tuple[str, str]], str]] = {
    "SluicegateAbsent": ([], "6m"),
    "SluicegateRecordsMissed": ([('sluicegate_records_missed_total%s,topic="posts"}', "3x10")], "1m"),
    "SluicegatePostsWait": ([("sluicegate_oldest_post_seconds%s}", "61x10")], "6m"),
    "SluicegateHold": ([('sluicegate_hold%s,name="publish"}', "1x10")], "6m"),
    "SluicegateEngineCircuitOpen": ([('sluicegate_engine_circuit%s,state="closed"}', "0x10")], "6m"),
    "SluicegateAdapterCircuitOpen": (
        [('sluicegate_adapter_circuit%s,adapter="teens",state="closed"}', "0x10")],
        "6m",
    ),
    "SluicegateFailures": (
        [("sluicegate_failures_total%s}", "0+6x40"), ("sluicegate_verdicts_total%s}", "0+100x40")],
        "30m",
    ),
    "SluicegateExplanationsFail": (
        [
            ('sluicegate_explanation_failures_total%s,code="timed_out"}', "0+6x40"),
            ('sluicegate_explanations_total%s,explained_as="unsafe"}', "0x40"),
        ],
        "30m",
    ),
    "SluicegateDeadLetters": ([('sluicegate_dead_letters_total%s,code="invalid_post"}', "0+120x40")], "30m"),
    "SluicegateBlockBreakerOpen": ([('sluicegate_block_breaker_open%s,tenant="teens"}', "1x10")], "1m"),
    "SluicegateScreenOff": ([("sluicegate_screen_off%s}", "1x10")], "1m"),
    "SluicegateScreenDisagrees": (
        [
            ('sluicegate_screen_samples_total%s,screen="allow",engine="block"}', "0+1x90"),
            ('sluicegate_screen_samples_total%s,screen="allow",engine="allow"}', "0+9x90"),
        ],
        "75m",
    ),
    "SluicegatePolicyReloadFailed": ([("sluicegate_policy_reload_failed%s}", "1x10")], "3m"),
    "SluicegateControlTopicNotFollowed": ([("sluicegate_control_topic_followed%s}", "0x20")], "11m"),
}
# The same series of a worker that is well: none of the alerts may fire.
QUIET = [
    ("sluicegate_partitions_assigned%s}", "3x60"),
    ("sluicegate_oldest_post_seconds%s}", "61 61 61 61 59x60"),  # for less than five minutes
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
    ("sluicegate_control_topic_followed%s}", "1x60"),
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
        if name != "SluicegateAbsent":
            assert re.findall(r"sluicegate_\w+", rule["expr"])[0] in page


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
        for at in ("4m", "15m", "40m")
    ]
    cases = [_case(QUIET, quiet)]
    cases += [_case(series, [_expected(name, at, series)]) for name, (series, at) in FIRING.items()]
    _tested(tmp_path, cases)


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
    labels = dict(re.findall(r'(\w+)="([^"]+)"', series[0][0])) if series else {}
    kept = {label: labels[label] for label in re.findall(r"by \((\w+)\)", rule["expr"])}
    if name == "SluicegateAbsent":
        kept = {"job": "moderation/guard-sluicegate"}
    value = {
        "SluicegatePostsWait": "1m 1s",
        "SluicegateFailures": "6%",
        "SluicegateExplanationsFail": "100%",
        "SluicegateDeadLetters": "2",
        "SluicegateScreenDisagrees": "10%",
    }.get(name, "")
    summary = re.sub(r"\{\{ \$value[^}]*\}\}", value, rule["annotations"]["summary"])
    summary = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: kept[found[1]], summary)
    annotations = rule["annotations"] | {"summary": summary}
    alert = {"exp_labels": {**rule["labels"], **kept}, "exp_annotations": annotations}
    return {"eval_time": at, "alertname": name, "exp_alerts": [alert]}
