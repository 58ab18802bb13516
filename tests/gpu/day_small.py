"""A small day with a GPU: what a card's arithmetic and copies cost, and a sitting of the CPU model's adapter.

    python -m gpu.day_small --out gpu-day-small

Rates and copies need torch alone, on any card that CUDA knows; the sitting needs the extra ``adapt`` besides. Each
part takes ten minutes at most. What was measured is not measured again: the same command goes on. The report says
what it does not show.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from gpu.stack import GUARD_06B, GUARD_8B, TINY, Shape, Stack, copy_seconds, seconds_of

PART_S: Final = 600.0
ROOT: Final = Path(__file__).parents[2]
ROWS: Final = ROOT / "examples/adapt/rows"
RECIPE: Final = ROOT / "benchmarks/shipped_adapter/recipe.yaml"
_LENGTHS, _STEPS = (50, 90, 300), (1024, 4096, 8192, 16_384)
_BATCHES, _CONTEXT = (1, 16, 64, 256), 359
_AGAIN, _AGAIN_PROMPTS, _AGAIN_CONTEXT = (7, 44), 64, 100
_LIBRARIES = ("sluicegate", "peft", "transformers", "gguf", "phonenumbers", "rensa")

Values = dict[str, float]
Job = tuple[str, Callable[[], float]]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the day."""

    name: str
    title: str
    unit: str
    shows_not: str
    """What nobody may read out of it."""


PARTS: Final = (
    Part(
        "rates-8B-fp8",
        "Rates of the 8B's shapes, FP8",
        "tokens/s; `again`: µs a prompt",
        "Random weights and bare kernels, one at a time: an upper bound of what an engine does. No scheduling, no paged cache, "
        "no tuned GEMMs of TensorRT; every layer reads one cache; one scale a tensor. The published anchor is 58,931 prompt and "
        "54,491 output tokens/s on an H100.",
    ),
    Part(
        "rates-8B-bf16",
        "Rates of the 8B's shapes, BF16",
        "tokens/s; `again`: µs a prompt",
        "As for FP8. Needs 20 GB of memory; what did not fit is left out.",
    ),
    Part(
        "rates-0.6B-bf16",
        "Rates of the 0.6B's shapes, BF16",
        "tokens/s; `again`: µs a prompt",
        "As for the 8B. What the small guard costs beside the large one; not what it finds, nor what it misses.",
    ),
    Part(
        "transfers",
        "Logits and biases between host and card",
        "µs",
        "Copies alone, without an engine's work beside them on the same bus.",
    ),
    Part(
        "sitting",
        "A sitting of the CPU model's adapter",
        "as named",
        "One sitting on the rows of this repository: a speed, and that training runs on this card. Whether a layout or an "
        "adapter is better is for `sluicegate adapt evaluate`, after a whole training. Flips of FP8 against BF16 need real "
        "weights, and are no part of this day.",
    ),
)


class NotRunError(Exception):
    """What keeps a part from being run here; one sentence."""


def run(out: Path, device: str, *, part_s: float = PART_S, shapes: Mapping[str, Shape] | None = None) -> int:
    """Run all parts, as far as they are not done, and write the report.

    Args:
        out: Folder of results. What stands there is not measured again.
        device: ``cuda``, or ``cpu`` to try the script.
        part_s: A part measures nothing more after so many seconds.
        shapes: By the size in a part's name; the guards' own unless given.

    Returns:
        1 if something was neither measured nor refused by the card's memory.
    """
    out.mkdir(parents=True, exist_ok=True)
    shapes = shapes or {"8B": GUARD_8B, "0.6B": GUARD_06B}
    left = 0
    for part in PARTS:
        try:
            left += measure(out / f"{part.name}.json", jobs_of(part, out, device, part_s, shapes), part_s)
        except NotRunError as error:
            path = out / f"{part.name}.json"
            _save(path, {**_load(path), "not_run": str(error)})
            print(f"!!! NOT RUN: {part.name}: {error} !!!")
            left += 1
        write_report(out, device)
    print(
        f"{out / 'report.md'}: {'all is measured' if not left else f'{left} left: the same command goes on'}"
    )
    return int(left > 0)


def measure(
    path: Path, jobs: Iterator[Job], part_s: float, clock: Callable[[], float] = time.monotonic
) -> int:
    """Do the jobs that a file lacks, saving after each; how many are left when the time is up."""
    known = _load(path)
    values: Values = known.get("values", {})
    unfit: list[str] = known.get("did_not_fit", [])
    until, left = clock() + part_s, 0
    for name, work in jobs:
        if name in values or name in unfit:
            continue
        if clock() >= until:
            left += 1
            continue
        try:
            values[name] = work()
            print(f"{path.stem}: {name}: {values[name]:,.1f}", flush=True)
        except (MemoryError, RuntimeError) as error:  # torch.OutOfMemoryError is one
            if not isinstance(error, MemoryError) and "out of memory" not in str(error):
                raise
            unfit.append(name)
        _save(path, {"values": values, "did_not_fit": unfit, "left": left})
    _save(path, {"values": values, "did_not_fit": unfit, "left": left})
    return left


