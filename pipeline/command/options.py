"""What several commands share: their options, and how they show progress."""

from __future__ import annotations

import time
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from sluicegate.pipeline.errors import DemoError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


_TERMINAL_S, _LOG_S = 0.2, 10.0  # between two updates


@contextmanager
def progress(
    stream: TextIO, *, counts: bool = True, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[str, int, int | None], None]]:
    """Tell of stages of work. Gives what is called with a stage, how much of it is done, and how much there is.

    Args:
        stream: Where to.
        counts: True tells counts and rates, and writes a line now and then where the stream is no terminal.
            False draws bars on a terminal, which vanish at the end, and elsewhere nothing.
        clock: Monotonic seconds.
    """
    from rich.console import Console  # noqa: PLC0415 - only who shows pays for it
    from rich.progress import Progress, TaskID, TextColumn  # noqa: PLC0415 - the same

    console = Console(file=stream)
    columns = (TextColumn("{task.fields[line]}", markup=False),) if counts else Progress.get_default_columns()
    moves = console.is_terminal and not console.is_dumb_terminal
    every_s = _TERMINAL_S if moves else _LOG_S
    begun: dict[str, tuple[TaskID, float, int]] = {}
    told, last = clock(), ""

    def advance(stage: str, done: int, total: int | None) -> None:
        nonlocal told, last
        now = clock()
        if stage != last:  # one that comes again begins again
            if stage in begun:
                shown.remove_task(begun[stage][0])
            begun[stage] = shown.add_task(stage, total=total, completed=done, line=""), now, done
            told, last = now, stage
        if now - told < every_s and (total is None or done < total):
            return
        told = now
        task, began, before = begun[stage]
        line = pace_line(stage, done, total or 0, fresh=done - before, seconds=now - began)
        shown.update(task, completed=done, total=total, line=line, refresh=True)
        if counts and not moves:
            stream.write(f"{line}\n")
            stream.flush()

    with Progress(
        *columns,
        console=console,
        auto_refresh=False,
        disable=not moves,
        transient=not counts,
        get_time=clock,
    ) as shown:
        yield advance


def pace_line(stage: str, done: int, total: int, *, fresh: int, seconds: float) -> str:
    """One line.

    Args:
        stage: What is done.
        done: Of the total.
        total: In all.
        fresh: Of those done, how many were done in these seconds.
        seconds: Since the stage began.
    """
    line = f"{stage} {done:,} of {total:,}"
    if fresh <= 0 or seconds <= 0:
        return line
    rate = fresh / seconds
    line += f", {rate:,.1f}/s"
    return line if done >= total else f"{line}, {_span((total - done) / rate)} left"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


SettingsFile = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        help="YAML file of settings; the environment overrides it.",
        envvar="SLUICEGATE_SETTINGS",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences.")]


class LocalEngine(StrEnum):
    """The engines that a trial on this machine may have: they need nothing but Python."""

    LLAMA_CPP = "llama_cpp"
    FAKE = "fake"


class CpuModelName(StrEnum):
    """The models that `sluicegate engine fetch-cpu` knows."""

    SMALL = "smollm2-135m"
    MULTILINGUAL = "qwen2.5-0.5b"


CpuModelChoice = Annotated[
    CpuModelName | None,
    typer.Option(
        "--model",
        help="The CPU model, as `sluicegate engine fetch-cpu` has fetched it. Default: what the settings say, else smollm2-135m.",
    ),
]


def require_cpu_model(model: CpuModelName | None = None) -> None:
    """Make sure that a CPU model is on this machine; the small one for None.

    Raises:
        DemoError: It is not.
    """
    from sluicegate.engines.cpu_model import named_model  # noqa: PLC0415 - only for this engine

    wanted = named_model(model)
    if not wanted.bundle_path().exists():
        raise DemoError(f"the CPU model is not there; run `{wanted.fetch_command}`, or use --engine fake")
