"""The bench, short: on the embedded broker as a user starts it, and on Apache Kafka against workers that run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.command import environment, heed_ctrl_c
from support.workers import until

if TYPE_CHECKING:
    from support.workers import Lane

POSTS = 60


def start(folder: Path, *options: str, settings: dict[str, str] | None = None) -> subprocess.Popen[str]:
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "sluicegate", "bench", "--out", str(folder / "report"), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(settings) | {"TMPDIR": str(temporary)},
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it takes no lock that another thread could hold
    )


def on(lane: Lane) -> dict[str, str]:
    """Settings that lead the bench to a lane's topics."""
    return {
        "kafka.bootstrap_servers": lane.bootstrap,
        "topics.posts": lane.posts,
        "topics.control": f"{lane.prefix}.control",
        **{f"topics.{name}": topic for name, topic in lane.outputs.items()},
    }


def report_in(folder: Path, said: str = "") -> dict[str, Any]:
    assert (folder / "report" / "bench.json").exists(), said
    found: dict[str, Any] = json.loads((folder / "report" / "bench.json").read_text())
    return found


def assert_nothing_is_left(folder: Path) -> None:
    """No process that inherited this run's folder (Linux; elsewhere none are found), and no file of it."""
    until("no process is left", lambda: not processes_of(folder), within_s=15)
    assert list((folder / "tmp").iterdir()) == []


def processes_of(folder: Path) -> dict[int, str]:
    """Processes that inherited this run's folder, with their command lines."""
    mark = f"TMPDIR={folder / 'tmp'}".encode()
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes():
                found[int(process.name)] = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


@pytest.mark.slow
def test_every_post_is_answered_on_the_embedded_broker_and_the_report_stands_beside_an_earlier_one(
    tmp_path: Path,
) -> None:
    with start(tmp_path, "--embedded", "--rate", "60", "--posts", str(POSTS), "--shape", "burst") as bench:
        out, said = bench.communicate(timeout=120)
    assert bench.returncode == 0, said
    assert out.startswith(
        f"bench: sluicegate (fake, simulated): {POSTS} of {POSTS} posts answered, 0 drops, 0 failed, "
    )
    (first,) = report_in(tmp_path)["systems"]
    assert first["figures"]["drops"] == first["figures"]["foreign"] == first["missed_scrapes"] == 0
    assert all(stage["p50_ms"] is not None for stage in first["stages"].values())
    assert_nothing_is_left(tmp_path)

    own = tmp_path / "own.jsonl"
    own.write_text('{"id": "a", "text": "a good day to everybody here"}\nno json\n{"id": "b"}\n')
    options = (
        "--name",
        "other",
        "--beside",
        str(tmp_path / "report" / "bench.json"),
        "--fail-if",
        "p50_ms>0",
    )
    load = ("--embedded", "--shape", "flood", "--rate", "40", "--posts", "30", "--json")
    with start(tmp_path, str(own), *load, *options) as bench:
        out, said = bench.communicate(timeout=120)
    assert bench.returncode == 1, said
    assert "failed: p50_ms>0" in said
    assert json.loads(out) == report_in(tmp_path)
    again, other = report_in(tmp_path)["systems"]
    assert again == first
    figures = other["figures"]
    assert (other["failed"], figures["drops"], figures["answered"]) == (["p50_ms>0"], 0, 30)
    assert 0 < figures["dead_letters"] < 30
    page = (tmp_path / "report" / "bench.md").read_text()
    assert "| figure | sluicegate | other | meaning |" in page
    assert "good day" not in page + out + said
    assert_nothing_is_left(tmp_path)


def test_ctrl_c_leaves_a_report_of_what_was_and_nothing_else(tmp_path: Path) -> None:
    with start(tmp_path, "--embedded", "--rate", "20", "--duration", "600") as bench:
        assert bench.stderr is not None
        assert any(" answered " in line for line in bench.stderr), "no progress was told"
        bench.send_signal(signal.SIGINT)
        out, said = bench.communicate(timeout=60)
    assert bench.returncode == 130, said
    assert "Traceback" not in said
    (system,) = report_in(tmp_path)["systems"]
    figures = system["figures"]
    assert (system["stopped"], figures["drops"]) == ("interrupted", None)
    assert 0 < figures["sent"] < figures["planned"] == 12_000
    assert figures["sent"] == figures["answered"] + figures["waiting"] + figures["refused"]
    assert f"{figures['waiting']} waiting" in out
    assert_nothing_is_left(tmp_path)


