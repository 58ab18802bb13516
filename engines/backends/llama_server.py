"""The process that runs llama.cpp's HTTP server. Started by :mod:`~sluicegate.engines.backends.supervisor`.

Run as ``python -m sluicegate.engines.backends.llama_server '<json>'``. It prints one line of
JSON with its address when the model is loaded, and lives as long as its standard input: when
the parent closes the pipe, or dies in whatever way, the read returns and the process ends.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict, dataclass

_BATCH_TOKENS = 2048  # llama.cpp's defaults, written out: 64 to 2048 made no difference on two cores
_MICRO_BATCH_TOKENS = 512
_LOG_S = 0.2  # llama.cpp's log has a thread of its own, and an exit does not wait for it
_ERRORS_ONLY = 1  # at the default of 3 the log has about 800 bytes for every request


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What the server process is told, as JSON in its one argument."""

    model: str
    """Path of the GGUF file, adapter merged in: one server has one adapter, since cached keys
    and values are not told apart by adapter."""
    slots: int
    """Prompts decoded side by side, each with a context of its own."""
    slot_tokens: int
    """Context of one slot, prompt and completion together."""
    threads: int
    kept_mib: int = 0
    """Memory for prompts whose slot went to another one, so that they are not computed again; 0 keeps none."""

    def to_json(self) -> str:
        """The process's argument."""
        return json.dumps(asdict(self))


def usable_cores() -> int:
    """Cores that this process may use, which in a container can be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serve(options: ServerOptions) -> None:
    """Load the model, print the address, stay until standard input ends.

    Ends with code 1 if the model cannot be loaded; llama.cpp says why on standard error.
    """
    # Read when the library loads. By default its threads spin while they wait for each other: with
    # another busy process on two cores that cost half of the throughput and more (measured), and
    # twice the CPU time. Alone on the cores it made no clear difference.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import xllamacpp  # noqa: PLC0415 - only this process may load the native library

    parameters = xllamacpp.CommonParams()
    parameters.model.path = options.model
    parameters.n_parallel = options.slots
    parameters.n_ctx = options.slot_tokens * options.slots
    parameters.n_batch, parameters.n_ubatch = _BATCH_TOKENS, _MICRO_BATCH_TOKENS
    parameters.cpuparams.n_threads = options.threads
    parameters.cpuparams_batch.n_threads = options.threads
    parameters.cache_prompt = True
    parameters.cache_ram_mib = options.kept_mib
    parameters.ui = False
    parameters.verbosity = _ERRORS_ONLY
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    try:
        server = xllamacpp.Server(parameters)
    except RuntimeError as error:
        time.sleep(_LOG_S)
        sys.exit(str(error))
    print(json.dumps({"url": server.listening_address}), flush=True)  # noqa: T201 - the parent reads it
    sys.stdin.buffer.read()
    os._exit(0)  # nothing to save, and no destructor may keep an orphan alive


if __name__ == "__main__":
    serve(ServerOptions(**json.loads(sys.argv[1])))
