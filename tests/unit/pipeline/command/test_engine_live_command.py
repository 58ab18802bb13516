"""`engine verify --live` on the command line, over STUBS of servers."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner

from contract.stub_server import StubServer
from contract.wires import Vllm
from sluicegate.pipeline.command import app
from support.small_bundle import write_small_bundle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from contract.wires import Generated


@contextmanager
def running(stub: StubServer) -> Iterator[StubServer]:
    """A stub in a loop of its own: the command has one, too."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(stub.__aenter__(), loop).result(30)
        yield stub
        asyncio.run_coroutine_threadsafe(stub.__aexit__(), loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def verify(folder: Path, engine: Mapping[str, Any], *options: str) -> Any:
    settings = folder / "settings.yaml"
    settings.write_text(yaml.safe_dump({"engine": {"backend": "completions", **engine}}), encoding="utf-8")
    words = ["engine", "verify", str(folder / "bundle"), "--live", "--settings", str(settings), *options]
    return CliRunner().invoke(app, words)


class WithoutCache(Vllm):
    def answer(self, body: Mapping[str, Any], generated: Sequence[Generated]) -> Any:
        reply = super().answer(body, generated)
        return {**reply, "usage": {**reply["usage"], "prompt_tokens_details": None}}


def test_each_promise_has_a_line_and_each_adapter_has_its_own(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "bundle")
    with running(StubServer("vllm", models=("small", "teens"))) as stub:
        adapters = {"teens": {"bundle": str(bundle), "model": "teens"}}
        engine = {"url": stub.url, "dialect": "vllm", "model": "small", "adapters": adapters}
        result = verify(tmp_path, {**engine, "bundle": str(bundle)})
    lines = result.stdout.splitlines()
    assert result.exit_code == 0, result.output
    assert "files as the manifest says" in lines[0]
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["kept", "scores"],
        ["kept", "exact"],
        ["kept", "tokens"],
    ]
    assert sum(line.startswith("kept    teens: ") for line in lines) == 9
    assert lines[-1] == "17 promises kept, 0 broken, 0 not made or not shown"


def test_a_broken_promise_is_exit_code_1_with_the_fix_and_no_text_of_the_server(tmp_path: Path) -> None:
    bundle = write_small_bundle(tmp_path / "bundle")
    with running(StubServer("vllm")) as stub:
        stub.wire = WithoutCache()
        engine = {"url": stub.url, "dialect": "vllm", "bundle": str(bundle)}
        plain, document = verify(tmp_path, engine), verify(tmp_path, engine, "--json")
    assert plain.exit_code == document.exit_code == 1
    broken = [line for line in plain.stdout.splitlines() if line.startswith("BROKEN")]
    assert [line.split()[1] for line in broken] == ["cached"]
    assert "fix: " in plain.stdout
    found = orjson.loads(document.stdout)
    assert not found["ok"]
    assert [one["name"] for one in found["promises"] if one["kept"] is False] == ["cached"]
    assert all({"adapter", "name", "kept", "said", "fix"} == set(one) for one in found["promises"])


@pytest.mark.parametrize("as_json", [False, True])
def test_without_a_server_one_sentence_says_what_to_set(tmp_path: Path, as_json: bool) -> None:
    write_small_bundle(tmp_path / "bundle")
    result = verify(tmp_path, {"backend": "fake"}, *["--json"] * as_json)
    assert result.exit_code == 1
    told = orjson.loads(result.stdout)["fault"] if as_json else str(result.exception)
    assert "say engine.backend: completions" in told
