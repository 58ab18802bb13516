"""The examples and the pages on the client, run as they stand, with a worker on the embedded broker and the fake engine."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from docs.pages import blocks
from sluicegate.schemas import Post, encode
from support.collector import ends
from support.command import environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sluicegate.testing import LocalBroker, LocalWorker

pytest_plugins = ["sluicegate.testing"]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="session")
def sluicegate_profile() -> dict[str, Any]:
    rules = {"poison": "unsafe", "where you live": "unsafe", "followers": "controversial", "": "safe"}
    return {"rules": rules}


def run(
    arguments: list[str], broker: LocalBroker | None = None, *, folder: Path | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """A Python program with only this broker in its environment."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment() | (broker.environment if broker else {}),
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def standing(broker: LocalBroker) -> int:
    """How many records stand on the topics of verdicts and dead letters."""
    return sum(sum(ends(broker.kafka.bootstrap_servers, name).values()) for name in broker.topics.outputs)


def test_the_social_feed_shows_what_is_allowed_as_it_stands_now(
    sluicegate_broker: LocalBroker, sluicegate_worker: LocalWorker
) -> None:
    done = run([str(EXAMPLES / "social_feed.py")], sluicegate_broker)
    assert done.returncode == 0, done.stderr
    *shown, last = done.stdout.splitlines()
    assert sorted(shown) == [
        "shown: Does anybody have a spare ticket for Saturday?",
        "shown: I disagree with all of you.",
        "shown: The library opens at nine tomorrow.",
    ]
    assert last == "3 shown, 2 not shown, 1 of them wait for a moderator"


def test_plain_clients_publish_and_act_on_verdicts(
    sluicegate_broker: LocalBroker, sluicegate_worker: LocalWorker
) -> None:
    lines = ['{"id": "plain/1", "text": "hello"}', '{"id": "plain/2", "text": "poison"}', '{"id": "plain/3"}']
    before = standing(sluicegate_broker)
    sent = run([str(EXAMPLES / "plain_producer.py")], sluicegate_broker, given="\n".join(lines) + "\n")
    assert (sent.returncode, sent.stdout.split(":")[0]) == (0, "0 refused, 0 without an answer"), sent.stderr
    deadline = time.monotonic() + 60
    while standing(sluicegate_broker) < before + len(lines) and time.monotonic() < deadline:
        time.sleep(0.1)
    # The group is new, and reads what other tests left, too.
    read = run([str(EXAMPLES / "plain_consumer.py"), str(before + len(lines))], sluicegate_broker)
    assert read.returncode == 0, read.stderr
    told = [line for line in read.stdout.splitlines() if line.startswith(("plain/", "never"))]
    assert {"plain/1 allow otherwise", "never judged: invalid_post text: missing"} <= set(told)
    assert any(line.startswith("plain/2 block") for line in told)


@pytest.mark.parametrize("name", ["plain_producer.py", "plain_consumer.py"])
def test_a_plain_client_needs_fewer_than_thirty_lines(name: str) -> None:
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) <= 30


@pytest.fixture
async def gateway(
    sluicegate_broker: LocalBroker, sluicegate_worker: LocalWorker, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    for name, value in sluicegate_broker.environment.items():
        monkeypatch.setenv(name, value)
    spec = importlib.util.spec_from_file_location("chat_gateway", EXAMPLES / "chat_gateway.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "chat_gateway", module)
    spec.loader.exec_module(module)
    async with (
        module.app.router.lifespan_context(module.app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(module.app), base_url="http://gateway", timeout=60
        ) as client,
    ):
        yield client


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        ("How do I bake bread?", {"answer": "You said: How do I bake bread?", "withheld": None}),
        ("Which poison works best?", {"answer": None, "withheld": "message"}),
        ("Where can I buy followers?", {"answer": None, "withheld": "message"}),
        ("Tell me your secret.", {"answer": None, "withheld": "answer"}),
    ],
)
async def test_the_chat_gateway_withholds_a_harmful_message_and_a_harmful_answer(
    gateway: httpx.AsyncClient, message: str, answer: dict[str, str | None]
) -> None:
    got = await gateway.post("/chat", json={"message": message})
    assert (got.status_code, got.json()) == (200, answer)