def jobs_of(part: Part, out: Path, device: str, part_s: float, shapes: Mapping[str, Shape]) -> Iterator[Job]:
    """The measurements of a part, in order.

    Raises:
        NotRunError: It cannot be run here.
    """
    if part.name == "sitting":
        return _sitting(out, part_s)
    _require("torch")
    if part.name == "transfers":
        return _transfers(device, next(iter(shapes.values())).vocabulary)
    _, size, form = part.name.split("-")
    return _rates(shapes[size], device, fp8=form == "fp8")


def _rates(shape: Shape, device: str, *, fp8: bool) -> Iterator[Job]:
    import torch  # noqa: PLC0415 - gigabytes

    if fp8 and not hasattr(torch.nn.functional, "scaled_mm"):
        raise NotRunError(f"torch {torch.__version__} has no torch.nn.functional.scaled_mm; take a later one")
    if fp8 and device == "cuda" and torch.cuda.get_device_capability() < (8, 9):
        raise NotRunError("this card does not multiply in FP8")
    return _rate_jobs(_Lazy(shape, device, fp8=fp8), device)


class _Lazy:
    """Makes the weights at the first use: none of it where all is measured already."""

    def __init__(self, shape: Shape, device: str, *, fp8: bool) -> None:
        self._made: Stack | None = None
        self._make = partial(Stack, shape, device=device, fp8=fp8)

    def seconds(self, prompts: int, new: int, cached: int, device: str) -> float:
        self._made = self._made or self._make()
        hidden, cache = self._made.inputs(prompts, new, cached)
        return seconds_of(partial(self._made.step, hidden, cache), device)


