from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.kafka import free_ports

if TYPE_CHECKING:
    from support.workers import Lane

pytestmark = pytest.mark.kafka


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"topics.posts": "nobody.made.this"}, "topic nobody.made.this is not there"),
        ({"kafka.bootstrap_servers": "127.0.0.1:{port}"}, "cannot be reached"),
    ],
    ids=["no input topic", "no cluster"],
)
def test_a_worker_that_cannot_work_says_one_sentence_and_ends(
    lane: Lane, setting: dict[str, str], said: str
) -> None:
    (port,) = free_ports(1)
    worker = lane.start({name: value.format(port=port) for name, value in setting.items()})
    assert worker.wait(60) == 1
    last = worker.output.strip().splitlines()[-1]
    assert last.startswith("sluicegate: ")
    assert said in last
    assert "Traceback" not in worker.output
