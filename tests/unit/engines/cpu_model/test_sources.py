"""Where a CPU model's weights come from: files, lists and addresses; what is refused, and what is gone on with."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from sluicegate.engines.cpu_model import models, sources
from sluicegate.engines.cpu_model.models import CpuModel
from sluicegate.engines.errors import EngineSetupError
from support.small_bundle import small_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WEIGHTS = bytes(range(256)) * 400
HALF = len(WEIGHTS) // 2


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CpuModel:
    """A model of 100 kilobytes, whose publisher cannot be reached."""
    document = small_manifest()
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    document["base"] = {"name": "tiny", "revision": "1", "sha256": f"sha256:{digest}"}
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles/tiny.json").write_bytes(orjson.dumps(document))
    monkeypatch.setattr(models, "ASSETS", tmp_path)
    monkeypatch.setattr(sources, "_PAUSE_S", 0)
    return CpuModel("tiny", "Tiny", len(WEIGHTS), 1, urls=("http://127.0.0.1:9/none",))


class Mirror:
    """A server of one file. It notes the ranges it was asked for."""

    def __init__(self) -> None:
        self.content = WEIGHTS
        self.asked: list[str | None] = []
        self.ranges = True
        self.status = 200
        self.breaks_after: int | None = None
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://user:secret@127.0.0.1:{self.server.server_address[1]}/weights.gguf?key=secret"

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        asked = to.headers.get("Range")
        self.asked.append(asked)
        if self.status != 200:
            to.send_error(self.status)
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        body = self.content[start:]
        to.send_response(206 if start else 200)
        to.send_header("Content-Length", str(len(body)))
        to.end_headers()
        sent, self.breaks_after = self.breaks_after, None
        to.wfile.write(body[:sent])


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    found = Mirror()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


class Fetch:
    """Calls of ``obtain`` with what they reported."""

    def __init__(self, model: CpuModel, folder: Path) -> None:
        self._model = model
        self.target = folder / "original.gguf"
        self.part = folder / "original.part"
        self.lines: list[str] = []
        self.shown: list[tuple[str, int, int]] = []

    def __call__(self, *given: str | Path) -> bytes:
        sources.obtain(
            self._model,
            [str(one) for one in given],
            self.target,
            part=self.part,
            report=self.lines.append,
            advance=lambda *told: self.shown.append(told),
        )
        return self.target.read_bytes()


@pytest.fixture
def fetch(model: CpuModel, tmp_path: Path) -> Fetch:
    (tmp_path / "work").mkdir()
    return Fetch(model, tmp_path / "work")


def test_a_file_is_taken_as_it_is_published_and_no_other(fetch: Fetch, tmp_path: Path) -> None:
    right, short, other = tmp_path / "right", tmp_path / "short", tmp_path / "other"
    right.write_bytes(WEIGHTS)
    short.write_bytes(WEIGHTS[:-1])
    other.write_bytes(WEIGHTS[:-1] + b"\0")
    assert fetch(right) == WEIGHTS
    assert right.exists()
    with pytest.raises(EngineSetupError, match=r"short has 102,399 bytes, not 102,400"):
        fetch(short)
    with pytest.raises(EngineSetupError, match=r"other: its sha256 is sha256:.*, not sha256:"):
        fetch(other)
    assert not fetch.target.exists() or fetch.target.read_bytes() == WEIGHTS
    with pytest.raises(EngineSetupError, match=r"nowhere cannot be read \(No such file"):
        fetch(tmp_path / "nowhere")


def test_sources_are_tried_in_order_and_a_list_names_more(
    fetch: Fetch, tmp_path: Path, mirror: Mirror
) -> None:
    listed = tmp_path / "mirrors.txt"
    listed.write_text(f"# ours\n{tmp_path / 'nowhere'}\n\n{mirror.url}\n")
    assert fetch(tmp_path / "neither", listed) == WEIGHTS
    assert len(mirror.asked) == 1
    with pytest.raises(EngineSetupError, match=r"neither cannot be read.*; .*nowhere cannot be read"):
        fetch(tmp_path / "neither", tmp_path / "nowhere")
    with pytest.raises(EngineSetupError, match=r"missing\.txt cannot be read"):
        fetch(tmp_path / "missing.txt")


def test_a_download_tells_how_far_it_is_and_names_no_login(fetch: Fetch, mirror: Mirror) -> None:
    assert fetch(mirror.url) == WEIGHTS
    assert fetch.shown[-1] == ("downloading, MB", 0, 0)  # of a model of a tenth of one
    assert not fetch.part.exists()
    assert "secret" not in " ".join(fetch.lines)


def test_an_interrupted_download_goes_on_where_it_stopped(fetch: Fetch, mirror: Mirror) -> None:
    fetch.part.write_bytes(WEIGHTS[:HALF])
    assert fetch(mirror.url) == WEIGHTS
    assert mirror.asked == [f"bytes={HALF}-"]
    assert f"at {HALF:,} bytes" in fetch.lines[0]


def test_a_connection_that_breaks_is_asked_for_the_rest(fetch: Fetch, mirror: Mirror) -> None:
    mirror.breaks_after = 1000
    assert fetch(mirror.url) == WEIGHTS
    assert mirror.asked == ["bytes=0-", "bytes=1000-"]


def test_a_server_without_ranges_is_asked_for_the_whole(fetch: Fetch, mirror: Mirror) -> None:
    mirror.ranges = False
    fetch.part.write_bytes(WEIGHTS[:HALF])
    assert fetch(mirror.url) == WEIGHTS


def test_what_was_left_by_another_file_is_downloaded_again_once(fetch: Fetch, mirror: Mirror) -> None:
    fetch.part.write_bytes(b"\0" * HALF)
    assert fetch(mirror.url) == WEIGHTS
    assert mirror.asked == [f"bytes={HALF}-", "bytes=0-"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (WEIGHTS + b"\0", r"it has 102,401 bytes, not 102,400"),
        (WEIGHTS[:-1], r"it has 102,399 bytes, not 102,400"),
        (WEIGHTS[:-1] + b"\0", r"its sha256 is sha256:.*, not sha256:"),
    ],
)
def test_an_address_with_another_file_is_refused(
    fetch: Fetch, mirror: Mirror, content: bytes, said: str
) -> None:
    mirror.content = content
    with pytest.raises(EngineSetupError, match=said):
        fetch(mirror.url)
    assert not fetch.target.exists()


@pytest.mark.parametrize(("status", "times"), [(404, 1), (503, 5)])
def test_an_address_that_answers_nothing_is_named(
    fetch: Fetch, mirror: Mirror, status: int, times: int
) -> None:
    mirror.status = status
    with pytest.raises(EngineSetupError, match=rf"HTTP {status}.*give it with --source") as caught:
        fetch(mirror.url)
    assert len(mirror.asked) == times
    assert "secret" not in str(caught.value)


def test_without_a_source_the_publisher_is_asked(fetch: Fetch) -> None:
    with pytest.raises(EngineSetupError, match=r"http://127\.0\.0\.1:9/none does not give the weights"):
        fetch()
