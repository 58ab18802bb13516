"""The dashboard, and every query of the chart against what a running worker and a review desk answer on ``/metrics``."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chart.queries import (
    TARGET_LABELS,
    asked,
    dashboard,
    keda_queries,
    panel_queries,
    panels,
    plain,
    promtool,
    rules,
    runbook_queries,
    variable_queries,
)
from chart.rendering import newest
from sluicegate.pipeline.kafka.embedded import EmbeddedBroker
from sluicegate.pipeline.observe.metrics import metrics_table
from sluicegate.pipeline.review.desk import ReviewDesk
from sluicegate.pipeline.settings.tree import load_settings
from sluicegate.pipeline.shadow.comparison import Pairs
from sluicegate.pipeline.shadow.metrics import ShadowMetrics
from sluicegate.pipeline.shadow.serving import ComparatorMetrics
from support.cases import HERON, MAGPIE, Bench, judged, post
from support.desk import browsing, hidden
from support.kafka import free_ports
from support.workers import Lane, until
from unit.pipeline.shadow.sides import CANDIDATES, INCUMBENTS
from unit.pipeline.shadow.summaries import a_tally

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """
name: watched
version: "1"
rules:
  block_breaker: {share: null, count: 3, interval_seconds: 3600}
tenants:
  teens: {rules: {adapter: strict}}
"""
RULES = {"attack": "unsafe", "attack the hill": "unsafe", "": "safe"}
LATER = {
    "sluicegate_records_missed_total",
    "sluicegate_explanation_failures_total",
    "sluicegate_engine_circuit_changes_total",
    "sluicegate_candidate_state",
}
"""Metrics with labels that the posts below give no series; their labels are those of the reference."""

BESIDE = {
    "sluicegate_review_": "(-review)?",
    "sluicegate_shadow_": "(-shadow)?",
    **dict.fromkeys(
        (
            f"sluicegate_candidate_{name}"
            for name in ("coverage", "contents", "milder", "evidence", "ruling", "hold")
        ),
        "(-compare)?",
    ),
}
"""Metrics of others than workers, and what their job's name has behind that of the workers."""


@dataclass(frozen=True)
class Scrape:
    """What a worker answered: every sample's name with its labels, and the names that it declared."""

    declared: set[str]
    labels: dict[str, set[str]]


def _scrape(lane: Lane) -> Scrape:
    """Let a worker meet everything that gives a series its labels, then ask it."""
    (nobody,) = free_ports(1)
    lane.set_fake(rules=RULES)
    lane.set_faults(error={"marker": "poison"})
    worker = lane.start(
        lane.set_policy(POLICY)
        | {
            "engine.adapters.strict.fake_profile": str(lane.folder / "fake.json"),
            "cache.redis_url": f"redis://127.0.0.1:{nobody}",
        }
    )
    worker.wait_ready()
    posts = [{"id": f"p{number}", "text": f"attack {number}", "tenant": "forum"} for number in range(8)]
    posts += [{"id": f"equal{number}", "text": "the same", "tenant": "teens"} for number in range(3)]
    posts += [{"id": "ill", "text": "poison"}, {"id": "hidden", "text": "a t t a c k the h1ll"}]
    lane.send([*posts, b"no post at all"])
    lane.wait_acknowledged(within_s=60)
    until("a breaker is open", lambda: worker.metric("sluicegate_block_breaker_open"), within_s=10)
    text = worker.get("/metrics")[1] + _scrape_of_a_desk(lane.folder) + _scrape_of_an_experiment()
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return Scrape(set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE)), labels)


def _scrape_of_a_desk(folder: Path) -> str:
    """What a review desk answers that has open cases, decisions on their way, and a case that two people read."""
    review: dict[str, Any] = {
        "store": f"sqlite:///{folder / 'r.db'}",
        "key": "k" * 32,
        "blind_share": 0,
        "double_share": 0,
    }
    desk = ReviewDesk(load_settings(review=review))
    desk.store.migrate()
    bench = Bench(desk.store, **review)
    twice = post("twice")
    Bench(desk.store, **{**review, "double_share": 1}).take(
        twice, judged(twice, severity="unsafe", categories=("Violent",))
    )
    (case,) = bench.all()
    bench.answer(case.case_id, HERON, blind=True)
    bench.answer(case.case_id, MAGPIE, blind=True)
    for text in (post("one"), post("two")):
        bench.take(text, judged(text))
    with browsing(desk) as browser:
        browser.post("/login", data={"name": "heron"})
        page = browser.post("/next", data=hidden(browser.get("/queue")))
        browser.post(f"{page.url.path}/answer", data={**hidden(page), "action": "allow", "severity": "safe"})
        told = browser.get("/metrics").text
    desk.store.close()
    return told


def _scrape_of_an_experiment() -> str:
    """What a comparator answers that has compared something, and what a shadow says of its share."""
    compared: Any = SimpleNamespace(tally=a_tally(), pairs=Pairs(INCUMBENTS, CANDIDATES), concluded=None)
    comparator: Any = SimpleNamespace(trouble=None, unreadable=0, counting=compared)
    registry = CollectorRegistry()
    registry.register(ComparatorMetrics(comparator))
    shadow = ShadowMetrics(CollectorRegistry())
    return (generate_latest(registry) + generate_latest(shadow.registry)).decode()


