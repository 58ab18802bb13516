"""Qwen3Guard-Gen-8B on this machine's GPU, where ``ACCEPTANCE_GUARD`` names its weights. NOT RUN so far, on any card."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from gpu import acceptance, checks
from gpu.material import write_posts
from gpu.shapes import EXPECTED, shape_lengths
from sluicegate.engines.adapt.train.base import _chat_template, open_base
from sluicegate.engines.adapt.train.recipe import TrainingBase
from sluicegate.engines.layouts import split_template
from sluicegate.schemas import Post

if TYPE_CHECKING:
    from sluicegate.engines.backends.gpu import GpuKind

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.slow,
    pytest.mark.timeout(6 * 3600),
    pytest.mark.filterwarnings("default"),  # torch's and TensorRT's own
]

CLEAN = 100
"""The first posts of the file are harmless."""
READABLE = 1000


def test_the_template_renders_the_shapes_at_their_lengths(checkpoint: Path) -> None:
    opened = open_base(TrainingBase(checkpoint=str(checkpoint), layout="vendor"))
    template = _chat_template(checkpoint)
    lengths = shape_lengths(template, opened.tokenizer)
    print(lengths)
    assert split_template(template).digest == opened.layout.digest
    for name, (before, own) in EXPECTED.items():
        assert lengths[name].before == before
        assert lengths[name].own in own


def test_the_labels_have_the_published_tokens(checkpoint: Path) -> None:
    labels = open_base(TrainingBase(checkpoint=str(checkpoint), layout="vendor")).labels
    assert labels.first_ids() == {"safe": 22291, "controversial": 2093, "unsafe": 73067}


def test_by_itself_the_model_begins_as_we_force_it_and_comes_to_the_verdict_of_its_scores(
    guard: dict[str, Any],
) -> None:
    written = guard["written"][:CLEAN]
    assert len(written) == CLEAN
    assert {tuple(one.get("first_ids", ())) for one in written} == {(73037, 25)}
    assert [one["severity"] for one in written] == guard["severities"][:CLEAN]
    assert all(one["readable"] for one in written)


def test_on_harmless_posts_nearly_all_probability_is_on_the_labels(guard: dict[str, Any]) -> None:
    assert min(guard["label_mass"][:CLEAN]) >= checks.LEAST_MASS


def test_no_explanation_is_malformed(guard: dict[str, Any]) -> None:
    found = guard["explanations"]
    print(f"{found['contradictions']} contradictions in {found['asked']} explanations")
    assert found["asked"] >= READABLE
    assert found["failures"] == {}


def test_quantised_it_flips_fewer_than_one_verdict_in_a_hundred(
    plain: dict[str, Any], guard: dict[str, Any]
) -> None:
    flips = checks.count_flips(plain["severities"], guard["severities"])
    print(
        f"{flips.flips} flips in {flips.posts} posts, at most {flips.upper:.2%} (95 %); {flips.failures} failures"
    )
    assert flips.failures == 0
    assert flips.share < checks.MOST_FLIPS


def test_its_speed_is_what_the_sizing_calculator_says(
    guard: dict[str, Any], kind: GpuKind, quantisation: Any
) -> None:
    found = guard["throughput"]
    reckoned = checks.reckoned_posts_s(
        kind.name, quantisation, prompt_tokens=found["prompt_tokens"], shared_tokens=found["shared_tokens"]
    )
    print(f"{found['posts_s']:.0f} posts/s measured, {reckoned:.0f} reckoned")
    assert checks.SLOWER < found["posts_s"] / reckoned < checks.FASTER


def test_its_memory_does_not_grow(guard: dict[str, Any]) -> None:
    process, gpu = zip(*guard["memory"], strict=True)
    print(f"grew by {checks.growth_mib(process):.0f} MiB, on the GPU by {checks.growth_mib(gpu):.0f} MiB")
    assert checks.growth_mib(process) < checks.MOST_GROWTH_MIB
    assert checks.growth_mib(gpu) < checks.MOST_GROWTH_MIB


@pytest.mark.parametrize("name", checks.PUBLISHED)
def test_it_is_as_right_as_published(guard: dict[str, Any], name: str) -> None:
    """Rows: JSON lines of ``text``, ``harmful``, and for responses ``kind`` and ``context``."""
    path = Path(os.environ.get("ACCEPTANCE_PUBLISHED", "/nowhere")) / f"{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"NOT RUN: gpu tests: ACCEPTANCE_PUBLISHED holds no {name}.jsonl")
    rows = [orjson.loads(line) for line in path.read_bytes().splitlines()]
    made = [
        Post.model_validate(
            {"id": str(number), "kind": "prompt", **{k: v for k, v in row.items() if k != "harmful"}}
        )
        for number, row in enumerate(rows)
    ]
    bundle = acceptance.folder() / "guard"
    copy = bundle.with_name(f"guard-{name}")
    if not copy.exists():
        copy.symlink_to(bundle, target_is_directory=True)
    found = acceptance.measured(
        copy, write_posts(acceptance.folder() / f"{name}.posts.jsonl", made), throughput_s=0, soak_s=0
    )
    assert None not in found["severities"]
    for strict, published in zip((True, False), checks.PUBLISHED[name], strict=True):
        measured = checks.f1_percent([row["harmful"] for row in rows], found["severities"], strict=strict)
        print(f"{name}: F1 {measured:.1f}, published {published}")
        assert measured == pytest.approx(published, abs=checks.PUBLISHED_POINTS)
