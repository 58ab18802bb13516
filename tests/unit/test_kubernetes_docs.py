"""docs/install.md and docs/operate.md: what they say of each block is so, and what they name exists."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from chart.rendering import CHART, find_helm, render
from scaling.report import short_table
from sluicegate.pipeline import command
from sluicegate.pipeline.observe.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGES = {name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("install", "operate")}
RUN, RENDERED, READ, NOT_RUN = SAID = (
    "Run by a test",
    "Rendered by a test",
    "Read by a test",
    "Not run here",
)
WAYS = {"strimzi": 0, "managed": 1}


def blocks(page: str, said: str, language: str) -> list[str]:
    """Blocks before which this is the last thing that is said of a block."""
    found, mark = [], ""
    for part in re.split(r"^(```\w+\n[\s\S]*?^```)", PAGES[page], flags=re.MULTILINE):
        if not part.startswith("```"):
            marks = re.findall(rf"\*({'|'.join(SAID)})", " ".join(part.split()))
            mark = marks[-1] if marks else ""
            continue
        assert mark, part
        name, _, text = part.removesuffix("```").removeprefix("```").partition("\n")
        if (mark, name) == (said, language):
            found.append(text)
    return found


def named(page: str, name: str) -> list[str]:
    return [text for text in blocks(page, RENDERED, "yaml") if text.startswith(f"# {name}.yaml")]


def values(way: str) -> str:
    found = named("install", "values")
    assert len(found) == len(WAYS)
    return found[WAYS[way]]


@pytest.mark.parametrize("page", PAGES)
def test_every_block_says_what_was_done_with_it(page: str) -> None:
    counted = sum(len(blocks(page, said, language)) for said in SAID for language in ("sh", "yaml"))
    assert counted == len(re.findall(r"^```\w", PAGES[page], re.MULTILINE)) > 5


@pytest.mark.helm
@pytest.mark.parametrize("overlays", [(), ("gpu",), ("gpu", "scaling")], ids="-".join)
@pytest.mark.parametrize("way", WAYS)
def test_the_values_are_rendered(way: str, overlays: tuple[str, ...], tmp_path: Path) -> None:
    (gpu,), (scaling,) = named("install", "gpu"), named("operate", "scaling")
    more = {"gpu": gpu, "scaling": scaling}
    given = []
    for number, text in enumerate([values(way), *(more[one] for one in overlays)]):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        given += ["--values", str(path)]
    answer = render(*given)
    assert answer.code == 0, answer.said
    assert answer.of("Deployment")["metadata"]["name"] == "guard-sluicegate"
    assert bool(answer.all("ScaledObject")) is ("scaling" in overlays)


@pytest.mark.helm
def test_strimzis_names_fit_together(tmp_path: Path) -> None:
    path = tmp_path / "values.yaml"
    path.write_text(values("strimzi"), encoding="utf-8")
    answer, given = render("--values", str(path)), yaml.safe_load(values("strimzi"))
    made = [one for text in blocks("install", NOT_RUN, "yaml") for one in yaml.safe_load_all(text)]
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
    assert acls == topics - {"sluicegate.control"}


TO_RUN = [
    pytest.param(text, id=f"{page}-{number}")
    for page in PAGES
    for number, text in enumerate(blocks(page, RUN, "sh"))
]


@pytest.mark.helm
@pytest.mark.parametrize("block", TO_RUN)
def test_what_is_said_to_be_run_runs(block: str, tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(values("strimzi"), encoding="utf-8")
    (tmp_path / "helm").symlink_to(ROOT / "helm")
    if "next.yaml" in block:
        for name in ("forum.yaml", "next.yaml"):
            (tmp_path / name).write_text('name: forum\nversion: "1"\nrules:\n  preset: balanced\n')
        verdict = json.loads((ROOT / "tests/golden/v1.0/verdict/allowed.json").read_text(encoding="utf-8"))
        (tmp_path / "verdicts.jsonl").write_text(json.dumps(verdict) + "\n")
    helm = Path(find_helm() or "")
    path = os.pathsep.join([str(helm.parent), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-c", block],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_commands_inside_the_pod_are_ones_of_the_worker() -> None:
    (block,) = blocks("install", READ, "sh")
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
    # `engine.digest` and `policy.digest` are fields of a verdict, too.
    paths = set(re.findall(rf"`((?:{sections})(?:\.\w+)+)(?:: \w+)?`", PAGES[page])) - {"policy.digest"}
    assert len(paths) >= 5
    for path in sorted(paths):
        below = known
        for part in path.split("."):
            assert part in below, path
            below = below[part]


def test_metrics_named_exist() -> None:
    exported = {family.name for family in Metrics().registry.collect()}
    found = set(re.findall(r"\bsluicegate_\w+", "".join(PAGES.values())))
    assert {one.removesuffix("_total").removesuffix("_info") for one in found} <= exported
    assert len(found) > 2


def test_every_runbook_is_in_the_table() -> None:
    listed = re.findall(r"^\| \[(\w+)\]\(runbooks/(\w+)\.md\) \|", PAGES["operate"], re.MULTILINE)
    assert all(name == file for name, file in listed)
    assert sorted(file for _, file in listed) == sorted(
        path.stem for path in (ROOT / "docs/runbooks").glob("*.md")
    )


def test_the_figures_are_those_of_the_report() -> None:
    document = json.loads((ROOT / "benchmarks/reports/scaling.json").read_text(encoding="utf-8"))
    assert short_table(document) in PAGES["operate"]
    (patient,) = (
        one["alone"]["rebalances"]
        for one in document["search"]
        if one["values"]["behavior"]["scaleUp"] == document["values"]["behavior"]["scaleUp"]
        and one["values"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 1800
    )
    assert "it makes half of those rebalances" in PAGES["operate"]
    assert patient / document["chosen"]["alone"]["rebalances"] == pytest.approx(0.5, abs=0.1)


def test_the_marks_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PAGES, "install", "no mark\n\n```sh\ntrue\n```\n")
    with pytest.raises(AssertionError):
        blocks("install", RUN, "sh")
