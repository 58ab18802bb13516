"""What the acceptance works on: posts, recipes, and a small checkpoint with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import yaml

from sluicegate.pipeline.trial.samples import sample_records
from sluicegate.schemas import Post, decode_post
from support.small_bundle import control_tokens
from support.tiny_checkpoint import qwen3_config, write_tiny_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
ROWS = (*sorted((ROOT / "examples/adapt/rows").glob("*.jsonl")), ROOT / "benchmarks/samples/dev-sample.jsonl")
_FIELDS = ("id", "text", "kind", "context", "language")


def acceptance_posts() -> list[Post]:
    """Every post and labelled row that the repository holds, over two thousand; a hundred harmless posts first."""
    records = [post for raw in sample_records() if isinstance(post := decode_post(raw), Post)]
    records.sort(key=lambda post: (post.metadata or {}).get("label") != "safe")
    rows = [orjson.loads(line) for path in ROWS for line in path.read_bytes().splitlines()]
    made = [Post.model_validate({name: row[name] for name in _FIELDS if row.get(name)}) for row in rows]
    return [*records, *made]


def write_posts(path: Path, posts: Sequence[Post]) -> Path:
    """One in JSON a line, as producers send them."""
    lines = (post.model_dump_json(exclude_defaults=True).encode() for post in posts)
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def write_recipe(
    folder: Path, name: str, *, checkpoint: Path, gpu: str, quantisation: str, posts: Path
) -> Path:
    """A recipe of ``sluicegate engine build`` inside NVIDIA's container, without an adapter."""
    recipe: dict[str, Any] = {
        "schema_version": "1.0",
        "name": name,
        "route": "engine",
        "gpu": gpu,
        "quantisation": quantisation,
        "base": {"checkpoint": str(checkpoint.absolute()), "layout": "vendor", "licence": "Apache-2.0"},
        "container": False,
    }
    if quantisation != "bf16":
        recipe["calibration_data"] = {"posts": str(posts.absolute()), "count": 256}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    return path


def small_config() -> dict[str, Any]:
    """``config.json`` of the small checkpoint: Qwen3 with heads as wide as the real one's, for the GPU's kernels."""
    sizes: dict[str, Any] = {
        "hidden_size": 512,
        "intermediate_size": 1024,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 128,
        "vocab_size": 1024,
        "max_position_embeddings": 4096,
        "torch_dtype": "bfloat16",
        "initializer_range": 0.08,  # four times the usual: what stands in the post is to move the scores
    }
    assert sizes["vocab_size"] > max(control_tokens().values())
    return qwen3_config() | sizes


def write_small_checkpoint(folder: Path) -> Path:
    """Write it, with random weights from a fixed seed."""
    import torch  # noqa: PLC0415
    from transformers import AutoConfig, AutoModelForCausalLM  # noqa: PLC0415

    write_tiny_checkpoint(folder)
    config = orjson.dumps(small_config())
    (folder / "config.json").write_bytes(config)
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)).to(torch.bfloat16)
    model.save_pretrained(folder)
    (folder / "config.json").write_bytes(config)  # in the published words, not in this release's
    return folder


def reference_scores(
    folder: Path, prompts: Sequence[Sequence[int]], label_ids: Sequence[int]
) -> list[list[float]]:
    """Probabilities of the labels among themselves, by transformers in float32 on the CPU."""
    import torch  # noqa: PLC0415
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).float().eval()
    with torch.no_grad():
        rows = [model(input_ids=torch.tensor([list(ids)])).logits[0, -1, list(label_ids)] for ids in prompts]
    return [row.softmax(-1).tolist() for row in rows]
