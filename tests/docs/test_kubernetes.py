"""docs/kubernetes.md and docs/kubernetes.md: what they say of each block is so, and what they name exists."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from chart.kubernetes_schemas import fault
from chart.rendering import CHART, NEWEST, newest, render
from docs.pages import blocks
from scaling.report import short_table
from sluicegate.pipeline import command

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("kubernetes",)}
WAYS = {"strimzi": 0, "managed": 1}


def named(page: str, name: str) -> list[str]:
    return [one.text for one in blocks(page, "yaml") if one.file == f"{name}.yaml"]


def values(way: str) -> str:
    found = named("kubernetes", "values")
    assert len(found) == len(WAYS)
    return found[WAYS[way]]


@pytest.mark.helm
@pytest.mark.parametrize("overlays", [(), ("gpu",), ("vllm",), ("gpu", "scaling"), ("review",)], ids="-".join)
@pytest.mark.parametrize("way", WAYS)
def test_the_values_are_rendered(way: str, overlays: tuple[str, ...], tmp_path: Path) -> None:
    more = {name: text for name in ("gpu", "vllm", "scaling", "review") for text in named("kubernetes", name)}
    given = []
    for number, text in enumerate([values(way), *(more[one] for one in overlays)]):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        given += ["--values", str(path)]
    answer = render(*given)
    assert answer.code == 0, answer.said
    names = [one["metadata"]["name"] for one in answer.all("Deployment")]
    assert names == ["guard-sluicegate", *["guard-sluicegate-review"][: "review" in overlays]]
    assert bool(answer.all("ScaledObject")) is ("scaling" in overlays)


@pytest.mark.helm
def test_the_table_of_engines_has_the_kinds_and_images_of_the_chart() -> None:
    rows = re.findall(r"^\| `([a-z-]+)`[^|]*\|[^|]*\| ([^|]+) \| (.+) \|$", PAGES["kubernetes"], re.MULTILINE)
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    assert [kind for kind, _, _ in rows] == schema["properties"]["engine"]["properties"]["kind"]["enum"]
    for kind, holder, image in rows[1:]:
        (engine,) = (
            one
            for one in newest(kind).of("Deployment")["spec"]["template"]["spec"]["initContainers"]
            if one["name"] == "engine"
        )
        assert (holder, image) == ("a sidecar", f"`{engine['image']}`")


@pytest.mark.helm
@pytest.mark.parametrize("name", ["teens", "kept"])
def test_names_of_a_release_are_rendered_as_the_page_gives_them(name: str, tmp_path: Path) -> None:
    (given,) = named("kubernetes", name)
    path = tmp_path / "names.yaml"
    path.write_text(f"{values('managed')}\n{given}", encoding="utf-8")
    answer = render("--values", str(path))
    assert answer.code == 0, answer.said
    settings = yaml.safe_load(answer.of("ConfigMap", "-settings")["data"]["settings.yaml"])
    wanted = yaml.safe_load(given)["settings"]
    assert all(settings[section] | names == settings[section] for section, names in wanted.items())
    assert settings["kafka"]["group"] == wanted.get("kafka", {}).get("group", "moderation.guard-sluicegate")


@pytest.mark.helm
def test_an_engine_apart_stays_loaded_whatever_is_set_for_the_workers(tmp_path: Path) -> None:
    (given,) = named("kubernetes", "engine-apart")
    for number, text in enumerate((values("managed"), given)):
        (tmp_path / f"{number}.yaml").write_text(text, encoding="utf-8")
    files = ("--values", str(tmp_path / "0.yaml"), "--values", str(tmp_path / "1.yaml"))
    before = render(*files)
    assert before.code == 0, before.said
    after = render(*files, "--set", "settings.log.level=debug,image.tag=9.9.9,podAnnotations.a=b")
    deployments = {name: one.of("Deployment", "-engine") for name, one in (("b", before), ("a", after))}
    assert deployments["a"] == deployments["b"]
    assert after.of("Deployment", "-sluicegate") != before.of("Deployment", "-sluicegate")
    assert [said for one in before.objects if (said := fault(one, NEWEST))] == []
    (service,), engine = before.all("Service"), deployments["b"]["spec"]["template"]
    assert engine["metadata"]["labels"] == service["spec"]["selector"]
    settings = yaml.safe_load(before.of("ConfigMap", "-settings")["data"]["settings.yaml"])
    assert (
        settings["engine"]["url"]
        == f"http://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    )


@pytest.mark.helm
def test_strimzis_names_fit_together(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(values("strimzi"), encoding="utf-8")
    answer, given = render("--values", str(path)), yaml.safe_load(values("strimzi"))
    made = [one for block in blocks("kubernetes", "yaml")[:2] for one in yaml.safe_load_all(block.text)]
    (kafka,) = (one for one in made if one["kind"] == "Kafka")
    (tester,) = (one for one in made if one["kind"] == "KafkaUser")
    sasl, (listener,) = given["kafka"]["security"]["sasl"], kafka["spec"]["kafka"]["listeners"]
    assert answer.of("KafkaUser")["metadata"]["name"] == sasl["username"] == sasl["existingSecret"]
    assert given["tests"]["security"]["sasl"]["username"] == tester["metadata"]["name"]
    cluster = kafka["metadata"]["name"]
    assert given["kafka"]["bootstrapServers"] == f"{cluster}-kafka-bootstrap:{listener['port']}"
    assert given["topics"]["strimzi"]["cluster"] == cluster
    labelled = [*answer.all("KafkaTopic"), answer.of("KafkaUser"), *(one for one in made if one != kafka)]
    assert {one["metadata"]["labels"]["strimzi.io/cluster"] for one in labelled} == {cluster}
    topics = {one["spec"]["topicName"] for one in answer.all("KafkaTopic")}
    acls = {one["resource"]["name"] for one in tester["spec"]["authorization"]["acls"]}
    assert acls == topics - {"moderation.guard-sluicegate.control"}


def test_commands_inside_the_pod_are_ones_of_the_worker() -> None:
    (block,) = (one.text for one in blocks("kubernetes", "sh") if "-- sluicegate" in one.text)
    parsed = []
    for line in re.findall(r"-- sluicegate (.+)$", block, re.MULTILINE):
        name, *words = shlex.split(line)
        commands: Any = typer.main.get_command(command.app)
        commands.commands[name].make_context(name, words)
        parsed.append(name)
    assert parsed == ["post", "verdicts"]


@pytest.mark.parametrize("page", PAGES)
def test_values_named_in_the_prose_exist(page: str) -> None:
    known = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    sections = "|".join(name for name, below in known.items() if isinstance(below, dict))
    # A field of a verdict, and a setting.
    paths = set(re.findall(rf"`((?:{sections})(?:\.\w+)+)(?:: \w+)?`", PAGES[page])) - {
        "policy.digest",
        "engine.in_work_folder",
        # A setting that has no value in the chart: the release's name is its default.
        "settings.kafka.group",
        # None of them has a value in the chart, either.
        "settings.review",
    }
    assert len(paths) >= 5
    for path in sorted(paths):
        below = known
        for part in path.split("."):
            assert part in below, path
            below = below[part]


def test_every_runbook_is_in_the_table() -> None:
    listed = re.findall(r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \|", PAGES["kubernetes"], re.MULTILINE)
    assert all(name == file for name, file in listed)
    assert sorted(file for _, file in listed) == sorted(
        path.stem for path in (ROOT / "docs/runbooks").glob("*.md")
    )


def test_the_figures_are_those_of_the_report() -> None:
    document = json.loads((ROOT / "benchmarks/reports/scaling.json").read_text(encoding="utf-8"))
    assert short_table(document) in PAGES["kubernetes"]
    (patient,) = (
        one["alone"]["rebalances"]
        for one in document["search"]
        if one["values"]["behavior"]["scaleUp"] == document["values"]["behavior"]["scaleUp"]
        and one["values"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 1800
    )
    assert "it makes half of those rebalances" in PAGES["kubernetes"]
    assert patient / document["chosen"]["alone"]["rebalances"] == pytest.approx(0.5, abs=0.1)
