"""A real vLLM on this machine's processor: started by the command that ``sluicegate engine serve-config`` plans."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from sluicegate.engines.backends.trtllm.serving import plan_server
from sluicegate.engines.bundle.bundle import Bundle
from support import endpoint
from support.kafka import free_ports, tail
from vllm_cpu.environment import PYTHON

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

START_S: Final = 1500.0
"""It takes 2 to 3 minutes on two idle cores."""
_END_S = 30.0
_FIRST_S = 300.0
_POLL_S = 0.2

_MODULE = "vllm.entrypoints.openai.api_server"  # the build has no command `vllm`
_CPU = ("--dtype", "float32", "--enforce-eager", "--block-size", "32")
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "GLOO_SOCKET_IFNAME": "lo",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GB
    # Two threads that wait for one another at every layer come to a halt where others use the processor, too.
    "OMP_NUM_THREADS": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}

WATCH: Final = ("sh", "-c", 'read -r _; kill -KILL "-$0"')
"""Ends a session when our end of its pipe closes: the process that computes outlives one that was killed."""


class VllmServer:
    """One server and the processes that it starts, all in a session of their own.

    Args:
        bundle: The bundle that it serves.
        log: Where its output goes; appended to.
        adapters: What it serves beside it, name to folder.
    """

    def __init__(self, bundle: Path, log: Path, adapters: Mapping[str, Path] | None = None) -> None:
        (self.port,) = free_ports(1)
        self.bundle = bundle
        self.log = log
        plan = plan_server(Bundle.open(bundle, verify=False), "vllm", port=self.port, config=bundle)
        self.settings = plan.settings
        """The worker's section ``engine``, as it is planned."""
        folder, *flags = plan.command[2:]  # after `vllm serve`
        self.most_tokens = int(flags[flags.index("--max-model-len") + 1])
        """Of a prompt and its answer together."""
        lora = [f"{name}={path}" for name, path in (adapters or {}).items()]
        self._command = [str(PYTHON), "-m", _MODULE, "--model", folder, *flags, *_CPU]
        self._command += ["--lora-modules", *lora] if lora else []
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its base address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it has answered a first prompt.

        Raises:
            AssertionError: It ended, or did not come in time; the message ends in its log's last lines.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ | _ENVIRONMENT,
                start_new_session=True,
            )
        self._watch = subprocess.Popen([*WATCH, str(self._process.pid)], stdin=subprocess.PIPE)
        deadline = time.monotonic() + START_S
        while endpoint.get("127.0.0.1", self.port, "/health")[0] != 200:
            if self._process.poll() is not None:
                raise AssertionError(
                    f"vLLM ended with {self._process.returncode}:\n{tail(self.log)}"
                )  # fmt: skip
            if time.monotonic() > deadline:
                raise AssertionError(f"vLLM did not answer within {START_S:.0f} s:\n{tail(self.log)}")
            time.sleep(_POLL_S)
        self._warm_up()

    def _warm_up(self) -> None:
        """Its first answer takes half a minute, with /health green before."""
        body = orjson.dumps({"model": self.settings["model"], "prompt": [1, 2, 3], "max_tokens": 1})
        status, answer = endpoint.post(
            "127.0.0.1", self.port, "/v1/completions", body, timeout_s=_FIRST_S
        )  # fmt: skip
        assert status == 200, f"vLLM's first answer is HTTP {status}: {answer[:500]}\n{tail(self.log)}"

    @property
    def running(self) -> bool:
        """True while the process that takes requests has not ended."""
        return self._process is not None and self._process.poll() is None

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels, as its page has it now."""
        lines = endpoint.get("127.0.0.1", self.port, "/metrics")[1].splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{"))
        )

    def core(self) -> int:
        """The process that computes; the one that takes requests is its parent."""
        assert self._process is not None
        (found,) = [pid for pid in self._processes() if _name(pid).startswith("VLLM::Engine")]
        return found

    def kill_core(self) -> None:
        """Let it die as of a fault of its own: the process that computes is killed."""
        os.kill(self.core(), signal.SIGKILL)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """It takes requests and answers none: the process that computes is stopped."""
        core = self.core()
        os.kill(core, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(core, signal.SIGCONT)

    def wait_ended(self, within_s: float) -> None:
        """Wait until the process that takes requests has ended.

        Raises:
            subprocess.TimeoutExpired: It did not.
        """
        assert self._process is not None
        self._process.wait(within_s)
        self.stop()

    def stop(self) -> None:
        """End it and all of its processes."""
        if self._process is None:
            return
        if self.running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_END_S)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + _END_S
        while self._processes():
            assert time.monotonic() < deadline, f"still there: {self._processes()}"
            time.sleep(_POLL_S)
        self._process = None
        if self._watch is not None:
            with self._watch as watch:
                watch.kill()

    def _processes(self) -> list[int]:
        """Of its session, all that run."""
        assert self._process is not None
        return [
            int(path.name)
            for path in Path("/proc").glob("[0-9]*")
            if _session(path) == self._process.pid
        ]  # fmt: skip


def _session(process: Path) -> int | None:
    """The session of a process; None of one that has ended."""
    with suppress(OSError):
        state, _, _, session, *_ = (process / "stat").read_text().rpartition(")")[2].split()
        return int(session) if state != "Z" else None
    return None


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    return ""