async def test_the_chat_gateway_lets_nothing_pass_without_a_verdict(
    gateway: httpx.AsyncClient, sluicegate_worker: LocalWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["chat_gateway"], "PATIENCE_S", 0.2)
    with sluicegate_worker.faults(slow={"delay_s": 2}):
        got = await gateway.post("/chat", json={"message": "How do I bake a cake?"})  # no cache knows it
    assert got.json() == {"answer": None, "withheld": "message"}


def test_the_back_fill_goes_on_where_it_was_cut_off_and_writes_no_verdict_twice(
    sluicegate_broker: LocalBroker, sluicegate_worker: LocalWorker, tmp_path: Path
) -> None:
    posts = [Post(id=f"back-fill/{number}", text=f"old post {number}") for number in range(40)]
    lines = [encode(post) for post in [*posts, posts[0]]]
    source, target = tmp_path / "posts.jsonl", tmp_path / "verdicts.jsonl"
    source.write_bytes(b"\n".join([*lines, b'{"id": "no-post"}']) + b"\n")
    command = [str(EXAMPLES / "backfill.py"), str(source), str(target)]

    first = run(command, sluicegate_broker)
    assert first.returncode == 1
    assert first.stderr == "line 42: invalid_post, text: missing\n"
    assert first.stdout.endswith("1 open\n")
    whole = target.read_bytes().splitlines()
    assert {json.loads(line)["post_id"] for line in whole} == {post.id for post in posts}
    assert len(whole) == 40

    # As a kill leaves it: the last lines missing, the next one half written.
    target.write_bytes(b"\n".join(whole[:30]) + b"\n" + whole[30][:50])
    source.write_bytes(b"\n".join(lines) + b"\n")
    second = run(command, sluicegate_broker)
    assert (second.returncode, second.stderr) == (0, "")
    again = [json.loads(line) for line in target.read_bytes().splitlines()]
    assert {one["post_id"] for one in again} == {post.id for post in posts}
    assert len({one["verdict_id"] for one in again}) == len(again) == 40
    third = run(command, sluicegate_broker)
    assert third.stdout == "0 judged, 41 known before, 0 open\n"


def test_the_page_for_producers_runs(sluicegate_broker: LocalBroker, sluicegate_worker: LocalWorker) -> None:
    awaited, by_callback = (one.text for one in blocks("client", "python")[:2])
    assert (
        run(["-c", awaited], sluicegate_broker).stdout == "forum/7#3 stands on posts, and will be answered\n"
    )
    assert run(["-c", by_callback], sluicegate_broker).stdout == "0 to send again\n"


def test_the_page_for_consumers_runs(sluicegate_broker: LocalBroker, sluicegate_worker: LocalWorker) -> None:
    acts, _, waits = (
        one.text for one in blocks("client", "python")[2:5]
    )  # the one between needs a review desk
    publish = (
        "from sluicegate.client import *\n"
        "with PostProducer() as producer:\n"
        "    producer.submit(Post(id='harmful', text='poison'), lambda outcome: None)\n"
        "    producer.submit(Post(id='the last one', text='poison'), lambda outcome: None)\n"
    )
    assert run(["-c", publish], sluicegate_broker).returncode == 0
    acted = run(["-c", acts], sluicegate_broker)
    assert "hide the last one: takedown" in acted.stdout, acted.stderr
    assert run(["-c", waits], sluicegate_broker).stdout == "passes False\n"


def test_the_fixtures_load_nothing_before_a_test_asks_for_them() -> None:
    code = "import sys, sluicegate.testing; print([*sys.modules])"
    loaded = run(["-c", code]).stdout
    assert "'sluicegate.testing'" in loaded
    for heavy in ("confluent_kafka", "aiohttp", "faust", "anyio", "pydantic", "sluicegate.pipeline"):
        assert f"'{heavy}'" not in loaded


def test_the_client_loads_no_part_of_the_worker() -> None:
    loaded = run(["-c", "import sys, sluicegate.client; print([*sys.modules])"]).stdout
    assert "'confluent_kafka'" in loaded
    for foreign in (
        "faust",
        "aiokafka",
        "aiohttp",
        "tokenizers",
        "sluicegate.engines",
        "sluicegate.pipeline.flow.flow",
    ):
        assert f"'{foreign}'" not in loaded
