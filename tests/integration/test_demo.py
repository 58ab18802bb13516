"""The demo, short: started as a user starts it, on the embedded broker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from support.command import heed_ctrl_c

CLOSING = re.compile(
    r"demo: (\d+) posts in, (\d+) verdicts out \(allow (\d+), review (\d+), block (\d+)\), "
    r"(\d+) dead letters, (\d+) lost, (\d+) duplicated"
)


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    # A folder of its own for temporary files: what the demo leaves behind is then seen.
    return subprocess.Popen(
        [sys.executable, "-m", "sluicegate", "demo", *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(folder)},
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it takes no lock that another thread could hold
    )


def processes_of(folder: Path) -> list[str]:
    """Processes that inherited this demo's folder in their environment (Linux; elsewhere none are found)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"TMPDIR={folder}".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def assert_nothing_is_left(folder: Path) -> None:
    deadline = time.monotonic() + 15
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    assert list(folder.iterdir()) == []


def test_all_samples_balance_with_the_fake_engine_and_the_summary_says_the_same(tmp_path: Path) -> None:
    with start(tmp_path, "--engine", "fake", "--json") as demo:
        out, said = demo.communicate(timeout=120)
    assert demo.returncode == 0, said
    summary = json.loads(out)
    closing = CLOSING.fullmatch(said.rstrip().splitlines()[-1])
    assert closing is not None, said
    posts, verdicts, *mix, dead_letters, lost, duplicated = map(int, closing.groups())
    assert (posts, verdicts, dead_letters, lost, duplicated) == (303, 300, 3, 0, 0)
    assert sum(mix) == verdicts
    assert list(summary["verdicts_out"].values()) == mix
    assert summary["balanced"] is True
    assert summary["failures"] == {}
    assert summary["produce_to_verdict_ms"]["p50"] > 0
    assert summary["cache_hits"], "the samples hold exact copies"
    assert_nothing_is_left(tmp_path)


@pytest.mark.cpu_model
@pytest.mark.slow
def test_the_first_samples_balance_with_the_cpu_model(tmp_path: Path, cpu_bundle: Path) -> None:
    with start(tmp_path, "--limit", "24") as demo:
        out, said = demo.communicate(timeout=240)
    assert demo.returncode == 0, said
    closing = CLOSING.fullmatch(out.rstrip().splitlines()[-1])
    assert closing is not None, out
    posts, verdicts, *_mix, dead_letters, lost, duplicated = map(int, closing.groups())
    assert (posts, verdicts + dead_letters, lost, duplicated) == (24, 24, 0, 0)
    assert_nothing_is_left(tmp_path)


def test_own_posts_are_replayed_and_each_broken_line_becomes_a_dead_letter(tmp_path: Path) -> None:
    own = tmp_path / "own.jsonl"
    own.write_text(
        '{"id": "a", "text": "good day"}\n\nno json\n{"id": "b"}\n{"id": "a", "text": "good day"}\n'
    )
    folder = tmp_path / "tmp"
    folder.mkdir()
    with start(folder, "--engine", "fake", "--posts", str(own)) as demo:
        out, said = demo.communicate(timeout=60)
    assert demo.returncode == 0, said
    closing = CLOSING.fullmatch(out.rstrip().splitlines()[-1])
    assert closing is not None, out
    assert closing.group(1, 2, 6, 7, 8) == ("4", "2", "2", "0", "0")
    assert "good day" not in out
    assert_nothing_is_left(folder)


@pytest.mark.parametrize("moment", ["starting the embedded broker", "starting a worker", "replaying"])
def test_ctrl_c_leaves_no_process_and_no_file(tmp_path: Path, moment: str) -> None:
    with start(tmp_path, "--engine", "fake") as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith(moment):
                break
        else:
            pytest.fail(f"the demo ended before {moment!r}")
        demo.send_signal(signal.SIGINT)
        _out, said = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Traceback" not in said
    assert_nothing_is_left(tmp_path)


def test_a_demo_that_is_killed_takes_its_broker_and_its_worker_with_it(tmp_path: Path) -> None:
    with start(tmp_path, "--engine", "fake") as demo:
        assert demo.stdout is not None
        assert any(line.startswith("replaying") for line in demo.stdout)
        assert len(processes_of(tmp_path)) >= 3
        demo.kill()
    deadline = time.monotonic() + 30
    while processes_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes_of(tmp_path) == []


def test_a_worker_that_cannot_start_ends_the_demo_and_its_log_is_kept_and_named(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("name: [")
    with start(tmp_path, "--engine", "fake", "--policy", str(policy)) as demo:
        _out, said = demo.communicate(timeout=60)
    assert demo.returncode == 1
    named = re.search(r"its log says why: (\S+)", said)
    assert named is not None, said
    assert "policy.yaml" in Path(named[1]).read_text()
