"""Releases of servers: what each can do, as far as this code depends on it, and how that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

ServerName = Literal["trtllm-serve", "vllm", "sglang"]

Known = Literal["executed", "read"]
"""Executed: its own request and response classes were run here. Read: in its source or its documentation."""


@dataclass(frozen=True, slots=True)
class Release:
    """One release of a server, or all that begin alike."""

    server: ServerName
    version: str
    """Its number, or the beginning of it: 1.3 stands for 1.3.0 and its release candidates, too."""
    dialect: str
    """How it is asked; one of :data:`~sluicegate.engines.backends.dialects.DIALECTS`."""
    runtimes: tuple[str, ...]
    """Of a bundle's ``serving.json``: what it can serve."""
    exact: bool
    """True if a score is of the labels themselves, not of the likeliest tokens."""
    known: Known
    in_process: bool = False
    """True if a worker may load it into its own process."""


RELEASES: Final = (
    Release("trtllm-serve", "1.2.1", "trtllm_chat", ("engine", "pytorch"), False, "read", in_process=True),
    Release("trtllm-serve", "1.3", "trtllm", ("pytorch",), False, "read"),
    Release("trtllm-serve", "1.4", "trtllm", ("pytorch",), False, "read"),
    Release("vllm", "0.32.0", "vllm", ("pytorch",), True, "executed"),
    Release("sglang", "0.5.23", "sglang", ("pytorch",), True, "executed"),
)
"""Release 1.2.1 of TensorRT-LLM is the last one that compiles engines, and refuses ``logprobs`` on ``/v1/completions``."""


def release_of(server: ServerName, version: str | None = None) -> Release | None:
    """Find a release; the one that this code is written for unless a version is given. None if it is not known."""
    for release in RELEASES:
        if release.server == server and (version is None or f"{version}.".startswith(f"{release.version}.")):
            return release
    return None


def versions_of(server: ServerName) -> str:
    """Its known releases, for a sentence."""
    return ", ".join(release.version for release in RELEASES if release.server == server)
