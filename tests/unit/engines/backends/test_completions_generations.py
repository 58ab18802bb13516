from __future__ import annotations

import pytest

from sluicegate.engines.backends.completions import read_generation
from sluicegate.engines.protocol import Generation

GAUGES = ("vllm:num_requests_running", "vllm:num_requests_waiting")
STARTED = "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1.7e+09\n"


def page(running: object = 0.0, waiting: object = 0.0, started: str = STARTED) -> str:
    return (
        f'{started}vllm:num_requests_running{{model_name="small"}} {running}\n'
        f'vllm:num_requests_waiting{{model_name="small"}} {waiting}\n'
    )


def test_a_page_names_the_process_by_its_start_and_says_whether_it_has_work() -> None:
    idle = Generation("started 1700000000.0", exclusive=False, idle=True)
    assert read_generation(page(), GAUGES) == idle
    for busy in (page(running=1.0), page(waiting=2.0), page(running="NaN"), page(running="what?")):
        found = read_generation(busy, GAUGES)
        assert found is not None
        assert not found.idle
    later = read_generation(page(started=STARTED.replace("1.7", "1.8")), GAUGES)
    assert later is not None
    assert later.process != idle.process


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>",
        page(started=""),
        page(started=STARTED * 2),
        page(started="process_start_time_seconds x\n"),
        STARTED,
    ],
)
def test_a_page_that_does_not_tell_all_of_it_tells_nothing(text: str) -> None:
    assert read_generation(text, GAUGES) is None
