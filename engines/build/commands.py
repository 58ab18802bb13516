"""Commands: what TensorRT-LLM is called with to build an engine, and how a command is run."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from sluicegate.engines.backends.trtllm.serving import VERSION
from sluicegate.engines.build.recipe import BuildRecipe, Quantisation
from sluicegate.engines.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


IMAGE: Final = f"nvcr.io/nvidia/tensorrt-llm/release:{VERSION}"
QUANTIZE: Final = "/app/tensorrt_llm/examples/quantization/quantize.py"
"""Inside the image."""

_VERSIONS = (
    "import json, sys, tensorrt, tensorrt_llm, torch; "
    "json.dump({m.__name__: m.__version__ for m in (tensorrt, tensorrt_llm, torch)}, open(sys.argv[1], 'w'))"
)
_QFORMAT: Final[dict[Quantisation, str]] = {"fp8": "fp8", "w4a16_awq": "int4_awq", "bf16": "full_prec"}


@dataclass(frozen=True, slots=True)
class Host:
    """What a command takes over from who runs it."""

    user: str
    """Number of the user, a colon, and of the group."""
    device: str
    """The one GPU, as ``CUDA_VISIBLE_DEVICES`` names it."""


def contained(
    recipe: BuildRecipe, command: Sequence[str], *, folders: Sequence[Path], host: Host
) -> tuple[str, ...]:
    """A command in NVIDIA's container: one GPU, no network, and the caller's rights on the folders.

    Args:
        recipe: Says whether there is a container at all.
        command: What is run in it.
        folders: What it sees, at the same paths; the first one it may write.
        host: Who runs it, on which GPU.
    """
    # In the driver's order, in which the GPU was asked for.
    fixed = ("CUDA_DEVICE_ORDER=PCI_BUS_ID", f"CUDA_VISIBLE_DEVICES={host.device}", "HF_HUB_OFFLINE=1")
    if not recipe.container:
        return ("env", *fixed, *command)
    written, *read = folders
    mounts = [f"type=bind,source={written},target={written}"]
    mounts += [f"type=bind,source={folder},target={folder},readonly" for folder in read]
    # A user's number without a name: libraries ask for a home and a name. The first process of a
    # container passes no signal on; --init does.
    variables = ("HOME=/tmp", "USER=build", *fixed)
    return (
        *("docker", "run", "--rm", "--init", "--gpus", "all", "--network", "none", "--ipc", "host"),
        *("--ulimit", "memlock=-1", "--ulimit", "stack=67108864", "--user", host.user),
        *(word for variable in variables for word in ("--env", variable)),
        *(word for mount in mounts for word in ("--mount", mount)),
        IMAGE,
        *command,
    )


def inspect(target: Path) -> tuple[str, ...]:
    """Write the versions of the libraries to a file."""
    return ("python3", "-c", _VERSIONS, str(target))


def merge(recipe: BuildRecipe, target: Path) -> tuple[str, ...]:
    """Merge the adapter into the base: an export that a worker could serve as it is."""
    adapter = recipe.adapter
    if adapter is None:
        return ()
    optional = (
        ("--gate", adapter.gate),
        ("--override", adapter.override),
        ("--evaluation", adapter.evaluation),
        ("--calibration", adapter.calibration),
        *(("--extra-category", name) for name in adapter.extra_categories),
    )
    return (
        *(
            "sluicegate",
            "adapt",
            "export",
            str(adapter.folder),
            "--to",
            "hf-merged",
            "--name",
            adapter.name or recipe.name,
        ),
        *("--base", str(recipe.base.checkpoint), "--layout", recipe.base.layout),
        *(word for option, value in optional if value is not None for word in (option, str(value))),
        *("--licence", recipe.base.licence, "--out", str(target)),
    )


def quantise(recipe: BuildRecipe, checkpoint: Path, prompts: Path, target: Path) -> tuple[str, ...]:
    """Quantise a checkpoint, or only convert it where BF16 is compiled."""
    data = recipe.calibration_data
    calibration: tuple[str, ...] = ()
    if data is not None:
        longest = str(data.max_tokens)
        calibration = (
            *("--calib_dataset", str(prompts), "--calib_size", str(recipe.calibration_count)),
            *("--calib_max_seq_length", longest, "--tokenizer_max_seq_length", longest),
        )
    blocks = ("--awq_block_size", "128") if recipe.quantisation == "w4a16_awq" else ()
    return (
        *("python3", QUANTIZE, "--model_dir", str(checkpoint), "--output_dir", str(target)),
        *("--dtype", "bfloat16", "--qformat", _QFORMAT[recipe.quantisation], *blocks, *calibration),
        *("--export_format", "tensorrt_llm" if recipe.route == "engine" else "hf"),
    )


def compile_engine(recipe: BuildRecipe, checkpoint: Path, target: Path) -> tuple[str, ...]:
    """Compile a converted checkpoint. What has no flag here keeps its documented default.

    Logits are kept in float32: a converted checkpoint asks for float16, whose steps of 0.016 would make label
    scores tie. Several profiles let the compiler choose kernels for prompts as well as for single tokens. The
    plugin for matrix products is for weights that are not FP8; TensorRT multiplies those itself.
    """
    limits = recipe.limits
    products = () if recipe.quantisation == "fp8" else ("--gemm_plugin", "auto")
    lora: tuple[str, ...] = ()
    if recipe.lora is not None:
        lora = (
            *("--lora_plugin", "auto", "--max_lora_rank", str(recipe.lora.max_rank)),
            *("--lora_target_modules", *recipe.lora.target_modules),
        )
    return (
        *("trtllm-build", "--checkpoint_dir", str(checkpoint), "--output_dir", str(target)),
        *("--max_batch_size", str(limits.max_batch_size), "--max_input_len", str(limits.max_input_len)),
        *("--max_seq_len", str(limits.max_seq_len), "--max_num_tokens", str(limits.max_num_tokens)),
        *("--max_beam_width", "1", "--kv_cache_type", "paged"),
        *("--tokens_per_block", str(recipe.tokens_per_block), "--use_paged_context_fmha", "enable"),
        *("--logits_dtype", "float32", "--multiple_profiles", "enable", *products),
        *("--workers", "1", *lora),
    )


_MINUTE_S: Final = 60.0
_STOP_S: Final = 30.0
_TAIL_BYTES: Final = 64 * 1024

_KNOWN: Final = {
    b"out of memory": "the GPU's memory was full; free it, or lower limits.max_num_tokens and max_batch_size",
    b"No space left on device": "a disk was full; give --work on a larger one",
    b"could not select device driver": "docker knows no GPU; install the NVIDIA Container Toolkit",
    b"KeyError: 'architecture'": "it was given a checkpoint that was not converted (#6360); remove the work folder",
    b"Unable to find image": "the image is not there; run docker pull with the image of the plan",
}
"""What a tool prints when it fails, and what to do. Nothing of its output is shown: it may hold a post."""


class Runner(Protocol):
    """Runs one command to its end."""

    def __call__(self, command: Sequence[str], log: Path, still: Callable[[int], None]) -> int:
        """Run.

        Args:
            command: Program and arguments.
            log: File for what it prints.
            still: Called each minute with the minutes so far.

        Returns:
            Its exit code.
        """
        ...


def run_command(command: Sequence[str], log: Path, still: Callable[[int], None]) -> int:
    """Run a command as a process; stopped with us. See :class:`Runner`.

    Raises:
        BuildError: There is no such program.
    """
    argv = list(command)
    if argv[0] == "sluicegate":  # ours, whatever stands on PATH
        argv[:1] = [sys.executable, "-m", "sluicegate"]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        try:
            process = subprocess.Popen(  # noqa: S603  # no shell; the plan shows it
                argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise BuildError(
                f"{command[0]} cannot be run ({error.strerror}); install it, or set container in the recipe"
            ) from error
        minutes = 0
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(_MINUTE_S)
                minutes += 1
                still(minutes)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()  # docker passes it on to what runs in the container
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()


def known_fault(log: Path) -> str | None:
    """What the end of a command's output is known to mean.

    Args:
        log: The file with the output.
    """
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = stream.read(_TAIL_BYTES)
    except OSError:
        return None
    return next((meaning for text, meaning in _KNOWN.items() if text in tail), None)