@pytest.fixture(scope="module")
def scrape(tmp_path_factory: pytest.TempPathFactory) -> Scrape:
    """A worker on the embedded broker, with the fake engine."""
    lane = Lane("", tmp_path_factory.mktemp("watched"))

    async def run() -> Scrape:
        async with EmbeddedBroker(lane.topics) as broker:
            lane.bootstrap = broker.address
            try:
                return await asyncio.to_thread(_scrape, lane)
            finally:
                await asyncio.to_thread(lane.close)

    return asyncio.run(run())


def _reference() -> dict[str, set[str]]:
    rows = re.findall(r"^\| `(sluicegate_\w+)` \| \w+ \| ([^|]+) \|", metrics_table(), re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def _unanswered(query: str, scrape: Scrape) -> list[str]:
    """What a query asks for in vain."""
    wrong = []
    for name, labels in asked(query):
        if name in LATER and name in scrape.declared:
            known = _reference()[name]
        elif name in scrape.labels:
            known = scrape.labels[name]
        else:
            wrong.append(f"{name} is no series of a worker")
            continue
        wrong += [f"{name} has no label {label}" for label in labels - known - TARGET_LABELS]
    return wrong


def test_the_dashboard_asks_only_for_what_a_running_worker_answers(scrape: Scrape) -> None:
    queries = panel_queries() + variable_queries()
    assert [(query, wrong) for query in queries if (wrong := _unanswered(query, scrape))] == []
    assert len({name for query in queries for name, _ in asked(query)}) > 30


@pytest.mark.helm
def test_alerts_and_the_scaler_ask_only_for_what_a_running_worker_answers(scrape: Scrape) -> None:
    queries = [rule["expr"] for rule in rules().values()] + keda_queries()
    assert [(query, wrong) for query in queries if (wrong := _unanswered(query, scrape))] == []
    assert len({name for query in queries for name, _ in asked(query)}) > 10


def test_runbooks_ask_only_for_what_a_running_worker_answers(scrape: Scrape) -> None:
    queries = [query for page in runbook_queries().values() for query in page]
    assert [(query, wrong) for query in queries if (wrong := _unanswered(query, scrape))] == []
    assert len({name for query in queries for name, _ in asked(query)}) > 20


def test_what_only_an_event_gives_a_series_is_declared_before_it(scrape: Scrape) -> None:
    assert scrape.declared >= LATER
    assert scrape.labels.keys().isdisjoint(LATER)


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ('sum(sluicegate_verdict_total{job=~".*"})', ["sluicegate_verdict_total is no series of a worker"]),
        ("sum by (tenants) (sluicegate_verdicts_total)", ["sluicegate_verdicts_total has no label tenants"]),
        ('max(sluicegate_hold{reason="engine"})', ["sluicegate_hold has no label reason"]),
    ],
)
def test_a_query_in_vain_is_found(query: str, wrong: list[str], scrape: Scrape) -> None:
    assert _unanswered(query, scrape) == wrong


def test_legends_show_labels_that_their_query_keeps() -> None:
    for panel in panels():
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            kept = re.search(r"by \(([^)]*)\)", target["expr"])
            assert shown <= set(kept[1].split(", ") if kept else ()), panel["title"]


def test_panels_fill_their_rows_and_overlap_nowhere() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert taken.isdisjoint(cells), panel["title"]
        taken |= cells
    assert len(taken) == 24 * len({y for _, y in taken})


def test_every_panel_asks_the_chosen_prometheus_for_the_chosen_job() -> None:
    """The jobs of desk, shadow and comparator are named for that of their release's workers."""
    names = {one["name"] for one in dashboard()["templating"]["list"]}
    assert names == {"datasource", "job", "tenant"}
    for panel in panels():
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for query in panel_queries():
        for name, _ in asked(query):
            beside = next((job for start, job in BESIDE.items() if name.startswith(start)), "")
            job = f'{{job=~"$job{beside}"'
            assert query.count(f"{name}{job}") == query.count(f"{name}{{"), query
            assert query.count(f"{name}{{"), query


@pytest.mark.promtool
def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel_{number}", "expr": plain(query)} for number, query in enumerate(panel_queries())
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}), encoding="utf-8")
    checked = promtool("check", "rules", path)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.helm
def test_the_chart_ships_the_dashboard_for_grafanas_sidecar() -> None:
    shipped = newest("gpu").of("ConfigMap", "-dashboard")
    given, (text,) = dashboard(), shipped["data"].values()
    own = json.loads(text)
    for tree in (given, own):
        tree["uid"] = tree["title"] = tree["templating"]["list"][1]["current"] = "the release's own"
    assert own == given
    assert shipped["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert shipped["metadata"]["annotations"] == {"grafana_folder": "Moderation"}
    names = [one["metadata"]["name"] for one in newest("cpu").all("ConfigMap")]
    assert not any(name.endswith("-dashboard") for name in names)
