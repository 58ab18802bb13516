from __future__ import annotations

import pytest

from sluicegate.pipeline.observe.instruments import BusyMeter, Instruments
from unit.pipeline.fakes import HandClock


class Now:
    value = 0.0

    def __call__(self) -> float:
        return self.value


def test_only_time_at_saturation_counts() -> None:
    now = Now()
    meter = BusyMeter(4, now)
    with meter.work(2):
        now.value = 1.0  # not saturated
        with meter.work(2):
            now.value = 3.0  # saturated for two seconds
            assert meter.busy_s() == 2.0
            assert meter.in_work == 4
        now.value = 7.0
    now.value = 9.0
    assert meter.busy_s() == 2.0
    assert meter.in_work == 0


@pytest.mark.parametrize(("most", "busy_s"), [(None, 2.0), (8, 2.0), (4, 2.0), (3, 0.0)])
def test_an_engine_that_is_sent_less_than_it_takes_is_never_busy_whatever_waits_here(
    most: int | None, busy_s: float
) -> None:
    now = Now()
    meter = BusyMeter(4, now, most=most)
    with meter.work(9):
        now.value = 2.0
    assert meter.busy_s() == busy_s


def test_a_failed_call_ends_its_work() -> None:
    meter = BusyMeter(1, Now())
    try:
        with meter.work(1):
            raise ValueError
    except ValueError:
        pass
    assert meter.in_work == 0


def test_saturated_seconds_are_a_counter_and_the_older_gauge_shows_the_same() -> None:
    clock = HandClock()
    instruments = Instruments.for_engine(2, clock)
    value = instruments.metrics.registry.get_sample_value
    assert value("sluicegate_engine_saturated_seconds_total") == 0
    with instruments.busy.work(2):
        clock.now += 3.0
        assert value("sluicegate_engine_saturated_seconds_total") == 3  # while the call is still on its way
        assert value("sluicegate_engine_busy_seconds") == 3
    kinds = {family.name: family.type for family in instruments.metrics.registry.collect()}
    assert kinds["sluicegate_engine_saturated_seconds"] == "counter"
