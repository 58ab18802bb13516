"""What `make vllm-cpu` is made of, without a vLLM: pins, weights, stand-ins for libraries, and what a run remembers."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sluicegate.engines.cpu_model.gguf_model import interleaved
from support.small_gguf import write_small_gguf
from vllm_cpu.checkpoint import halves, tensors
from vllm_cpu.pins import VLLM, WHEELS, lines
from vllm_cpu.run import Kept, closing_line, title
from vllm_cpu.server import WATCH
from vllm_cpu.stubs import write_stubs

ROOT = Path(__file__).parents[2]


def test_every_wheel_is_pinned_by_its_hash_and_no_registry_is_named() -> None:
    text = WHEELS.read_text(encoding="utf-8")
    entries = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(entries) > 100
    for entry in entries:
        assert re.fullmatch(r"\S+==\S+( ; .+?)?( --hash=sha256:[0-9a-f]{64})+", entry), entry[:80]
    assert any(entry.startswith(f"{VLLM} ") for entry in entries)
    assert "://" not in text
    assert "--index" not in text


def test_nothing_of_it_is_a_dependency_of_the_project() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "vllm-cpu" not in re.sub(r'"vllm: .*",', "", project)
    assert "vllm" not in (ROOT / "constraints.txt").read_text(encoding="utf-8")


def test_wheels_of_other_machines_are_left_out() -> None:
    def package(name: str, *wheels: str, marker: str | None = None) -> dict[str, object]:
        listed = [{"url": f"somewhere/{wheel}", "hashes": {"sha256": wheel}} for wheel in wheels]
        return {"name": name, "version": "1", "wheels": listed, "marker": marker}

    found = lines(
        [
            package("pure", "pure-1-py2.py3-none-any.whl"),
            package(
                "fast",
                "fast-1-cp311-cp311-manylinux_2_28_x86_64.whl",
                "fast-1-cp310-cp310-manylinux_2_28_x86_64.whl",
                "fast-1-cp311-cp311-manylinux_2_28_aarch64.whl",
                "fast-1-cp38-abi3-manylinux2014_x86_64.whl",
            ),
            package("windows", marker="sys_platform == 'win32'"),
            package("torchvision", "t-1-py3-none-any.whl", marker="sys_platform == 'never'"),
        ]
    )
    assert list(found) == [
        "pure==1 --hash=sha256:pure-1-py2.py3-none-any.whl",
        (
            "fast==1 --hash=sha256:fast-1-cp311-cp311-manylinux_2_28_x86_64.whl"
            " --hash=sha256:fast-1-cp38-abi3-manylinux2014_x86_64.whl"
        ),
    ]
    with pytest.raises(ValueError, match="no wheel for Linux"):
        list(lines([package("alien", "alien-1-cp311-cp311-win32.whl")]))


def test_rows_of_heads_come_back_from_llama_cpps_order() -> None:
    rows = np.arange(48.0).reshape(12, 4)
    assert (halves(interleaved(rows, 3), 3) == rows).all()
    assert (halves(rows, 3) != rows).any()


def test_every_tensor_of_a_model_has_its_name_in_a_checkpoint(tmp_path: Path) -> None:
    import gguf  # noqa: PLC0415 - of the extra `cpu`

    reader = gguf.GGUFReader(write_small_gguf(tmp_path / "small.gguf"))
    found = tensors(reader)
    assert len(found) == len(reader.tensors)
    assert {"model.embed_tokens.weight", "model.norm.weight"} <= found.keys()
    assert "model.layers.1.self_attn.k_proj.weight" in found
    assert {values.dtype for values in found.values()} == {np.dtype("float32")}


@pytest.mark.skipif(shutil.which("gcc") is None, reason="`make vllm-cpu` alone needs gcc")
def test_a_library_loads_with_stand_ins_for_what_it_links(tmp_path: Path) -> None:
    script = tmp_path / "foreign.map"
    script.write_text("libcufoo.so.1 { global: cufooVersion; };\n")
    for name, source, *options in (
        ("libcufoo.so.1", "long cufooVersion(void) { return 7; }", f"-Wl,--version-script={script}"),
        ("libcublas.so.1", "const char *cublasGetName(void) { return 0; }"),
        (
            "libneedy.so",
            (
                "long cufooVersion(void); const char *cublasGetName(void);"
                "long ask(void) { return cufooVersion() + (cublasGetName() != 0); }"
            ),
            str(tmp_path / "libcufoo.so.1"),
            str(tmp_path / "libcublas.so.1"),
            "-Wl,-rpath,$ORIGIN",
        ),
    ):
        (tmp_path / "a.c").write_text(source)
        soname = f"-Wl,-soname,{name}"
        command = ["gcc", "-shared", "-fPIC", soname, "-o", str(tmp_path / name), str(tmp_path / "a.c")]
        subprocess.run([*command, *options], check=True)
    (tmp_path / "libcufoo.so.1").unlink()
    (tmp_path / "libcublas.so.1").unlink()
    assert write_stubs(tmp_path) == ["libcublas.so.1", "libcufoo.so.1"]
    assert ctypes.CDLL(str(tmp_path / "libneedy.so")).ask() == 101  # the number of an error, and a text
    assert write_stubs(tmp_path) == []


def test_a_run_goes_on_where_one_was_stopped(tmp_path: Path) -> None:
    notes = tmp_path / "deep" / "kept.jsonl"
    first = Kept.read(notes)
    first.add("tests/vllm_cpu/test_guard.py::test_one", {})
    first.add("tests/vllm_cpu/test_guard.py::test_two", {"merged guard, worst difference": 0.0421})
    again = Kept.read(notes)
    assert again.figures == first.figures
    again.add("tests/vllm_cpu/test_named_adapter.py::test_three", {"adapter by name, worst difference": 0.03})
    tests = [*again.figures, "tests/vllm_cpu/test_named_adapter.py::test_four"]
    assert closing_line(again, tests) == "vllm-cpu: 3 of 4 contracts kept, worst difference 0.0421"
    assert closing_line(first, tests[:1]) == "vllm-cpu: 1 of 1 contracts kept, worst difference not measured"


def test_all_of_a_server_ends_with_the_run_that_started_it() -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as server:
        watch = subprocess.Popen([*WATCH, str(server.pid)], stdin=subprocess.PIPE)
        assert server.poll() is None
        watch.communicate()  # our end of the pipe closes, as it does when we are killed
        assert server.wait(60) == -signal.SIGKILL


def test_what_was_kept_of_other_code_is_tried_again(tmp_path: Path) -> None:
    notes = tmp_path / "kept.jsonl"
    Kept.read(notes).add("tests/vllm_cpu/test_guard.py::test_one", {})
    notes.write_bytes(notes.read_bytes().replace(b'"code":"', b'"code":"0'))
    assert Kept.read(notes).figures == {}


def test_a_contract_is_told_as_a_sentence() -> None:
    test = "tests/vllm_cpu/test_guard.py::TestGuard::test_a_working_engine_is_healthy"
    assert title(test) == "guard: a working engine is healthy"
    assert title("tests/vllm_cpu/test_guard_on_kafka.py::test_it[one]") == "guard on kafka: it[one]"


def test_without_the_target_its_tests_are_skipped_with_a_loud_line() -> None:
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "REQUIRE_VLLM")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/vllm_cpu"],
        cwd=ROOT,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert "vllm tests: `make vllm-cpu` runs them !!!" in done.stdout
    assert "passed" not in done.stdout