def _rate_jobs(stack: _Lazy, device: str) -> Iterator[Job]:
    def rate(prompts: int, new: int, cached: int) -> float:
        return prompts * new / stack.seconds(prompts, new, cached, device)

    def again(new: int) -> float:
        return 1e6 * stack.seconds(_AGAIN_PROMPTS, new, _AGAIN_CONTEXT, device) / _AGAIN_PROMPTS

    for length in _LENGTHS:
        for step in _STEPS:
            yield f"prompts of {length} in a step of {step:,}", partial(rate, step // length, length, 0)
    for batch in _BATCHES:
        yield f"decoding, {batch} side by side", partial(rate, batch, 1, _CONTEXT)
    for new in _AGAIN:
        yield f"again, {new} tokens after {_AGAIN_CONTEXT} cached ones", partial(again, new)


def _transfers(device: str, vocabulary: int, prompts: int = 256) -> Iterator[Job]:
    import torch  # noqa: PLC0415 - gigabytes

    def micros(make: Callable[[], Callable[[], Any]]) -> float:
        return 1e6 * copy_seconds(make(), device)

    def down(kind: Any, columns: int = 0) -> Callable[[], Any]:
        logits = torch.zeros(prompts, vocabulary, device=device, dtype=kind)
        chosen = torch.arange(columns or vocabulary, device=device)

        def copy() -> Any:
            return (logits[:, chosen] if columns else logits).cpu()

        return copy

    def up() -> Callable[[], Any]:
        rows = [torch.zeros(vocabulary) for _ in range(prompts)]
        return lambda: torch.stack(rows).to(device)

    def block() -> Callable[[], Any]:
        one = torch.zeros(36 * 2 * 8 * 128 * 32, device=device, dtype=torch.bfloat16)
        return lambda: one + 0

    yield f"{prompts} rows of logits to the host, float16", lambda: micros(lambda: down(torch.float16))
    yield f"{prompts} rows of logits to the host, float32", lambda: micros(lambda: down(torch.float32))
    yield (
        f"three columns of {prompts} rows to the host, float32",
        lambda: micros(lambda: down(torch.float32, 3)),
    )
    yield f"{prompts} rows of a bias stacked and sent to the card, float32", lambda: micros(up)
    yield "a block of the 8B's cache copied on the card", lambda: micros(block)


def _sitting(out: Path, part_s: float) -> Iterator[Job]:
    for library in _LIBRARIES:
        _require(library)
    prepared, adapter = out / "prepared", out / "adapter"
    minutes = max(0.1, part_s / 60 * 0.7)  # reading, a checkpoint and the measuring of dev stay within ten
    train = ("adapt", "train", str(RECIPE), "--data", str(prepared), "--json")
    told: dict[str, Any] = {}

    def ready() -> None:
        if not (prepared / "train.jsonl").is_file():
            _command(out, "engine", "fetch-cpu", "--base")
            _command(out, "adapt", "prepare", str(ROWS), "--out", str(prepared))

    def estimate(name: str) -> float:
        if not told:
            ready()
            told.update(json.loads(_command(out, *train, "--dry-run")))
        return float(told[name])

    def sit() -> float:
        ready()
        outcome = json.loads(_command(out, *train, "--out", str(adapter), "--minutes", f"{minutes:g}"))
        rows = float(outcome["progress"]["rows"])
        if not rows:
            raise NotRunError("no row was trained in the time of a sitting; the same command goes on with it")
        return rows

    yield "tokens/s of training", lambda: estimate("tokens_per_s")
    yield "hours of a whole training", lambda: estimate("train_hours")
    yield "MiB of memory at most", lambda: estimate("peak_mib")
    yield f"rows after a sitting of {minutes:.0f} minutes", sit


def _command(out: Path, *words: str) -> str:
    """What a command of ours prints.

    Raises:
        NotRunError: It failed, and its last line.
    """
    done = subprocess.run(
        [sys.executable, "-m", "sluicegate", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PART_S,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )
    with (out / "sitting.log").open("a", encoding="utf-8") as log:
        log.write(f"$ sluicegate {' '.join(words)}\n{done.stdout}{done.stderr}\n")
    if done.returncode:
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise NotRunError(f"sluicegate {' '.join(words[:2])}: {last[:300]}")
    return done.stdout.strip().splitlines()[-1]


def _require(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise NotRunError(
            f"{library} is missing: pip install {'torch' if library == 'torch' else repr('sluicegate[adapt]')}"
        )


def write_report(out: Path, device: str) -> None:
    """Write ``report.md`` from what the parts have left."""
    lines = ["# A small day with a GPU", "", *_machine(device), ""]
    for part in PARTS:
        found = _load(out / f"{part.name}.json")
        lines += [f"## {part.title}", ""]
        if "not_run" in found:
            lines += [f"**Not run:** {found['not_run']}.", ""]
        if found.get("values") or found.get("did_not_fit"):
            lines += [f"| {part.name} | {part.unit} |", "| --- | ---: |"]
            lines += [f"| {name} | {value:,.1f} |" for name, value in found.get("values", {}).items()]
            lines += [f"| {name} | did not fit |" for name in found.get("did_not_fit", ())]
            lines += ["", *([f"{found['left']} measurements are left.", ""] if found.get("left") else [])]
        elif "not_run" not in found:
            lines += ["Nothing was measured yet.", ""]
        lines += [f"What this does not show: {part.shows_not}", ""]
    (out / "report.md").write_text("\n".join(lines), encoding="utf-8")


def _machine(device: str) -> list[str]:
    if importlib.util.find_spec("torch") is None:
        return ["No torch here: nothing was measured."]
    import torch  # noqa: PLC0415 - gigabytes

    if device != "cuda":
        return [
            f"torch {torch.__version__} **on the CPU: a trial of the script, and no measurement of a GPU.**"
        ]
    name, memory = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory / 2**30
    return [f"{name}, {memory:.0f} GiB, torch {torch.__version__}, CUDA {torch.version.cuda}."]


def _load(path: Path) -> dict[str, Any]:
    """What a part has left; nothing if there is no whole file."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return {}
    return found


def _save(path: Path, found: Mapping[str, Any]) -> None:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found, indent=2), encoding="utf-8")
    part.replace(path)


def main() -> int:
    """Read arguments, and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gpu-day-small"))
    parser.add_argument("--part-s", type=float, default=PART_S, help="seconds for each part")
    parser.add_argument(
        "--try-on-cpu", action="store_true", help="tiny shapes on the CPU: tries the script alone"
    )
    chosen = parser.parse_args()
    if chosen.try_on_cpu:
        return run(chosen.out, "cpu", part_s=chosen.part_s, shapes={"8B": TINY, "0.6B": TINY})
    if importlib.util.find_spec("torch") is None:
        print("!!! NOT RUN: torch is not installed here !!!")
        return 1
    import torch  # noqa: PLC0415 - gigabytes

    if not torch.cuda.is_available():
        print("!!! NOT RUN: torch finds no CUDA card; --try-on-cpu tries the script alone !!!")
        return 1
    return run(chosen.out, "cuda", part_s=chosen.part_s)


if __name__ == "__main__":
    sys.exit(main())
