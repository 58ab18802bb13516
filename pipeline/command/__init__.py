"""The ``sluicegate`` command. One module per noun. A command loads only what it needs."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from sluicegate import __version__
from sluicegate.engines.errors import EngineError
from sluicegate.pipeline.command.lazy import LazyGroup
from sluicegate.pipeline.errors import PipelineError
from sluicegate.pipeline.text import neutral

app = typer.Typer(
    name="sluicegate",
    cls=LazyGroup,
    help="Content moderation as a stream: posts in on Kafka, explained verdicts out.\n\nExample: sluicegate demo",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    _debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks instead of one sentence.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    pass


FLOOR = (3, 11, 4)
"""The oldest Python. 3.11.2 lets a cancellation out of `asyncio.timeout`, which wedges engines behind HTTP."""


def main() -> None:
    """Run the command. A fault is one sentence on stderr and exit code 1; Ctrl-C is exit code 130."""
    if (reason := _too_old(sys.version_info[:3])) is not None:
        typer.echo(f"sluicegate: {reason}", err=True)
        sys.exit(1)
    try:
        app()
    except Exception as error:
        if "--debug" in sys.argv[1:]:
            raise
        typer.echo(f"sluicegate: {_sentence(error)}", err=True)
        _fail()
    except KeyboardInterrupt:
        sys.exit(130)


def _too_old(version: tuple[int, ...]) -> str | None:
    """Why a version of Python is refused; None if it is not."""
    if version >= FLOOR:
        return None
    needed, given = (".".join(map(str, one)) for one in (FLOOR, version))
    return f"Python {needed} or later is needed, and this is {given}: install sluicegate in an environment of a later one"


def _fail() -> NoReturn:
    """End with exit code 1.

    A Kafka client that the fault left behind still has threads of its own, and one of them that is in OpenSSL while the
    interpreter takes it down has ended a worker by a segmentation fault: so nothing is taken down then.
    """
    if "confluent_kafka" not in sys.modules:
        sys.exit(1)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):  # nobody reads it any more
            stream.flush()
    os._exit(1)


def _sentence(error: BaseException) -> str:
    """What to tell; for faults of ours no more than the type, because a message may quote a post."""
    if isinstance(error, PipelineError | EngineError):
        return str(error)
    if isinstance(error, BaseExceptionGroup):
        return _sentence(error.exceptions[0])
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
        place = "" if error.filename is None else f"{neutral(str(error.filename))}: "
        return f"{place}no space is left to write; free some, and run the same command again"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{neutral(str(error.filename))}: {error.strerror}; check the path and your rights"
    return f"unexpected {type(error).__name__}; `sluicegate --debug …` shows where"