def test_ctrl_c_before_the_first_post_ends_everything_without_a_report(tmp_path: Path) -> None:
    with start(tmp_path, "--embedded") as bench:
        until("the broker is being started", lambda: list((tmp_path / "tmp").iterdir()), within_s=60)
        bench.send_signal(signal.SIGINT)
        _out, said = bench.communicate(timeout=60)
    assert bench.returncode == 130, said
    assert "Traceback" not in said
    assert_nothing_is_left(tmp_path)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="the worker is found in /proc, on Linux")
def test_a_worker_that_ends_leaves_a_report_of_what_was_and_its_log(tmp_path: Path) -> None:
    with start(tmp_path, "--embedded", "--rate", "20", "--duration", "600") as bench:
        assert bench.stderr is not None
        assert any(line.startswith("sending") for line in bench.stderr)
        (worker,) = [pid for pid, line in processes_of(tmp_path).items() if "sluicegate worker" in line]
        os.kill(worker, signal.SIGKILL)
        _out, said = bench.communicate(timeout=60)
    assert bench.returncode == 1, said
    (system,) = report_in(tmp_path, said)["systems"]
    named = re.fullmatch(r"the worker ended with exit code -9; its log says why: (\S+)", system["stopped"])
    assert named is not None, system["stopped"]
    assert "worker_started" in Path(named[1]).read_text()
    until("no process is left", lambda: not processes_of(tmp_path), within_s=15)


@pytest.mark.kafka
def test_without_a_worker_every_post_is_a_drop(lane: Lane, tmp_path: Path) -> None:
    options = ("--rate", "100", "--posts", "20", "--patience", "1")
    with start(tmp_path, *options, settings=on(lane)) as bench:
        _out, said = bench.communicate(timeout=120)
    assert bench.returncode == 1, said
    (system,) = report_in(tmp_path, said)["systems"]
    assert (system["failed"], system["figures"]["drops"], system["figures"]["p99_ms"]) == (
        ["drops>0"],
        20,
        None,
    )


@pytest.mark.kafka
@pytest.mark.slow
def test_what_a_killed_worker_repeats_is_counted_as_it_stands_on_the_topics(
    lane: Lane, tmp_path: Path
) -> None:
    lane.set_fake(call_overhead_s=0.1)
    # Commits are rare: what the first worker has answered is answered again by the second.
    settings = {"kafka.commit_interval_s": "60", "kafka.session_timeout_s": "10", "cache.entries": "0"}
    first = lane.start(settings)
    first.wait_ready()
    lane.send([{"id": "of another producer", "text": "good day"}])
    lane.wait_answers(1, within_s=60)
    options = ("--rate", "20", "--posts", "300", "--metrics", f"http://127.0.0.1:{first.port}/metrics")
    with start(tmp_path, *options, settings=on(lane)) as bench:
        assert bench.stderr is not None
        told = (re.search(r"answered (\d+)", line) for line in bench.stderr)
        assert any(found and int(found[1]) >= 20 for found in told), "no answers were told"
        first.kill()
        lane.start(settings)
        _out, said = bench.communicate(timeout=200)
    assert bench.returncode == 0, said
    (system,) = report_in(tmp_path)["systems"]
    figures = system["figures"]
    ours = [record for record in lane.read() if (record.key or b"").startswith(b"bench-")]
    assert figures["drops"] == figures["contradictions"] == 0
    assert figures["answered"] == len({record.key for record in ours}) == 300
    assert figures["repeats_same_id"] == len(ours) - 300 > 0
    assert figures["repeats_other_id"] == 0
    assert {topic: count for topic, count in system["records"].items() if count} == Counter(
        record.topic for record in ours
    )
    assert system["missed_scrapes"] > 0, "the killed worker's metrics were asked for"
