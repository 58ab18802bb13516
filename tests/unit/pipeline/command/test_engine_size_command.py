"""``sluicegate engine size``, and docs/sizing.md against it."""

from __future__ import annotations

import re

import orjson
import pytest
from typer.testing import CliRunner

from docs.pages import blocks
from sluicegate.pipeline.command import app

SIZE = ["engine", "size", "--gpu", "H100", "--tokens-per-post", "60", "--posts-per-day"]


def test_the_page_has_a_worked_example_from_a_million_to_a_billion() -> None:
    table = blocks("sizing", "text")[0].text.splitlines()[2:]
    volumes = [int(line.split()[0].replace(",", "")) for line in table]
    assert volumes == sorted(volumes)
    assert (volumes[0], volumes[-1]) == (10**6, 10**9)


def test_one_volume_is_a_page_of_figures_each_with_where_it_is_from() -> None:
    result = CliRunner().invoke(app, [*SIZE, "30e6"])
    lines = result.stdout.splitlines()
    assert lines[0] == "H100, fp8: reckoned, not measured"
    assert all(re.fullmatch(r"[\w /]+: +[\d.,]+\D.* {2,}\S.*", line) for line in lines[1:]), result.stdout


def test_as_json_it_has_the_same_numbers() -> None:
    document = orjson.loads(
        CliRunner().invoke(app, [*SIZE, "30e6", "--posts-per-day", "1e9", "--json"]).stdout
    )
    assert (document["gpu"], document["quantisation"]) == ("H100", "fp8")
    small, large = document["fleets"]
    assert (small["gpus"], large["gpus"]) == (5, 135)
    told = {figure["name"]: figure["value"] for figure in small["figures"]}
    assert told["GPUs"] == small["gpus"]
    assert all(figure["how"] for fleet in document["fleets"] for figure in fleet["figures"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--shared-tokens", "300"], "--shared-tokens are some of --static-tokens"),
        (["--gpu", "A100", "--quantisation", "fp8"], "A100 is Ampere"),
        (["--utilisation", "0"], "--utilisation"),
        (["--gpu", "V100"], "--gpu"),
    ],
)
def test_what_cannot_be_sized_is_refused(options: list[str], said: str) -> None:
    result = CliRunner().invoke(app, [*SIZE, "30e6", *options])
    assert result.exit_code != 0
    assert said in re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", " ", result.output + str(result.exception)))
